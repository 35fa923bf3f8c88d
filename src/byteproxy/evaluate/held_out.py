"""Which text of a held-out split is scored when not all of it is: by names and sizes only, spread over all there is.

The rule, a pure function of the documents and of what is asked for:

1. Projects take turns, each giving one document of each of its languages a turn; which one is decided by a hash of its
   id. Within a turn sources and languages take turns too, so that a small budget has text of every one.
2. A document gives its start, at most `document_bytes`. Where so many would leave fewer than `DOCUMENTS` documents
   (or fewer than there are), each gives less, though never under `MIN_BYTES`: the most with which it isn't so.
3. Documents are taken in this order until the bytes asked for are together; the last one gives what is left.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import Protocol

import numpy as np

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import Split
from byteproxy.errors import InputError

RULE = "held-out text 2"
"""Names the rule above: figures of text that was chosen by another one can't be compared."""
DOCUMENTS = 16
MIN_BYTES = 256


class Splits(Protocol):
    """Documents by split, as a store has them."""

    def documents(self, split: Split, /) -> Iterator[Document]:
        """The documents of one split."""


def held_out_texts(corpus: Splits, split: Split, max_bytes: int, document_bytes: int) -> list[bytes]:
    """The texts of `held_out_documents`."""
    return [document.text for document in held_out_documents(corpus, split, max_bytes, document_bytes)]


def held_out_documents(corpus: Splits, split: Split, max_bytes: int, document_bytes: int) -> list[Document]:
    """The starts of documents by the rule of this module, together `max_bytes` where the split has so many.

    document_bytes: the most that one document gives.
    Raises InputError if the split holds no text. A split is read twice, as it may be too large to be held.
    """
    if max_bytes < 1 or document_bytes < 1:
        raise InputError(f"{max_bytes} bytes of text, {document_bytes} of a document: give at least 1 of each")
    numbers, sizes = _in_turns(corpus.documents(split))
    if not numbers:
        raise InputError(
            f"the {split} split holds no text: look at `byteproxy corpus stats`, and prepare it again with "
            f"a larger share (--{split}) or more text, or with --near-duplicates keep if that is where it went"
        )
    given = _given(np.array(sizes, np.int64), max_bytes, document_bytes)
    chosen = {number: size for number, size in zip(numbers, given.tolist(), strict=True) if size}
    found = {
        number: replace(document, text=document.text[: chosen[number]])
        for number, document in enumerate(corpus.documents(split))
        if number in chosen
    }
    return [found[number] for number in chosen]


def _in_turns(documents: Iterator[Document]) -> tuple[list[int], list[int]]:
    """The numbers and sizes of the documents that have text, in the order in which they are taken."""
    seen = []
    for number, one in enumerate(documents):
        if one.text:
            key = blake2b(one.id.encode("utf-8", "surrogatepass")).digest()
            kind = one.source, one.language
            seen.append((key, number, (*kind, one.project), kind, len(one.text)))
    turns: Counter[tuple[str, str, str]] = Counter()
    within: Counter[tuple[int, tuple[str, str]]] = Counter()
    order = []
    for _, number, project, kind, size in sorted(seen):
        turn = turns[project]
        turns[project] += 1
        order.append((turn, within[turn, kind], number, size))
        within[turn, kind] += 1
    order.sort(key=lambda one: one[:2])  # stable: by the hash among equals
    return [number for _, _, number, _ in order], [size for *_, size in order]


def _given(sizes: np.ndarray, max_bytes: int, document_bytes: int) -> np.ndarray:
    """How many bytes each document gives, in order; int64 [documents], 0 from some document on."""
    wanted = min(DOCUMENTS, len(sizes))
    low, high = min(MIN_BYTES, document_bytes), document_bytes
    while low < high:  # the largest limit with which enough documents are taken
        limit = (low + high + 1) // 2
        if np.count_nonzero(_taken(sizes, max_bytes, limit)) >= wanted:
            low = limit
        else:
            high = limit - 1
    return _taken(sizes, max_bytes, low)


def _taken(sizes: np.ndarray, max_bytes: int, limit: int) -> np.ndarray:
    """What documents give, `limit` bytes at most each, until `max_bytes` are together."""
    until = np.minimum(np.cumsum(np.minimum(sizes, limit)), max_bytes)
    return np.diff(until, prepend=0)
