"""The pre-tokenizers of a `tokenizer.json` as automata: where text is cut into pieces before merging.

A pre-tokenizer is a sequence of cuts. Each cut divides the pieces of the one before it, and treats each piece as if it
were the whole text. Every match is a piece, and so is the text between two matches. `Removed` with `invert` keeps what
its pattern matches and drops the rest; published patterns of this kind match any text. Where one doesn't, the text
between is a piece here all the same, so that the symbols cover all of the text.

Cuts are recognized by what their patterns mean (`regex`), whoever wrote them. A pattern that isn't understood is left
to `tokenizers`, at the speed of `tokenizers`: see `Cuts.automata`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from byteproxy.views.bpe import unicode
from byteproxy.views.bpe.automaton import Automata, automata
from byteproxy.views.bpe.regex import Node, Unknown, any_of, literal, nullable, parsed

WORDS_PATTERN = "|".join(
    (
        r" ?[\p{L}\p{M}]+",
        r" ?\p{N}{1,3}",
        r" ?[^\s\p{L}\p{M}\p{N}]+\r?\n?",
        # The bounds keep the regex engine of `tokenizers` from giving up on (or panicking over) megabytes of blanks.
        r"[^\S\n]{0,256}\n",
        r"[^\S\n]{1,256}(?= \S)",
        r"[^\S\n]{1,256}",
    )
)
LINES_PATTERN = r"[^\n]*\n|[^\n]+"
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What ByteLevel cuts by with `use_regex`."""

AUTOMATA, LINES, WHOLE = range(3)
"""How text is cut: by automata, at line ends alone, or not at all."""


@dataclass(frozen=True)
class Cuts:
    """rule: AUTOMATA, LINES or WHOLE. automata: those of AUTOMATA; None if the cuts are not understood here.

    pre_tokenizer: as JSON, what `tokenizers` has to do to cut alike. unknown: what is not understood, if something is.
    """

    rule: int
    automata: Automata | None
    pre_tokenizer: dict[str, Any]
    unknown: str = ""

    @property
    def known(self) -> bool:
        """Whether text can be cut here."""
        return self.rule != AUTOMATA or self.automata is not None


def cuts_of(pre_tokenizer: dict[str, Any] | None) -> Cuts:
    """The cuts of a pre-tokenizer in a tokenizer.json.

    Raises ValueError, saying why, where the pieces aren't the text's own bytes in byte-level spelling.
    """
    steps = [_kept(step) for step in steps_of(pre_tokenizer, "pretokenizers")]
    byte_levels = [step for step in steps if step["type"] == "ByteLevel"]
    if len(byte_levels) != 1:
        raise ValueError("its pre-tokenizer does not have exactly one ByteLevel")
    if byte_levels[0].get("add_prefix_space", True):
        raise ValueError("it adds a space in front of each text")
    *cuts, last = steps
    same = {"type": "Sequence", "pretokenizers": steps} if len(steps) > 1 else last
    with_words = last.get("use_regex", True)
    if type(with_words) is not bool:
        raise ValueError("use_regex of its ByteLevel is neither true nor false")
    if not cuts and not with_words:
        return Cuts(WHOLE, None, same)
    if last["type"] != "ByteLevel":
        return Cuts(AUTOMATA, None, same, f"{last['type']} behind ByteLevel")
    if not with_words and [_pattern(step) for step in cuts] == [("Regex", LINES_PATTERN)] and _isolated(cuts[0]):
        return Cuts(LINES, None, same)
    try:
        return Cuts(AUTOMATA, _automata(tuple(map(_meant, cuts)) + (("Regex", GPT2_PATTERN),) * with_words), same)
    except Unknown as error:
        return Cuts(AUTOMATA, None, same, str(error))


def cuts_by(pattern: str) -> Cuts:
    """Pieces are what a pattern finds, which is one of ours and understood."""
    return Cuts(AUTOMATA, _automata((("Regex", pattern),)), {})


def steps_of(part: Any, key: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, with sequences unrolled; key: what holds the steps of a sequence.

    Raises ValueError where it is none.
    """
    if part is None:
        return []
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise ValueError(f"a step of its {key} is no object with a type")
    if part["type"] != "Sequence":
        return [part]
    if not isinstance(part.get(key), list):
        raise ValueError(f"a sequence without its {key}")
    return [step for inner in part[key] for step in steps_of(inner, key)]


def _kept(step: dict[str, Any]) -> dict[str, Any]:
    """A step that drops no text; ValueError for one that has to."""
    if step["type"] == "ByteLevel":
        return step
    removes = str(step.get("behavior")).lower() == "removed"
    if removes and step["type"] == "Split" and step.get("invert") is True:
        return {**step, "behavior": "Isolated", "invert": False}
    if removes or step["type"] not in ("Split", "Digits", "Punctuation", "UnicodeScripts", "FixedLength"):
        raise ValueError(f"its pre-tokenizer {step['type']} may drop or replace text")
    return step


def _isolated(step: dict[str, Any]) -> bool:
    return str(step.get("behavior")).lower() == "isolated"


def _pattern(step: dict[str, Any]) -> tuple[str, str]:
    """("Regex" or "String", the pattern) of a Split; ("", "") of another step."""
    pattern = step.get("pattern")
    if step["type"] == "Split" and isinstance(pattern, dict):
        for kind in ("Regex", "String"):
            if isinstance(pattern.get(kind), str):
                return kind, pattern[kind]
    return "", ""


Meaning = tuple[str, str]
SETS: dict[str, Callable[[], Any]] = {
    "Digits": lambda: unicode.flagged(unicode.NUMERIC),
    "Punctuation": lambda: unicode.flagged(unicode.PUNCTUATION),
}


def _meant(step: dict[str, Any]) -> Meaning:
    """The pattern whose finds are pieces under a step, or the name in `SETS` of the characters that it cuts out."""
    kind, pattern = _pattern(step)
    if kind and _isolated(step):
        return kind, pattern
    if step["type"] == "Digits":
        return "one" if step.get("individual_digits") else "many", "Digits"
    behavior = str(step.get("behavior", "isolated")).lower()
    if step["type"] == "Punctuation" and behavior in ("isolated", "contiguous"):
        return "one" if behavior == "isolated" else "many", "Punctuation"
    raise Unknown(f"the pre-tokenizer {step['type']} with behavior {step.get('behavior')}")


@lru_cache(maxsize=16)
def _automata(meanings: tuple[Meaning, ...]) -> Automata:
    return automata([_node(*meaning) for meaning in meanings])


def _node(kind: str, pattern: str) -> Node:
    if kind in ("one", "many"):
        return any_of(SETS[pattern](), kind == "many")
    node = parsed(pattern) if kind == "Regex" else literal(pattern)
    if nullable(node):
        raise Unknown("a pattern that matches nothing at all")
    return node
