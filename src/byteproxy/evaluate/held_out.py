"""Which text of a held-out side is scored when not all of it is: a sample by names only, spread over projects."""

from collections import Counter
from collections.abc import Iterator
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
    """The starts of documents, one from each project in turn, until `most_bytes` are together.

    Projects take turns so that one with many files does not stand for all; within each, the order is keyed by the ids.
    document_bytes: the most that one document gives.
    Raises InputError if the side holds no text.
    """
    documents = sorted(corpus.documents(side), key=lambda document: blake2b(document.id.encode()).digest())
    taken: Counter[str] = Counter()
    turns = []
    for document in documents:
        turns.append(taken[document.project])
        taken[document.project] += 1
    texts: list[bytes] = []
    left = most_bytes
    for _, document in sorted(zip(turns, documents, strict=True), key=lambda pair: pair[0]):
        text = document.text[: min(document_bytes, left)]
        if text:
            texts.append(text)
            left -= len(text)
    if not texts:
        raise InputError(f"the {side} side holds no text: use more projects or a larger share")
    return texts
