import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.toys import CORPORA, FIXED, LINES, WORDS, Halves, Opaque, a_document

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.errors import InputError
from byteproxy.store.encode import add_view
from byteproxy.store.passages import Anchors, Passages, cut_at_anchors
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store

CHOICES = [(), ("words",), ("halves", "lines"), ("words", "lines", "halves")]


def a_store(folder: Path, documents: list[Document], views: bool = True) -> Store:
    prepare_documents(documents, folder, SplitOptions(0.2, 0.2), shard_bytes=4000)
    for view in (Opaque(), WORDS, LINES, Halves()) if views else ():
        add_view(folder, view)
    return Store.open(folder)


def passages_of(store: Store, split: str, names: tuple[str, ...], max_bytes: int) -> Passages:
    """Those of all shards of a split, one after the other."""
    shards = store.shards(split)  # type: ignore[arg-type]
    none = prepared_nothing(len(names))
    parts = [none, *(store.passages(shard, names, max_bytes) for shard in shards)]
    fields = ("shard", "document", "byte_start", "byte_end", "symbol_start", "symbol_end")
    return Passages(*(np.concatenate([getattr(part, field) for part in parts], axis=-1) for field in fields))


def prepared_nothing(views: int) -> Passages:
    none = np.empty(0, np.int64)
    return Passages(none.astype(np.int32), none, none, none, none.reshape(views, 0), none.reshape(views, 0))


def all_anchors(store: Store, view: str, shard: int) -> set[tuple[int, int, int]]:
    """Row, byte offset and symbol offset of every anchor, read with plain loops."""
    batch = store._view(view, shard)
    found, at_byte, at_symbol = set(), 0, 0
    for row in range(batch.num_rows):
        pairs = zip(batch["anchor_bytes"][row].as_py(), batch["anchor_symbols"][row].as_py(), strict=True)
        found |= {(row, at_byte + byte, at_symbol + symbol) for byte, symbol in pairs}
        at_byte += len(store.text(shard, row))
        at_symbol += len(batch["symbols"][row])
    return found


def all_boundaries(store: Store, view: str, shard: int) -> set[tuple[int, int, int]]:
    """Row, byte offset and symbol offset of every place where a unit ends or a document begins, with plain loops."""
    batch = store._view(view, shard)
    found, at_byte, at_symbol = set(), 0, 0
    for row in range(batch.num_rows):
        found.add((row, at_byte, at_symbol))
        for span in batch["spans"][row].as_py():
            at_byte, at_symbol = at_byte + span, at_symbol + 1
            if span:
                found.add((row, at_byte, at_symbol))
    return found


def check_passages(store: Store, split: str, names: tuple[str, ...], max_bytes: int) -> None:
    passages = passages_of(store, split, names, max_bytes)
    texts: list[bytes] = []
    keys = list(zip(passages.shard.tolist(), passages.document.tolist(), strict=True))
    for key, group in itertools.groupby(range(len(passages)), key=keys.__getitem__):
        rows = list(group)
        buffer = store.text_buffer(key[0])
        text = b"".join(buffer[passages.byte_start[p] : passages.byte_end[p]].tobytes() for p in rows)
        assert text == store.text(*key)
        assert all(passages.byte_end[p] > passages.byte_start[p] for p in rows)
        assert all(passages.byte_end[a] == passages.byte_start[b] for a, b in itertools.pairwise(rows))
        for v, name in enumerate(names):
            own = store.symbol_buffer(name, key[0])
            parts = [own[passages.symbol_start[v, p] : passages.symbol_end[v, p]] for p in rows]
            assert np.concatenate(parts).tolist() == store.symbols(name, *key).tolist()
        texts.append(text)
    assert texts == [document.text for document in store.documents(split) if document.text]  # type: ignore[arg-type]
    assert keys == sorted(keys)
    check_cuts(store, passages, names, max_bytes)


def check_cuts(store: Store, passages: Passages, names: tuple[str, ...], max_bytes: int) -> None:
    """Every passage's end is the one that the rule names."""
    for shard in set(passages.shard.tolist()):
        buffer = store.text_buffer(shard)
        places = all_boundaries if len(names) > 1 else all_anchors
        anchors = [places(store, name, shard) for name in names or ("words",)]
        shared = set.intersection(*({(row, byte) for row, byte, _ in of_view} for of_view in anchors))
        for p in np.flatnonzero(passages.shard == shard).tolist():
            row, start, end = (int(a[p]) for a in (passages.document, passages.byte_start, passages.byte_end))
            later = sorted(byte for there, byte in shared if there == row and byte > start)
            near = [byte for byte in later if byte - start <= max_bytes]
            lines = [byte for byte in near if buffer[byte - 1] == 10 and 2 * (byte - start) >= max_bytes]
            whole = [later[-1]] if near and near[-1] == later[-1] else []
            assert end == (whole or lines[-1:] or near[-1:] or later[:1])[0]
            for v, _ in enumerate(names):
                assert (row, start, int(passages.symbol_start[v, p])) in anchors[v]
                assert (row, end, int(passages.symbol_end[v, p])) in anchors[v]


@settings(max_examples=25)
@given(CORPORA, st.integers(1, 2000), st.sampled_from(CHOICES))
def test_passages_cover_everything_once_and_keep_the_limit(
    documents: list[Document], max_bytes: int, names: tuple[str, ...]
) -> None:
    with TemporaryDirectory() as folder:
        store = a_store(Path(folder), documents)
        for split in SPLITS:
            check_passages(store, split, names, max_bytes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return a_store(tmp_path_factory.mktemp("store"), FIXED)


@pytest.mark.parametrize("names", CHOICES, ids=str)
@pytest.mark.parametrize("max_bytes", [1, 255, 256, 700, 1024, 10**9])
def test_passages_of_a_larger_corpus(store: Store, names: tuple[str, ...], max_bytes: int) -> None:
    for split in SPLITS:
        check_passages(store, split, names, max_bytes)


def test_shapes_and_types(store: Store, tmp_path: Path) -> None:
    passages = store.passages(store.shards("train")[0], ("words", "lines"), 500)
    assert passages.shard.dtype == np.int32
    assert passages.symbol_start.shape == passages.symbol_end.shape == (2, len(passages))
    assert {passages.document.dtype, passages.byte_start.dtype, passages.symbol_end.dtype} == {np.dtype(np.int64)}
    raw = passages_of(store, "train", (), 500)
    assert raw.symbol_start.shape == (0, len(raw))
    prepare_documents([a_document(0, b"only one split")], tmp_path, SplitOptions(0, 0))
    none = Store.open(tmp_path).table("test", (), 500)
    assert none.rows.shape == (0, 3)
    assert none.rows.dtype == np.int64


def test_raw_and_first_view_draw_the_same_passages(store: Store) -> None:
    cuts = {
        names: [passages_of(store, split, names, 600).byte_end.tolist() for split in SPLITS]
        for names in ((), ("words",), ("halves",))
    }
    assert cuts[()] == cuts[("words",)] != cuts[("halves",)]


def ends_at_anchors(text: bytes, anchors: list[int], max_bytes: int) -> list[int]:
    """The rule for the anchors of one document as it is written down."""
    ends = [0]
    while ends[-1] < len(text):
        start = ends[-1]
        near = [anchor for anchor in anchors if start < anchor <= start + max_bytes]
        line_ends = [
            anchor for anchor in near if text[anchor - 1 : anchor] == b"\n" and 2 * (anchor - start) >= max_bytes
        ]
        if near and near[-1] == len(text):
            ends.append(len(text))
        elif near:
            ends.append((line_ends or near)[-1])
        else:
            ends.append(min(anchor for anchor in anchors if anchor > start))
    return ends


@settings(max_examples=300)
@given(st.lists(st.tuples(st.text("a\n", max_size=40), st.sets(st.integers(1, 39))), max_size=4), st.integers(1, 20))
def test_cuts_at_dense_anchors(documents: list[tuple[str, set[int]]], max_bytes: int) -> None:
    texts = [text.encode() for text, _ in documents]
    anchors = [sorted({0, len(text)} | {at for at in inner if at < len(text)}) for text, inner in documents]
    offsets = np.cumsum([0, *map(len, texts)])
    at = [(row, offsets[row] + anchor) for row, own in enumerate(anchors) for anchor in own]
    rows, places = np.array(at, dtype=np.int64).reshape(-1, 2).T
    buffer = np.frombuffer(b"".join(texts), dtype=np.uint8)
    passages = cut_at_anchors(7, buffer, offsets, Anchors(rows, places, places * 3), max_bytes)
    ends = [ends_at_anchors(text, own, max_bytes) for text, own in zip(texts, anchors, strict=True)]
    assert passages.byte_start.tolist() == [offsets[row] + at for row, own in enumerate(ends) for at in own[:-1]]
    assert passages.byte_end.tolist() == [offsets[row] + at for row, own in enumerate(ends) for at in own[1:]]
    assert passages.symbol_end[0].tolist() == [3 * end for end in passages.byte_end.tolist()]
    assert passages.document.tolist() == [row for row, own in enumerate(ends) for _ in own[1:]]
    assert set(passages.shard.tolist()) <= {7}


def slow_cuts(text: bytes, max_bytes: int) -> list[bytes]:
    """The rule without views as it is written down."""
    if len(text) <= max_bytes:
        return [text] if text else []
    line_ends = [at for at in range(1, max_bytes + 1) if text[at - 1 : at] == b"\n" and 2 * at >= max_bytes]
    end = max(line_ends, default=max_bytes)
    return [text[:end], *slow_cuts(text[end:], max_bytes)]


@pytest.mark.parametrize("max_bytes", [40, 255, 256, 10_000])
def test_without_views_any_byte_will_do(max_bytes: int, tmp_path: Path) -> None:
    store = a_store(tmp_path, FIXED, views=False)
    for split in SPLITS:
        passages = passages_of(store, split, (), max_bytes)
        spans = zip(passages.shard.tolist(), passages.byte_start, passages.byte_end, strict=True)
        pieces = [store.text_buffer(shard)[start:end].tobytes() for shard, start, end in spans]
        assert pieces == [piece for document in store.documents(split) for piece in slow_cuts(document.text, max_bytes)]


@settings(max_examples=20)
@given(st.text("ab\n", min_size=1, max_size=60).map(str.encode), st.integers(1, 12))
def test_without_views_small_limits(text: bytes, max_bytes: int) -> None:
    with TemporaryDirectory() as folder:
        prepare_documents([a_document(0, text)], Path(folder), SplitOptions(0, 0))
        passages = passages_of(Store.open(Path(folder)), "train", (), max_bytes)
        pieces = [text[a:b] for a, b in zip(passages.byte_start, passages.byte_end, strict=True)]
        assert pieces == slow_cuts(text, max_bytes)


def test_line_ends_are_preferred_without_views(tmp_path: Path) -> None:
    text = b"1234\n1234567\n123\n12345678901"
    prepare_documents([a_document(0, text)], tmp_path, SplitOptions(0, 0))
    passages = Store.open(tmp_path).passages(0, (), 10)
    assert [text[a:b] for a, b in zip(passages.byte_start, passages.byte_end, strict=True)] == [
        b"1234\n",
        b"1234567\n",
        b"123\n123456",
        b"78901",
    ]


def test_wrong_requests_are_refused(store: Store) -> None:
    with pytest.raises(InputError, match="no view 'none'"):
        store.passages(0, ("none",), 100)
    with pytest.raises(InputError, match="'opaque' is not aligned"):
        store.passages(0, ("opaque",), 100)
    with pytest.raises(InputError, match="max_bytes is 0"):
        store.passages(0, (), 0)
    with pytest.raises(InputError, match="no split 'dev'"):
        store.table("dev", (), 100)  # type: ignore[arg-type]
