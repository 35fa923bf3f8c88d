"""The table of passages against the passages of each shard, sorted by source with plain loops."""

import errno
import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.toys import CORPORA, FIXED, LINES, WORDS, Halves, a_document

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.errors import InputError
from byteproxy.store import integrity, passage_index
from byteproxy.store.encode import add_view
from byteproxy.store.format import file_info
from byteproxy.store.passage_index import FOLDER, KEY, PLACE_BITS, Table
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store


def a_store(folder: Path, documents: list[Document]) -> Store:
    prepare_documents(documents, folder, SplitOptions(0.2, 0.2), shard_bytes=4000)
    for view in (WORDS, LINES, Halves()):
        add_view(folder, view)
    return Store.open(folder)


def slow_rows(
    store: Store, split: str, names: tuple[str, ...], most: int, units: bool = False
) -> list[tuple[str, list[int]]]:
    found = []
    for shard in store.shards(split):  # type: ignore[arg-type]
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


def check(made: Table, wanted: list[tuple[str, list[int]]], sources: list[str], views: int) -> None:
    assert made.rows.tolist() == [row for _, row in wanted]
    assert [one.name for one in made.summary.sources] == sources
    lengths = [row[2::2] for _, row in wanted]
    assert list(made.summary.most) == [max((row[at] for row in lengths), default=0) for at in range(1 + views)]
    for one in made.summary.sources:
        own = [row for name, row in wanted if name == one.name]
        assert made.rows[one.first : one.first + one.passages].tolist() == own
        assert list(one.sums) == [sum(row[2 + 2 * at] for row in own) for at in range(1 + views)]
        assert one.documents == sum(row[KEY] & ((1 << PLACE_BITS) - 1) == 0 for row in own)


def mixed(documents: list[Document]) -> list[Document]:
    """The same documents from three sources, in no order."""
    return [Document(one.id, one.text, f"source{number * 7 % 3}", one.project) for number, one in enumerate(documents)]


NAMES: list[tuple[str, ...]] = [(), ("words",), ("halves",), ("words", "halves", "lines")]


@settings(max_examples=25)
@given(CORPORA, st.booleans(), st.sampled_from(NAMES), st.integers(1, 2000))
def test_rows_are_the_passages_of_all_shards(
    documents: list[Document], several: bool, names: tuple[str, ...], most: int
) -> None:
    with TemporaryDirectory() as folder:
        store = a_store(Path(folder), mixed(documents) if several else documents)
        for split in SPLITS:
            wanted = {units: slow_rows(store, split, names, most, units) for units in (False, True)}
            for units in (False, True, False, True):  # each made, then found
                passage_index = store.table(split, names, most, units=units)
                check(passage_index, wanted[units], list(store.manifest.sources), len(names))


def test_it_is_made_once_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = a_store(tmp_path, mixed(FIXED))
    first = store.table("train", ("words",), 300)
    monkeypatch.setattr(Store, "passages", lambda *_: pytest.fail("it was made again"))
    again = Store.open(tmp_path).table("train", ("words",), 300)
    assert np.array_equal(first.rows, again.rows)
    assert first.summary == again.summary
    for one in (first, again):
        assert isinstance(one.rows.base, np.memmap | np.ndarray)
        assert not one.rows.flags.writeable
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
    prepare_documents([a_document(0, b"one two three\n" * 100)], tmp_path, SplitOptions(0, 0))
    add_view(tmp_path, WORDS)
    Store.open(tmp_path).table("train", ("words",), 300)
    before = sorted(path.name for path in (tmp_path / FOLDER).iterdir())
    add_view(tmp_path, LINES)
    Store.open(tmp_path).table("train", ("words",), 300)
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == before


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), settled=st.booleans())
def test_any_flipped_bit_is_said_and_the_table_is_made_again(
    data: st.DataObject, settled: bool, kept: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the time of writing put back, and whether the file's state was noted or not."""
    with TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        shutil.copytree(kept, corpus)
        with monkeypatch.context() as patched:
            patched.setattr(integrity, "SETTLED_NS", -1 if settled else 10**18)
            rows, summary = Store.open(corpus).table("train", ("words",), 300)
            rows = rows.copy()  # what is mapped changes with the file
            content = json.loads(next((corpus / FOLDER).glob("*.json")).read_text())
            assert (content["state"] is not None) == settled
            path = next((corpus / FOLDER).glob(data.draw(st.sampled_from(["*.i64", "*.json"]))))
            flipped, times = bytearray(path.read_bytes()), path.stat()
            bit = data.draw(st.integers(0, 8 * len(flipped) - 1))
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            capsys.readouterr()
            damaged = caches_that_are_damaged(corpus)
            again = Store.open(corpus).table("train", ("words",), 300)
        assert np.array_equal(rows, again.rows)
        assert summary == again.summary
        said = capsys.readouterr().err
        if damaged or said:
            assert "it is a cache" in damaged
            assert "is damaged" in said
            assert "made again" in said
            assert Store.open(corpus).verify()


def caches_that_are_damaged(corpus: Path) -> str:
    try:
        Store.open(corpus).verify()
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "corpus"
    a_store(folder, mixed(FIXED)).table("train", ("words",), 300)
    shutil.rmtree(folder / FOLDER)
    return folder


def test_a_table_in_another_state_is_read_once_and_noted(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after it was copied."""
    monkeypatch.setattr(integrity, "SETTLED_NS", -1)
    Store.open(kept).table("train", ("words",), 300)
    shutil.copytree(kept, tmp_path / "copy")
    shutil.rmtree(kept / FOLDER)
    read: list[Path] = []
    monkeypatch.setattr(passage_index, "file_info", lambda path: read.append(path) or file_info(path))
    monkeypatch.setattr(Store, "passages", lambda *_: pytest.fail("it was made again"))
    for _ in range(3):
        Store.open(tmp_path / "copy").table("train", ("words",), 300)
    assert len(read) == 1


def test_where_nothing_can_be_written_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = a_store(tmp_path, mixed(FIXED))
    wanted = store.table("train", ("words",), 300)
    shutil.rmtree(tmp_path / FOLDER)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", read_only)
    again = Store.open(tmp_path).table("train", ("words",), 300)
    assert np.array_equal(wanted.rows, again.rows)
    assert ".passages can't be written to (Read-only file system)" in capsys.readouterr().err
