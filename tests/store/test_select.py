"""Which records are kept: against plain loops over all pairs."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store.sources import a_source
from tests.store.toys import a_document

from byteproxy.corpus import near_duplicates
from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SPLITS, Split, SplitOptions
from byteproxy.store import select, staging
from byteproxy.store.prepare import Preparation, prepare, prepare_documents
from byteproxy.store.store import Store

SPLIT = SplitOptions(0.25, 0.25)
KINDS = 12


def signatures(texts: Sequence[bytes]) -> np.ndarray:
    """Texts of one first line are similar, and no others."""
    firsts = [sha256(text.split(b"\n")[0]).digest() for text in texts]
    return np.array([np.frombuffer(first * 16, np.uint32) for first in firsts], np.uint32).reshape(-1, 128)


class Index:
    """Finds equal first entries."""

    def __init__(self, signatures: np.ndarray | None = None) -> None:
        self.known: set[int] = set()
        if signatures is not None:
            self.add(signatures)

    def add(self, signatures: np.ndarray) -> None:
        self.known |= set(signatures[:, 0].tolist())

    def similar(self, signatures: np.ndarray) -> np.ndarray:
        return np.array([first in self.known for first in signatures[:, 0].tolist()], dtype=bool)


def first_of_similar(signatures: np.ndarray) -> np.ndarray:
    _, firsts = np.unique(signatures[:, 0], return_index=True)
    return ~np.isin(np.arange(len(signatures)), firsts)


@pytest.fixture
def by_first_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, stands_in in (("signatures", signatures), ("Index", Index), ("first_of_similar", first_of_similar)):
        monkeypatch.setattr(near_duplicates, name, stands_in)


def some_documents(seed: int, count: int = 300) -> list[Document]:
    rng = np.random.default_rng(seed)
    texts = [b"kind %d\n%d" % tuple(pair) for pair in rng.integers([0, 0], [KINDS, 25], (count, 2)).tolist()]
    return [a_document(n, text, projects=40) for n, text in enumerate(texts)]


def splits_of(documents: list[Document], folder: Path) -> dict[str, Split]:
    """The split of each project, where nothing but copies is dropped."""
    prepare_documents(documents, folder, SPLIT, near_duplicates="keep")
    store = Store.open(folder)
    return {document.project: split for split in SPLITS for document in store.documents(split)}


def kept_by_loops(documents: list[Document], near: str, splits: dict[str, Split]) -> set[str]:
    firsts = {document.text: document for document in reversed(documents)}
    left = [document for document in documents if firsts[document.text] is document]
    kind = {document.id: document.text.split(b"\n")[0] for document in left}
    train = [document for document in left if splits[document.project] == "train"]
    held_out: list[Document] = []
    for document in left:
        similar_to = held_out + (train if near == "held_out" else [])
        if document not in train and not any(kind[document.id] == kind[other.id] for other in similar_to):
            held_out.append(document)
    if near == "train":
        train = [one for one in train if not any(kind[one.id] == kind[other.id] for other in held_out)]
    return {document.id for document in train + held_out}


@pytest.mark.usefixtures("by_first_line")
@pytest.mark.parametrize("near", ["held_out", "train"])
@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_are_those_of_plain_loops(
    near: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "PART_RECORDS", 17)
    monkeypatch.setattr(select, "QUERIED_TOGETHER", 5)
    documents = some_documents(seed)
    guessed = splits_of(documents, tmp_path / "guessed")
    # What is held out has some kinds of its own.
    for n, one in enumerate(documents[:90]):
        text = b"%s %d\n%d" % (guessed[one.project].encode(), n % 8, n)
        documents.append(replace(one, id=f"new-{n}", text=text))
    documents = [documents[n] for n in np.random.default_rng(seed).permutation(len(documents))]
    out = tmp_path / "out"
    manifest = prepare_documents(documents, out, SPLIT, near_duplicates=near)  # type: ignore[arg-type]
    store = Store.open(out)
    kept = {document.id for split in SPLITS for document in store.documents(split)}
    expected = kept_by_loops(documents, near, splits_of(documents, tmp_path / "splits"))
    assert kept == expected
    copies = len(documents) - len({document.text for document in documents})
    dropped = len(documents) - copies - len(expected)
    assert manifest.rejected == {"exact duplicate": copies, "near-duplicate": dropped}
    listed = (out / "rejected.jsonl").read_text()
    assert listed.count('"near-duplicate"') == listed.count('"similar to ') == dropped
    assert ("similar to a train document" in listed) == (near == "held_out")
    assert ("similar to a held-out document" in listed) == (near == "train")
    assert "similar to an earlier held-out document" in listed


def test_nothing_is_compared_where_it_needn_t_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "signatures", None)
    documents = some_documents(0)
    everything = prepare_documents(documents, tmp_path / "keep", SPLIT, near_duplicates="keep")
    assert set(everything.rejected) == {"exact duplicate"}
    prepare_documents(documents, tmp_path / "train", SplitOptions(0, 0), near_duplicates="held_out")


@pytest.mark.parametrize("workers", [1, 2])
def test_edited_copies_are_found_through_all_of_it(workers: int, tmp_path: Path) -> None:
    """With the real signatures, and from other processes."""
    rng = np.random.default_rng(1)
    words = [bytes(word) for word in rng.integers(97, 122, (500, 6)).astype(np.uint8)]

    def text(seed: int) -> bytes:
        return b" ".join(words[n] for n in np.random.default_rng(seed).integers(0, 500, 400))

    train, validation, test = "p", "q", "r"
    documents = [Document(str(n), text(n), "toy", train) for n in range(5)]
    documents += [
        Document("copy of train", text(3) + b" more", "toy", validation),
        Document("own", text(10), "toy", test),
        Document("copy of own", text(10) + b" more", "toy", validation),
        Document("another", text(11), "toy", validation),
    ]
    source = a_source(tmp_path / "toy", [documents[:2], documents[2:]])
    prepare(
        [source], tmp_path / "out", Preparation(SplitOptions(0, 0, hold_out=("validation:q", "r"))), workers=workers
    )
    store = Store.open(tmp_path / "out")
    assert [[document.id for document in store.documents(split)] for split in SPLITS] == [
        ["0", "1", "2", "3", "4"],
        ["another"],
        ["own"],
    ]


KEYS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40)


@given(KEYS, st.sets(st.integers(0, 39)))
def test_repeated_keys_are_those_of_a_plain_loop(keys: list[tuple[int, int]], left_out: set[int]) -> None:
    among = [n for n in range(len(keys)) if n not in left_out]
    copies, originals = select._repeated(np.array(keys, np.uint64).reshape(-1, 2), np.array(among, np.int64))
    seen: dict[tuple[int, int], int] = {}
    expected = [(n, seen[keys[n]]) for n in among if seen.setdefault(keys[n], n) != n]
    assert list(zip(copies.tolist(), originals.tolist(), strict=True)) == expected
