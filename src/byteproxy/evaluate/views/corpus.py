"""The text that views are trained on and judged by: what `--corpus` names, and a fair sample of its held-out side."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from byteproxy.corpus.document import Document
from byteproxy.corpus.near_duplicates import near_duplicates
from byteproxy.corpus.split import Side, Split, sides_of_projects
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.errors import InputError
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.progress import Progress, silent
from byteproxy.store.format import MANIFEST
from byteproxy.store.store import Store

STDLIB = "stdlib"
DOCUMENT_BYTES = 1 << 16
"""The most that one held-out document gives, from its start, so that no long one stands for all."""


class Corpus(NamedTuple):
    """Documents by side.

    name: as it was typed.
    documents: may be called again and again; each call reads the documents of one side anew.
    """

    name: str
    documents: Callable[[Side], Iterator[Document]]

    def train_texts(self) -> Iterator[bytes]:
        """The text of each training document."""
        return (document.text for document in self.documents("train"))


class Sample(NamedTuple):
    """Held-out text: the starts of documents, one from each project in turn, and what was left out before."""

    side: Side
    texts: list[bytes]
    near_duplicates: int


def corpus_named(name: str) -> Corpus:
    """The prepared corpus in a folder, or the standard library of this Python, split in memory by the usual rule.

    Raises InputError where it is neither.
    """
    if name == STDLIB:
        sides = _stdlib_sides()
        return Corpus(name, lambda side: (text for text in read_stdlib() if sides[text.project] == side))
    if not (Path(name) / MANIFEST).is_file():
        raise InputError(
            f"{name} is no prepared corpus, which is a folder with a {MANIFEST}: name one, or say {STDLIB} for the "
            "standard library of this Python"
        )
    return Corpus(name, Store.open(Path(name)).documents)


@lru_cache(1)
def _stdlib_sides() -> dict[str, Side]:
    """The side of each project of the standard library, by the usual shares."""
    sizes: Counter[str] = Counter()
    for document in read_stdlib():
        sizes[document.project] += len(document.text)
    return sides_of_projects(sizes, Split())


def held_out_sample(corpus: Corpus, side: Side, most_bytes: int, progress: Progress = silent) -> Sample:
    """Up to `most_bytes` of one side, without documents that are near-duplicates of training text or of each other.

    progress: bytes of training text compared; the total is 0, as it isn't known.
    Raises InputError if nothing is left. The documents of the side are in memory meanwhile.
    """
    if side == "train":
        raise InputError("side is train: views are judged by text that they were not trained on, validation or test")
    if most_bytes < 1:
        raise InputError(f"most_bytes is {most_bytes}: give at least 1")
    documents = list(corpus.documents(side))
    copies = near_duplicates(documents, corpus.documents("train"), progress)
    kept = [document for document, copy in zip(documents, copies, strict=True) if not copy]
    if documents and not kept:
        raise InputError(f"every document of the {side} side of {corpus.name} is a near-duplicate: take another corpus")
    without_copies = Corpus(corpus.name, lambda _: iter(kept))
    return Sample(side, held_out_texts(without_copies, side, most_bytes, DOCUMENT_BYTES), int(copies.sum()))
