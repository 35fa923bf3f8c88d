"""What a study is given, in its recipe: text, and a published model that arms may begin with.

The days on which both became public tell whether the model can have seen the text.
"""

from dataclasses import dataclass
from datetime import date

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.ranges import ensure_in_range, ranged


@dataclass(frozen=True)
class Corpus:
    """The text of a study.

    sources, views: as `byteproxy prepare` takes them; prepared into the study's own folder where that isn't done yet.
    validation, test: shares of the text that are held out. salt: any text; another one draws another split.
    path: of a corpus that is there already, in place of all these.
    published: the first day on which any of its text was public, such as "2026-01-01"; empty: nobody said.
    """

    sources: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    validation: float = ranged(0.08, 0.0, 1.0, above=True, below=True)
    test: float = ranged(0.12, 0.0, 1.0, above=True, below=True)
    salt: str = ""
    path: str = ""
    published: str = ""

    def __post_init__(self) -> None:
        _ensure_day("corpus.published", self.published)
        if bool(self.path) == bool(self.sources):
            raise InputError('corpus needs either sources, such as ["stdlib"], or path, the folder of a corpus')
        if self.path and self.views:
            raise InputError(
                "corpus.views are added to a corpus of the study's own: add them to an existing one by "
                "`byteproxy prepare`, and leave corpus.views out"
            )
        ensure_in_range(self, "corpus.")
        SplitOptions(self.validation, self.test, self.salt)


@dataclass(frozen=True)
class StartModel:
    """A published model with its tokenizer, which arms begin with, and what is measured of it untrained.

    Its tokenizer becomes a view of the corpus, and its shape that of every arm. What it costs on held-out text, as its
    own tokens and as raw bytes, stands beside the arms as references, which train nothing.

    path: its folder, a GGUF file, or "hf:ORG/NAME"; empty: the command names it.
    published: the day on which it was published, such as "2024-11-02"; empty: nobody said.
    marginal_bytes: of validation text of which its exact byte marginals are computed, which takes seconds for each
        hundred bytes; 0: none.
    """

    path: str = ""
    published: str = ""
    marginal_bytes: int = ranged(0, 0, 1 << 30)

    def __post_init__(self) -> None:
        _ensure_day("model.published", self.published)
        ensure_in_range(self, "model.")


def _ensure_day(name: str, day: str) -> None:
    try:
        date.fromisoformat(day or "2026-01-01")
    except ValueError as error:
        raise InputError(f'{name} is {day!r}: give a day such as "2026-01-01"') from error
