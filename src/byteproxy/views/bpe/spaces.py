"""The spaces of SentencePiece: a text as Llama 1 and 2 and Mistral read it, and its spans in the text as it was.

SentencePiece writes a space as "▁" (U+2581), puts one in front of a text, and takes a "▁" of the text for a space. Here
a space stays the byte that it is and "▁" becomes one; so a text that has no "▁" changes by the space in front alone. A
symbol covers the bytes of its characters, three for a "▁". The space in front covers nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from byteproxy.views.bpe.normalized import Normalized
from byteproxy.views.bpe.pre_tokenizers import WHOLE, Cuts, cuts_by, steps_of

SPACE = "\u2581"
_BYTES = SPACE.encode()


@dataclass(frozen=True)
class Spaces:
    """How a tokenizer sees spaces.

    in_front: whether a space is put in front of a text. unless_there: not of one that begins with a space.
    first_only: not of text behind an added token.
    after_tokens: whether added tokens are found in the text as it is, all of them; else those that are `normalized` are
        found in the text with its spaces.
    cuts: where text is cut.
    """

    in_front: bool
    unless_there: bool
    first_only: bool
    after_tokens: bool
    cuts: Cuts

    def normalized(self, text: bytes, first: bool = True) -> Normalized | None:
        """A text with its spaces; None if they are as they were. first: whether nothing stands before it."""
        there = self.unless_there and text.startswith((b" ", _BYTES))
        front = int(bool(text) and self.in_front and not there and (first or not self.first_only))
        pieces = text.split(_BYTES)
        if len(pieces) == 1 and not front:
            return None
        lengths = np.array([len(piece) for piece in pieces[:-1]], np.int64)
        ends, old_ends = np.cumsum(lengths + 1) + front, np.cumsum(lengths + len(_BYTES))
        begins, old_begins = ends - 1, old_ends - len(_BYTES)
        if front:
            begins, old_begins, old_ends = (np.r_[0, places] for places in (begins, old_begins, old_ends))
            ends = np.r_[1, ends]
        return Normalized(b" " * front + b" ".join(pieces), begins, ends, old_begins, old_ends)


def spaces_of(content: Mapping[str, Any]) -> Spaces | None:
    """The spaces of a tokenizer.json; None for one of byte-level BPE, whose spaces are bytes as any others.

    Raises ValueError, saying why, where the text would be changed in another way.
    """
    before = steps_of(content.get("normalizer"), "normalizers")
    after = steps_of(content.get("pre_tokenizer"), "pretokenizers")
    kinds, cutting = [step["type"] for step in before], [step["type"] for step in after]
    byte_fallback = content["model"].get("byte_fallback") is True
    if "ByteLevel" in cutting or not (byte_fallback or "Metaspace" in cutting or {"Prepend", "Replace"} & {*kinds}):
        return None
    whole = Cuts(WHOLE, None, {})
    if cutting == ["Metaspace"] and not kinds:
        step = after[0]
        scheme, cut = step.get("prepend_scheme", "always"), step.get("split", True)
        if step.get("replacement") != SPACE or scheme not in ("always", "first", "never") or type(cut) is not bool:
            raise ValueError(f"its Metaspace is not one that writes spaces as {SPACE!r}")
        return Spaces(scheme != "never", True, scheme == "first", True, cuts_by(" [^ ]*|[^ ]+") if cut else whole)
    if cutting or not kinds:
        raise ValueError(
            f"its pre-tokenizer, {', '.join(cutting) or 'none'}, and normalizer, {', '.join(kinds) or 'none'}, are not "
            "those of byte-level BPE, nor those of SentencePiece's"
        )
    replaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prepends = [{"type": "Prepend", "prepend": one} for one in (SPACE, " ")]
    if before[-1] != replaces or before[:-1] not in ([], *([one] for one in prepends)):
        raise ValueError(
            f"its normalizer, {', '.join(kinds)}, does more to a text than to write a space as {SPACE!r} and to put "
            "one in front, so its symbols would not be the text's own bytes"
        )
    return Spaces(len(before) > 1, False, False, False, whole)
