import pickle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.toys import CORPORA, FIXED, WORDS, Halves, Opaque, Pieces, contents

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.errors import InputError
from byteproxy.store.anchors import anchors_of
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.base import View
from byteproxy.views.bpe import BpeView
from byteproxy.views.raw import RawView

SPLIT = SplitOptions(0.2, 0.2)
BPE = BpeView.train([document.text for document in FIXED] + [b"the quick brown fox\n" * 9] * 2, 270)
VIEWS: list[View] = [RawView(), WORDS, Halves(), Opaque(), BPE]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store")
    prepare_documents(FIXED, folder, SPLIT, shard_bytes=20_000)
    add_view(folder, WORDS)
    add_view(folder, Halves())
    return folder


def spans_of(store: Store, view_name: str, shard: int, row: int) -> list[int]:
    """Those of one document, from its column and from the buffer, where they lie as its symbols do."""
    batch = store._view(view_name, shard)
    first = sum(len(batch["symbols"][before]) for before in range(row))
    found: list[int] = batch["spans"][row].as_py()
    assert store.span_buffer(view_name, shard)[first : first + len(batch["symbols"][row])].tolist() == found
    return found


@settings(max_examples=25)
@given(CORPORA, st.integers(1, 3000), st.sampled_from(VIEWS))
def test_documents_and_symbols_come_back(documents: list[Document], shard_bytes: int, view: View) -> None:
    with TemporaryDirectory() as folder:
        prepare_documents(documents, Path(folder), SPLIT, shard_bytes=shard_bytes)
        add_view(Path(folder), view)
        store = Store.open(Path(folder))
        store.verify()
        firsts = {document.text: document for document in reversed(documents)}
        seen: set[str] = set()
        for split in SPLITS:
            own_ids = {document.id for document in store.documents(split)}
            assert not own_ids & seen
            seen |= own_ids
            expected = [d for d in documents if firsts[d.text] is d and d.id in own_ids]
            assert list(store.documents(split)) == expected
            places = [(shard, row) for shard in store.shards(split) for row in range(len(store._shard(shard)))]
            for (shard, row), document in zip(places, expected, strict=True):
                encoded = view.encode(document.text)
                assert store.text(shard, row) == document.text
                assert store.symbols(view.name, shard, row).tolist() == encoded.symbols.tolist()
                assert store.symbols(view.name, shard, row).dtype == encoded.symbols.dtype
                if view.aligned:
                    assert spans_of(store, view.name, shard, row) == encoded.span_bytes.tolist()
                    batch = store._view(view.name, shard)
                    own = anchors_of(np.frombuffer(document.text, dtype=np.uint8), encoded.span_bytes)
                    assert batch["anchor_bytes"][row].as_py() == own[0].tolist()
                    assert batch["anchor_symbols"][row].as_py() == own[1].tolist()
        assert seen == {document.id for document in firsts.values()}


def test_buffers_are_the_mapped_file_itself(folder: Path) -> None:
    store = Store.open(folder)
    for shard in store.shards("train"):
        text = store.text_buffer(shard)
        assert text.tobytes() == b"".join(store.text(shard, row) for row in range(len(store._shard(shard))))
        assert text.dtype == np.uint8
        assert not text.flags.writeable
        assert text.ctypes.data == store.text_buffer(shard).ctypes.data
        symbols = store.symbol_buffer("halves", shard)
        assert symbols.dtype == np.uint32
        assert not symbols.flags.writeable
        assert np.shares_memory(symbols, store.symbols("halves", shard, 0))
        spans = store.span_buffer("halves", shard)
        assert spans.dtype == np.uint8
        assert spans.shape == symbols.shape
        assert not spans.flags.writeable
        assert spans.ctypes.data == store.span_buffer("halves", shard).ctypes.data
    before = pa.total_allocated_bytes()
    again = Store.open(folder)
    held = [again.text_buffer(shard) for shard in again.shards("train")]
    held += [again.span_buffer("halves", shard) for shard in again.shards("train")]
    assert sum(len(buffer) for buffer in held) > 30_000
    assert pa.total_allocated_bytes() - before < 2_000


def test_files_open_in_plain_pyarrow(folder: Path) -> None:
    with pa.memory_map(str(folder / "shard-00000.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("id", "string"),
        ("text", "large_binary"),
        ("source", "string"),
        ("project", "string"),
        ("language", "string"),
    ]
    with pa.memory_map(str(folder / "shard-00000.halves.arrow")) as source:
        viewed = pa.ipc.open_file(source)
        assert viewed.num_record_batches == 1
        columns = {name: viewed.read_all()[name] for name in ("symbols", "spans", "anchor_bytes", "anchor_symbols")}
    assert columns["symbols"].type.value_type == pa.uint32()
    assert columns["spans"].type.value_type == pa.uint8()
    assert columns["anchor_bytes"].type.value_type == columns["anchor_symbols"].type.value_type == pa.int64()
    for text, symbols, ends in zip(table["text"], columns["symbols"], columns["anchor_bytes"], strict=True):
        assert Halves().decode(np.array(symbols.as_py())) == text.as_py()
        assert ends.as_py()[-1] == len(text.as_py())


def test_spans_take_as_many_bytes_as_the_largest_of_a_shard_needs(tmp_path: Path) -> None:
    sizes = [255, 256, 65_535, 65_536]
    documents = [Document(str(size), b"x" * size, "toy", "p") for size in sizes]
    prepare_documents(documents, tmp_path, SplitOptions(0, 0), shard_bytes=1)
    add_view(tmp_path, Pieces(rb".+", "whole"))
    store = Store.open(tmp_path)
    spans = [store.span_buffer("whole", shard) for shard in store.shards("train")]
    assert [own.tolist() for own in spans] == [[size] for size in sizes]
    assert [own.dtype for own in spans] == [np.uint8, np.uint16, np.uint16, np.uint32]
    prepare_documents(documents[:3], tmp_path / "together", SplitOptions(0, 0))
    add_view(tmp_path / "together", Pieces(rb".+", "whole"))
    together = Store.open(tmp_path / "together").span_buffer("whole", 0)
    assert together.tolist() == sizes[:3]
    assert together.dtype == np.uint16


def test_a_view_that_is_not_aligned_has_no_spans(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT)
    manifest = add_view(tmp_path, Opaque())
    assert manifest.view("opaque").units == 0
    with pytest.raises(InputError, match="'opaque' is not aligned"):
        Store.open(tmp_path).span_buffer("opaque", 0)
    assert Store.open(tmp_path)._view("opaque", 0).schema.names == ["symbols"]


def test_large_document_has_a_shard_of_its_own(tmp_path: Path) -> None:
    texts = [b"a", b"bb", b"c" * 100, b"dd", b"e" * 8, b""]
    documents = [Document(str(number), text, "toy", "p") for number, text in enumerate(texts)]
    manifest = prepare_documents(documents, tmp_path, SplitOptions(0, 0), shard_bytes=10)
    assert [(shard.documents, shard.text_bytes) for shard in manifest.shards] == [(2, 3), (1, 100), (3, 10)]


@pytest.mark.parametrize("name", ["shard-00001.arrow", "shard-00002.words.arrow"])
def test_flipped_byte_anywhere_is_found(name: str, folder: Path, tmp_path: Path) -> None:
    for file, content in contents(folder).items():
        (tmp_path / file).write_bytes(content)
    store = Store.open(tmp_path)
    store.verify()
    content = (tmp_path / name).read_bytes()
    for at in [*range(0, len(content), len(content) // 40), len(content) - 1]:
        (tmp_path / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(InputError, match=f"{name} was altered"):
            store.verify()
    (tmp_path / name).write_bytes(content)
    store.verify()


@pytest.mark.parametrize("name", ["shard-00001.arrow", "shard-00002.words.arrow"])
def test_truncated_and_missing_files_are_found_on_open(name: str, folder: Path, tmp_path: Path) -> None:
    for file, content in contents(folder).items():
        (tmp_path / file).write_bytes(content)
    content = (tmp_path / name).read_bytes()
    for wrong in (content[:-1], b"", content + b"x"):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(InputError, match=f"{name} has {len(wrong)} bytes and should have {len(content)}"):
            Store.open(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} can't be read"):
        Store.open(tmp_path)


def test_garbage_of_the_right_size_is_refused_when_read(folder: Path, tmp_path: Path) -> None:
    for file, content in contents(folder).items():
        (tmp_path / file).write_bytes(content if file != "shard-00000.arrow" else b"\0" * len(content))
    with pytest.raises(InputError, match=r"shard-00000\.arrow is missing or damaged"):
        Store.open(tmp_path).text_buffer(0)


def test_folder_without_a_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished corpus"):
        Store.open(tmp_path)
    with pytest.raises(InputError, match="holds no finished corpus"):
        Store.open(tmp_path / "nowhere")


def test_verify_reports_bytes(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    Store.open(folder).verify(progress=lambda done, total: seen.append((done, total)))
    total = sum(len(text) for name, text in contents(folder).items() if name != "manifest.json")
    assert seen[-1] == (total, total)


def test_pickled_store_opens_the_folder_again(folder: Path) -> None:
    store = Store.open(folder)
    store.text_buffer(0)
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000
    assert pickle.loads(pickled).text_buffer(0).tolist() == store.text_buffer(0).tolist()


def test_sides_and_shards(folder: Path) -> None:
    store = Store.open(folder)
    shards = [store.shards(split) for split in SPLITS]
    assert sorted(shard for own in shards for shard in own) == list(range(len(store.manifest.shards)))
    assert all(own == sorted(own) and own for own in shards)
    with pytest.raises(InputError, match="no split 'dev': it is one of train, validation, test"):
        store.shards("dev")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no view 'none'"):
        store.symbol_buffer("none", 0)
