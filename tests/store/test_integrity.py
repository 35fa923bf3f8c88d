import os
from pathlib import Path

import pytest
from tests.store.toys import FIXED, SPLIT, WORDS

from byteproxy.errors import InputError
from byteproxy.store import integrity
from byteproxy.store.corpus_folder import VERIFIED
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView

VIEW_FILE = "view-bpe-270.json"
VIEW = BpeView.train([document.text for document in FIXED], 270)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    prepare_documents([*FIXED, FIXED[0]], tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    add_view(tmp_path, VIEW)
    return Store.open(tmp_path)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read; times count at once."""
    names: list[str] = []
    file_info = integrity.file_info

    def recording(path: Path) -> object:
        names.append(path.name)
        return file_info(path)

    monkeypatch.setattr(integrity, "file_info", recording)
    monkeypatch.setattr(integrity, "SETTLED_NS", -1)
    return names


def flip(path: Path) -> None:
    """One bit in the middle, in place."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def test_files_are_read_once(store: Store, hashed: list[str]) -> None:
    everything = [file.name for file in store.manifest.files]
    assert {"rejected.jsonl", "view-bpe-270.json", "shard-00000.arrow", "shard-00000.words.arrow"} <= set(everything)
    total = sum(file.size for file in store.manifest.files)
    seen: list[tuple[int, int]] = []
    assert store.ensure_unaltered(lambda done, total: seen.append((done, total))) == total
    assert hashed == everything
    assert seen[-1] == (total, total)
    hashed.clear()
    assert store.ensure_unaltered(lambda *_: pytest.fail("nothing is read")) == 0
    assert hashed == []
    store.verify()
    assert hashed == everything


@pytest.mark.parametrize(
    "name", ["shard-00001.arrow", "shard-00001.words.arrow", "view-bpe-270.json", "rejected.jsonl"]
)
def test_a_flipped_bit_is_found_and_found_again(name: str, store: Store, hashed: list[str]) -> None:
    store.ensure_unaltered()
    times = (store.path / name).stat()
    flip(store.path / name)
    os.utime(store.path / name, ns=(times.st_atime_ns, times.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(InputError, match=f"{name} was altered"):
            store.ensure_unaltered()
    flip(store.path / name)
    store.ensure_unaltered()
    hashed.clear()
    store.ensure_unaltered()
    assert hashed == []


def test_a_flip_right_after_a_look_is_found(store: Store) -> None:
    """File times may be coarse: what was written a moment ago isn't noted, as it may be written to within the tick."""
    store.ensure_unaltered()
    flip(store.path / "shard-00001.arrow")
    with pytest.raises(InputError, match=r"shard-00001\.arrow was altered"):
        store.ensure_unaltered()
    assert not (store.path / VERIFIED).exists()


def test_a_replaced_file_is_read(store: Store, hashed: list[str]) -> None:
    store.ensure_unaltered()
    path = store.path / "shard-00000.arrow"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    hashed.clear()
    store.ensure_unaltered()
    assert hashed == ["shard-00000.arrow"]
    path.unlink()
    with pytest.raises(InputError, match=r"shard-00000\.arrow can't be read"):
        store.ensure_unaltered()


@pytest.mark.parametrize("notes", ["", "[1]", '{"shard-00000.arrow": 3}', "null"])
def test_broken_notes_are_no_notes(notes: str, store: Store, hashed: list[str]) -> None:
    (store.path / VERIFIED).write_text(notes)
    store.ensure_unaltered()
    assert len(hashed) == len(store.manifest.files)
    hashed.clear()
    store.ensure_unaltered()
    assert hashed == []


def test_notes_that_cannot_be_written_are_no_error(
    store: Store, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise InputError("read-only")

    monkeypatch.setattr(integrity, "write_aside", refused)
    store.ensure_unaltered()
    store.ensure_unaltered()
    assert len(hashed) == 2 * len(store.manifest.files)


def test_notes_are_no_part_of_the_corpus(store: Store, hashed: list[str]) -> None:
    store.ensure_unaltered()
    assert Store.open(store.path).manifest == store.manifest
    before = store.manifest.fingerprint
    prepare_documents([*FIXED, FIXED[0]], store.path, SPLIT, shard_bytes=20_000)
    assert Store.open(store.path).manifest.fingerprint == before
