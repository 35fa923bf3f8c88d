"""The table of passages against the passages of each shard, sorted by source with plain loops."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.toys import CORPORA, FIXED, LINES, WORDS, Halves, a_document

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SIDES, Split
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.store.table import FOLDER, KEY, PLACE_BITS, Table


def a_store(folder: Path, documents: list[Document]) -> Store:
    prepare_documents(documents, folder, Split(0.2, 0.2), shard_bytes=4000)
    for view in (WORDS, LINES, Halves()):
        add_view(folder, view)
    return Store.open(folder)


def slow_rows(
    store: Store, side: str, names: tuple[str, ...], most: int, units: bool = False
) -> list[tuple[str, list[int]]]:
    found = []
    for shard in store.shards(side):  # type: ignore[arg-type]
        passages = store.passages(shard, names, most)
        sources = store._shard(shard).column("source").to_pylist()
        place, before = 0, -1
        for at in range(len(passages)):
            document = int(passages.document[at])
            place = place + 1 if document == before else 0
            before = document
            row = [
                shard << PLACE_BITS | place,
                passages.byte_start[at],
                passages.byte_end[at] - passages.byte_start[at],
            ]
            for view in range(len(names)):
                start, end = passages.symbol_start[view, at], passages.symbol_end[view, at]
                spans = store.span_buffer(names[view], shard)[start:end].tolist()
                row += [start, len([span for span in spans if span > 0] if units else spans)]
            found.append((sources[document], list(map(int, row))))
    order = list(store.manifest.sources)
    return sorted(found, key=lambda pair: order.index(pair[0]))


def check(table: Table, wanted: list[tuple[str, list[int]]], sources: list[str], views: int) -> None:
    assert table.rows.tolist() == [row for _, row in wanted]
    assert [one.name for one in table.summary.sources] == sources
    lengths = [row[2::2] for _, row in wanted]
    assert list(table.summary.most) == [max((row[at] for row in lengths), default=0) for at in range(1 + views)]
    for one in table.summary.sources:
        own = [row for name, row in wanted if name == one.name]
        assert table.rows[one.first : one.first + one.passages].tolist() == own
        assert list(one.sums) == [sum(row[2 + 2 * at] for row in own) for at in range(1 + views)]
        assert one.documents == sum(row[KEY] & ((1 << PLACE_BITS) - 1) == 0 for row in own)


def mixed(documents: list[Document]) -> list[Document]:
    """The same documents from three sources, in no order."""
    return [Document(one.id, one.text, f"source{number * 7 % 3}", one.project) for number, one in enumerate(documents)]


NAMES: list[tuple[str, ...]] = [(), ("words",), ("halves",), ("words", "halves", "lines")]


@settings(max_examples=25, deadline=None)
@given(CORPORA, st.booleans(), st.sampled_from(NAMES), st.integers(1, 2000))
def test_rows_are_the_passages_of_all_shards(
    documents: list[Document], several: bool, names: tuple[str, ...], most: int
) -> None:
    with TemporaryDirectory() as folder:
        store = a_store(Path(folder), mixed(documents) if several else documents)
        for side in SIDES:
            wanted = {units: slow_rows(store, side, names, most, units) for units in (False, True)}
            for units in (False, True, False, True):  # each made, then found
                table = store.table(side, names, most, units=units)
                check(table, wanted[units], list(store.manifest.sources), len(names))


def test_it_is_made_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(tmp_path, mixed(FIXED))
    first = store.table("train", ("words",), 300)
    monkeypatch.setattr(Store, "passages", lambda *_: pytest.fail("it was made again"))
    again = Store.open(tmp_path).table("train", ("words",), 300)
    assert np.array_equal(first.rows, again.rows)
    assert first.summary == again.summary
    for table in (first, again):
        assert isinstance(table.rows.base, np.memmap | np.ndarray)
        assert not table.rows.flags.writeable
    with pytest.raises(pytest.fail.Exception):
        store.table("train", ("words",), 301)


@pytest.mark.parametrize("damage", ["cut", "touched", "told", "gone"])
def test_a_changed_table_is_made_again(tmp_path: Path, damage: str) -> None:
    store = a_store(tmp_path, FIXED)
    wanted = store.table("train", ("words",), 300).rows.copy()
    (path,) = (tmp_path / FOLDER).glob("*.i64")
    (told,) = (tmp_path / FOLDER).glob("*.json")
    if damage == "cut":
        os.truncate(path, 80)
    elif damage == "touched":
        content = path.read_bytes()
        path.write_bytes(content[:100] + b"\xff" + content[101:])
    elif damage == "told":
        told.write_text(json.dumps({"file": [1, 2, 3]}))
    else:
        path.unlink()
    assert np.array_equal(Store.open(tmp_path).table("train", ("words",), 300).rows, wanted)


def test_where_nothing_can_be_written_it_stays_in_memory(tmp_path: Path) -> None:
    store = a_store(tmp_path, mixed(FIXED))
    wanted = slow_rows(store, "train", ("words",), 300)
    (tmp_path / FOLDER).write_bytes(b"a file, so no folder can be made")
    check(store.table("train", ("words",), 300), wanted, list(store.manifest.sources), 1)


def test_another_view_added_later_changes_nothing(tmp_path: Path) -> None:
    prepare_documents([a_document(0, b"one two three\n" * 100)], tmp_path, Split(0, 0))
    add_view(tmp_path, WORDS)
    Store.open(tmp_path).table("train", ("words",), 300)
    before = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    add_view(tmp_path, LINES)
    Store.open(tmp_path).table("train", ("words",), 300)
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == before
