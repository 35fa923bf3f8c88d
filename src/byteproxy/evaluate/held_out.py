"""Which text of a held-out side is scored when not all of it is: a sample by names only, spread over projects."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import Protocol

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import Side
from byteproxy.errors import InputError


class Sides(Protocol):
    """Documents by side, as a store has them."""

    def documents(self, side: Side, /) -> Iterator[Document]:
        """The documents of one side."""


def held_out_texts(corpus: Sides, side: Side, most_bytes: int, document_bytes: int) -> list[bytes]:
    """The texts of `held_out_documents`."""
    return [document.text for document in held_out_documents(corpus, side, most_bytes, document_bytes)]


def held_out_documents(corpus: Sides, side: Side, most_bytes: int, document_bytes: int) -> list[Document]:
    """The starts of documents, one from each project in turn, until `most_bytes` are together.

    Projects take turns so that one with many files does not stand for all; within each, the order is keyed by the ids.
    document_bytes: the most that one document gives.
    Raises InputError if the side holds no text.
    """
    seen = []
    for number, document in enumerate(corpus.documents(side)):
        size = min(document_bytes, len(document.text))
        seen.append((blake2b(document.id.encode()).digest(), number, document.project, size))
    taken: Counter[str] = Counter()
    turns = []
    for _, number, project, size in sorted(seen):
        turns.append((taken[project], number, size))
        taken[project] += 1
    chosen: dict[int, int] = {}  # how much of which document, by number, in order
    left = most_bytes
    for _, number, size in sorted(turns, key=lambda turn: turn[0]):
        if min(size, left) > 0:
            chosen[number] = min(size, left)
            left -= chosen[number]
    # Read a second time: a side may be too large to be held.
    found = {
        number: replace(document, text=document.text[: chosen[number]])
        for number, document in enumerate(corpus.documents(side))
        if number in chosen
    }
    if not found:
        raise InputError(
            f"the {side} side holds no text: look at `byteproxy corpus stats`, and prepare it again with "
            f"a larger share (--{side}) or more text, or with --near-duplicates keep if that is where it went"
        )
    return [found[number] for number in chosen]
