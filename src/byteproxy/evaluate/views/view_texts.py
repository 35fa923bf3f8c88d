"""The text that views are trained on and judged by: what `--corpus` names, and a fair sample of its held-out split."""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from byteproxy.corpus.dividing import splits_of_projects
from byteproxy.corpus.document import Document
from byteproxy.corpus.near_duplicates import near_duplicates
from byteproxy.corpus.split import Split, SplitOptions
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
    """Documents by split.

    name: as it was typed.
    documents: may be called again and again; each call reads the documents of one split anew.
    """

    name: str
    documents: Callable[[Split], Iterator[Document]]

    def train_texts(self) -> Iterator[bytes]:
        """The text of each training document."""
        return (document.text for document in self.documents("train"))


class Sample(NamedTuple):
    """Held-out text: the starts of documents, one from each project in turn, and what was left out before."""

    split: Split
    texts: list[bytes]
    near_duplicates: int


def corpus_named(name: str) -> Corpus:
    """The prepared corpus in a folder, or the standard library of this Python, split in memory by the usual rule.

    Raises InputError where it is neither.
    """
    if name == STDLIB:
        splits = _stdlib_splits()
        return Corpus(name, lambda split: (text for text in read_stdlib() if splits[text.project] == split))
    if not (Path(name) / MANIFEST).is_file():
        raise InputError(
            f"{name} is no prepared corpus, which is a folder with a {MANIFEST}: name one, or say {STDLIB} for the "
            "standard library of this Python"
        )
    return Corpus(name, Store.open(Path(name)).documents)


@lru_cache(1)
def _stdlib_splits() -> dict[str, Split]:
    """The split of each project of the standard library, by the usual shares."""
    sizes: Counter[str] = Counter()
    for document in read_stdlib():
        sizes[document.project] += len(document.text)
    return splits_of_projects(sizes, SplitOptions())


def held_out_sample(corpus: Corpus, split: Split, max_bytes: int, progress: Progress = silent) -> Sample:
    """Up to `max_bytes` of one split, without documents that are near-duplicates of training text or of each other.

    progress: bytes of training text compared; the total is 0, as it isn't known.
    Raises InputError if nothing is left. The documents of the split are in memory meanwhile.
    """
    if split == "train":
        raise InputError("split is train: views are judged by text that they were not trained on, validation or test")
    if max_bytes < 1:
        raise InputError(f"max_bytes is {max_bytes}: give at least 1")
    documents = list(corpus.documents(split))
    copies = near_duplicates(documents, corpus.documents("train"), progress)
    kept = [document for document, copy in zip(documents, copies, strict=True) if not copy]
    if documents and not kept:
        raise InputError(
            f"every document of the {split} split of {corpus.name} is a near-duplicate: take another corpus"
        )
    without_copies = Corpus(corpus.name, lambda _: iter(kept))
    return Sample(split, held_out_texts(without_copies, split, max_bytes, DOCUMENT_BYTES), int(copies.sum()))
