"""Addresses that compiled code reads, read here one by one."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
from tests.mixture.corpora import texts
from tests.store.toys import Halves, Pieces

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture import mapped as module
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.mapped import Mapped, item_at
from byteproxy.mixture.planner import State
from byteproxy.mixture.row_pieces import PASSAGE, REPRESENTATION
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.store.encode import add_view
from byteproxy.store.passage_index import BYTE_START, BYTES, KEY, PLACE_BITS, start_column
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store


def test_content_is_the_mapped_file_from_there_to_the_end_of_the_shard(tmp_path: Path) -> None:
    documents = [Document(str(number), text, "toy", f"p{number}") for number, text in enumerate(texts(20, 200))]
    prepare_documents(documents, tmp_path, SplitOptions(0, 0), shard_bytes=4000)
    views = (Halves(), Pieces(rb".{1,1000}", "long"))
    for view in views:
        add_view(tmp_path, view)
    store, names = Store.open(tmp_path), ("halves", "long")
    stream = Stream(store, names, Mixture(phases=(Phase(1.0, "one", 0.7),)), Shape(4, 3000, 100), 1, 9)
    pieces, table = stream.plan(State())[0].pieces, stream.table.rows
    mapped = Mapped(store, names, stream.vocab, spans=True)
    mapped.checked(pieces, table)
    content = mapped.content(pieces, table)
    widths = set()
    for number, piece in enumerate(pieces.tolist()):
        row, representation = table[piece[PASSAGE]], piece[REPRESENTATION]
        shard, start = int(row[KEY]) >> PLACE_BITS, int(row[start_column(representation)])
        begin, size, room = int(row[BYTE_START]), int(row[BYTES]), int(content.covers[number])
        assert content.text_bytes[number] == size
        wanted = store.text_buffer(shard)[begin : begin + size].tobytes()
        assert ctypes.string_at(int(content.text[number]), size) == wanted
        if representation == 0:
            assert content.spans[number] == content.span_bytes[number] == 0
            continue
        name = names[representation - 1]
        for buffer, address, width in (
            (store.symbol_buffer(name, shard), content.symbols[number], content.symbol_bytes[number]),
            (store.span_buffer(name, shard), content.spans[number], content.span_bytes[number]),
        ):
            assert room == len(buffer) - start
            assert width == buffer.itemsize
            assert ctypes.string_at(int(address), room * int(width)) == buffer[start:].tobytes()
            widths.add((representation, int(width)))
    assert widths == {(1, 4), (1, 1), (2, 2)}


def test_items_of_every_width() -> None:
    for kind in (np.uint8, np.uint16, np.uint32):
        numbers = np.array([3, np.iinfo(kind).max, 0], kind)
        assert [item_at(numbers.ctypes.data, numbers.itemsize, place) for place in range(3)] == numbers.tolist()


@pytest.mark.parametrize("name", ["shard-00001.arrow", "shard-00001.halves.arrow"])
def test_a_shard_that_is_cut_while_it_is_used_ends_in_a_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading behind a mapped file's new end would be a SIGBUS: no test of ours could tell."""
    monkeypatch.setattr(module, "LOOK_SECONDS", -1.0)
    documents = [Document(str(number), text, "toy", f"p{number}") for number, text in enumerate(texts(20, 200))]
    prepare_documents(documents, tmp_path, SplitOptions(0, 0), shard_bytes=4000)
    add_view(tmp_path, Halves())
    store = Store.open(tmp_path)
    stream = Stream(store, ("halves",), Mixture(phases=(Phase(1.0, "one", 0.7),)), Shape(9, 3000, 100), 1, 9)
    plan = stream.plan(State())[0]
    wanted = stream.rows(plan)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()  # removed, or replaced: what is mapped is there as it was
    assert np.array_equal(stream.rows(plan).symbols, wanted.symbols)
    (tmp_path / name).write_bytes(content[:100])
    assert np.array_equal(stream.rows(plan).symbols, wanted.symbols)
    (tmp_path / name).write_bytes(content)
    stream = Stream(Store.open(tmp_path), stream.views, stream.mixture, stream.shape, 1, 9)
    assert np.array_equal(stream.rows(plan).symbols, wanted.symbols)
    os.truncate(tmp_path / name, len(content) // 2)
    with pytest.raises(InputError, match=rf"{name} was cut to [\d,]+ bytes while in use"):
        stream.rows(plan)


def test_shards_are_looked_at_once_a_second_and_not_for_each_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [Document(str(number), text, "toy", f"p{number}") for number, text in enumerate(texts(9, 200))]
    prepare_documents(documents, tmp_path, SplitOptions(0, 0), shard_bytes=4000)
    stream = Stream(Store.open(tmp_path), (), Mixture("bytes"), Shape(4, 3000, 100), 1, 9)
    plan = stream.plan(State())[0]
    clock, looks = [100.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(Store, "ensure_whole", lambda _, shard, views: looks.append(shard))
    for _ in range(5):
        stream.rows(plan)
    assert looks == sorted(set(looks))
    once = len(looks)
    clock[0] += 2 * module.LOOK_SECONDS
    stream.rows(plan)
    assert len(looks) == 2 * once > 0
