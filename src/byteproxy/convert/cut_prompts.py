"""Prompts that are cut inside a word, where a tokenizer stumbles, and how often a model goes on with the word's rest.

A tokenizer writes a whole word as one token, so a model of tokens has hardly seen the halves into which a cut forces
it; a model of bytes reads the letters that are there. Some cuts are given with a recipe. Others are drawn from held-out
text: words of six letters or more, cut where the tokenizer has a token across the cut in the whole text, so that every
one of them divides a token. What a model writes is right if it begins with the rest of the word.

Drawing costs an encoding of the text.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from byteproxy.convert.conversion import Cut
from byteproxy.views.base import View

CONTEXT = 192
"""Bytes before a cut that a model reads, at most; they begin with a line where one begins there."""
SHOWN = 24
"""Bytes that are written after a cut."""
_WORD = re.compile(rb"(?<![A-Za-z])[A-Za-z]{6,20}(?![A-Za-z])")
_WITHIN = 2
"""Letters of the word before and behind a cut, at least."""
_BEFORE = 48
"""Bytes of text before a word, at least: with less there is nothing to go on."""


def drawn_cuts(texts: Sequence[bytes], view: View, count: int, seed: int) -> list[Cut]:
    """Cuts in some texts, as the seed draws them: each word once, and as many as there are of those asked for.

    view: the tokenizer, one of whose tokens each cut divides.
    """
    random = np.random.default_rng(seed)
    ends = [set(np.cumsum(view.encode(text).span_bytes.astype(np.int64)).tolist()) for text in texts]
    words = [(number, found) for number, text in enumerate(texts) for found in _WORD.finditer(text, _BEFORE)]
    seen: set[bytes] = set()
    cuts: list[Cut] = []
    for at in random.permutation(len(words)).tolist() if count else ():
        number, word = words[at]
        places = [
            place for place in range(word.start() + _WITHIN, word.end() - _WITHIN + 1) if place not in ends[number]
        ]
        if word[0].lower() in seen or not places:
            continue
        place = places[int(random.integers(len(places)))]
        prompt = _before(texts[number], place)
        if prompt is not None:
            seen.add(word[0].lower())
            cuts.append(Cut(prompt, texts[number][place : word.end()].decode()))
        if len(cuts) == count:
            break
    return cuts


def _before(text: bytes, place: int) -> str | None:
    """What stands before a cut, from the beginning of a line if it can be; None where it is no UTF-8."""
    begin = max(0, place - CONTEXT)
    line = text.find(b"\n", begin, place - _BEFORE) + 1
    try:
        return text[line if begin and line else begin : place].decode()
    except UnicodeDecodeError:
        return None


def is_right(cut: Mapping[str, Any], written: str) -> bool:
    """Whether what was written after a cut begins with the rest of the word. cut: with its `rest`."""
    return written.startswith(cut["rest"])


def counted(cuts: Sequence[Mapping[str, Any]], sides: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many of the given and of the drawn cuts each side went on with rightly, beside how many there are."""
    found = {}
    for kind, drawn in (("given", False), ("drawn", True)):
        own = [cut for cut in cuts if cut["drawn"] is drawn]
        found[kind] = {"cuts": len(own), **{side: sum(is_right(cut, cut[side]) for cut in own) for side in sides}}
    return found
