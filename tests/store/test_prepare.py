import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.store.toys import FIXED, LINES, WORDS, Nibbles, Opaque, Pieces, a_document, contents

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SIDES, Split
from byteproxy.errors import InputError
from byteproxy.store.prepare import LOCK, add_view, prepare
from byteproxy.store.store import Store
from byteproxy.views.base import Encoded, View
from byteproxy.views.raw import RawView

SPLIT = Split(0.2, 0.2)


class StoppedError(Exception):
    """Stands in for a kill."""


class StopsHalfway(Pieces):
    """WORDS, until it has seen so many documents."""

    def __init__(self, documents: int) -> None:
        super().__init__(WORDS.pattern, WORDS.name)
        self.left = documents

    def encode(self, document: bytes) -> Encoded:
        self.left -= 1
        if self.left < 0:
            raise StoppedError
        return super().encode(document)


def broken_off(documents: list[Document], after: int) -> Iterator[Document]:
    yield from documents[:after]
    raise StoppedError


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Changes whenever a file is written anew, even with the same content."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare(FIXED, folder, SPLIT, shard_bytes=20_000)
    add_view(folder, WORDS)
    files = contents(folder)
    assert sum(name.endswith(".words.arrow") for name in files) >= 6
    return files


@pytest.mark.parametrize("after", [0, 9, 20, len(FIXED)])
def test_preparation_broken_off_and_run_again(after: int, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with pytest.raises(StoppedError):
        prepare(broken_off(FIXED, after), tmp_path, SPLIT, shard_bytes=20_000)
    assert not (tmp_path / "manifest.json").exists()
    (tmp_path / ".shard-00001.arrow.123.partial").write_bytes(b"stray")
    before = identities(tmp_path)
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    kept = [name for name, identity in identities(tmp_path).items() if before.get(name) == identity]
    assert set(before) - {".shard-00001.arrow.123.partial", LOCK} <= set(kept)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("documents", [0, 5, 20, 30])
def test_view_broken_off_and_run_again(documents: int, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    with pytest.raises(StoppedError):
        add_view(tmp_path, StopsHalfway(documents))
    (tmp_path / ".shard-00002.words.arrow.99.partial").write_bytes(b"stray")
    before = identities(tmp_path)
    add_view(tmp_path, WORDS)
    after = identities(tmp_path)
    assert all(after[name] == before[name] for name in before if name.startswith("shard-"))
    assert contents(tmp_path) == undisturbed


def test_finished_work_is_not_done_again(tmp_path: Path) -> None:
    first = prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    assert first.views == ()
    with_view = add_view(tmp_path, WORDS)
    before = identities(tmp_path)
    assert prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000) == with_view
    assert add_view(tmp_path, StopsHalfway(0)) == with_view
    assert identities(tmp_path) == before


def test_adding_a_view_writes_to_no_other_file(tmp_path: Path) -> None:
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    before = identities(tmp_path)
    manifest = add_view(tmp_path, Nibbles())
    after = identities(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"manifest.json"}
    assert [view.name for view in manifest.views] == ["words", "nibbles"]


@pytest.mark.parametrize("damage", ["altered", "truncated", "missing"])
@pytest.mark.parametrize("name", ["shard-00001.arrow", "shard-00001.words.arrow"])
def test_damaged_files_are_restored(name: str, damage: str, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    for file, content in undisturbed.items():
        (tmp_path / file).write_bytes(content)
    path, content = tmp_path / name, undisturbed[name]
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "truncated" else content[:600] + b"!" + content[601:])
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


def test_view_is_not_made_from_an_altered_shard(tmp_path: Path) -> None:
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    path = tmp_path / "shard-00001.arrow"
    path.write_bytes(path.read_bytes().replace(b"line", b"lime", 1))
    with pytest.raises(InputError, match=r"shard-00001\.arrow was altered"):
        add_view(tmp_path, WORDS)


def test_other_documents_and_other_settings_are_refused(tmp_path: Path) -> None:
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    before = contents(tmp_path)
    for documents, split, shard_bytes in [
        (FIXED[:-1], SPLIT, 20_000),
        ([*FIXED, a_document(99, b"one more")], SPLIT, 20_000),
        ([a_document(98, b"other"), *FIXED[1:]], SPLIT, 20_000),
        ([*FIXED, FIXED[0]], SPLIT, 20_000),
        (FIXED, Split(0.2, 0.21), 20_000),
        (FIXED, SPLIT, 30_000),
    ]:
        with pytest.raises(InputError, match="already holds a corpus"):
            prepare(documents, tmp_path, split, shard_bytes=shard_bytes)
        assert contents(tmp_path) == before


def test_leftovers_of_another_unfinished_preparation_go_away(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with pytest.raises(StoppedError):
        prepare(broken_off([a_document(n, b"%d" % n * 900) for n in range(90)], 90), tmp_path, SPLIT, shard_bytes=2000)
    assert len(contents(tmp_path)) > len(undisturbed)
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


def test_folder_of_foreign_shards_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shard-00000.arrow").write_bytes(b"somebody's work")
    with pytest.raises(InputError, match="didn't write"):
        prepare(FIXED, tmp_path, SPLIT)
    assert contents(tmp_path) == {"shard-00000.arrow": b"somebody's work"}


def test_view_of_the_same_name_but_another_content_is_refused(tmp_path: Path) -> None:
    prepare(FIXED, tmp_path, SPLIT)
    add_view(tmp_path, WORDS)
    before = contents(tmp_path)
    with pytest.raises(InputError, match="another view named 'words'"):
        add_view(tmp_path, Pieces(rb".", "words"))
    assert contents(tmp_path) == before


def test_leftover_of_another_view_of_that_name_is_not_used(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    manifest = (tmp_path / "manifest.json").read_bytes()
    add_view(tmp_path, Pieces(rb".", "words"))
    (tmp_path / "manifest.json").write_bytes(manifest)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("name", ["", "a/b", "../up", "a b", ".hidden"])
def test_view_name_must_fit_a_file_name(name: str, tmp_path: Path) -> None:
    prepare(FIXED, tmp_path, SPLIT)
    with pytest.raises(InputError, match="can't be part of a file name"):
        add_view(tmp_path, Pieces(rb".", name))


class Faulty(RawView):
    """A view that breaks its contract in one way."""

    def __init__(self, fault: str) -> None:
        self.fault = fault

    def encode(self, document: bytes) -> Encoded:
        symbols, span_bytes = super().encode(document)
        if self.fault == "spans":
            return Encoded(symbols, span_bytes * 2)
        if self.fault == "count":
            return Encoded(symbols[:-1], span_bytes)
        return Encoded(symbols + 256, span_bytes)


def test_view_that_changes_without_saying_so_is_refused(tmp_path: Path) -> None:
    class Changing(Pieces):
        fingerprint = "always the same"

    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, Changing(rb".", "odd"))
    before = (tmp_path / "manifest.json").read_bytes()
    (tmp_path / "shard-00001.odd.arrow").unlink()
    with pytest.raises(InputError, match=r"shard-00001\.odd\.arrow came out different"):
        add_view(tmp_path, Changing(rb"..?", "odd"))
    assert (tmp_path / "manifest.json").read_bytes() == before
    add_view(tmp_path, Changing(rb".", "odd"))
    Store.open(tmp_path).verify()


def test_view_gets_batches_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recording(Pieces):
        def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
            batches.append([len(document) for document in documents])
            return super().encode_batch(documents)

    batches: list[list[int]] = []
    monkeypatch.setattr("byteproxy.store.prepare.ENCODE_BYTES", 6000)
    prepare(FIXED, tmp_path, Split(0, 0))
    add_view(tmp_path, Recording(rb"."))
    assert [size for batch in batches for size in batch] == [len(document.text) for document in FIXED]
    assert all(sum(batch[:-1]) < 6000 for batch in batches)
    assert len(batches) < len(FIXED)


def test_shard_has_a_bounded_number_of_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byteproxy.store.prepare.SHARD_DOCUMENTS", 4)
    manifest = prepare([a_document(n, b"%d" % n) for n in range(10)], tmp_path, Split(0, 0))
    assert [shard.documents for shard in manifest.shards] == [4, 4, 2]


@pytest.mark.parametrize("fault", ["spans", "count", "alphabet"])
def test_faulty_view_is_refused_with_the_document(fault: str, tmp_path: Path) -> None:
    prepare([a_document(5, b"some text")], tmp_path, SPLIT)
    with pytest.raises(InputError, match=r"view 'raw' gives document file-5\.py (spans|symbols)"):
        add_view(tmp_path, Faulty(fault))
    assert sorted(contents(tmp_path)) == [LOCK, "manifest.json", "shard-00000.arrow"]


def test_two_preparations_exclude_each_other(tmp_path: Path) -> None:
    def documents() -> Iterator[Document]:
        yield FIXED[0]
        with pytest.raises(InputError, match="another process is preparing"):
            prepare(FIXED, tmp_path, SPLIT)
        script = (
            "import sys; from pathlib import Path; from byteproxy.store.prepare import _locked\n"
            "from byteproxy.errors import InputError\n"
            "try:\n    with _locked(Path(sys.argv[1])): pass\nexcept InputError as error: print(error)"
        )
        command = [sys.executable, "-c", script, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        output = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
        assert "another process is preparing" in output
        yield from FIXED[1:]

    prepare(documents(), tmp_path, SPLIT)
    prepare(FIXED, tmp_path, SPLIT)


def test_exact_duplicates_are_dropped_across_projects_and_sources(tmp_path: Path) -> None:
    documents = [a_document(0, b"same"), a_document(1, b"same"), a_document(2, b"other"), a_document(3, b"same")]
    manifest = prepare(documents, tmp_path, Split(0, 0))
    assert [document.id for document in Store.open(tmp_path).documents("train")] == ["file-0.py", "file-2.py"]
    assert manifest.rejected == {"exact duplicate": 2}
    assert {name: (source.documents, source.bytes) for name, source in manifest.sources.items()} == {
        "toy-0": (2, 9),
        "toy-1": (2, 8),
    }


def test_manifest_counts(tmp_path: Path) -> None:
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    views: list[View] = [WORDS, Opaque(), Nibbles()]
    for view in views:
        manifest = add_view(tmp_path, view)
    store = Store.open(tmp_path)
    assert store.manifest == manifest
    for side in SIDES:
        documents = list(store.documents(side))
        of_side = manifest.sides[side]
        assert of_side.documents == len(documents) > 0
        assert of_side.bytes == sum(len(document.text) for document in documents)
        assert of_side.projects == len({document.project for document in documents})
        assert all(SPLIT.side_of(document.project) == side for document in documents)
    total = sum(of_side.bytes for of_side in manifest.sides.values())
    for info in manifest.views:
        symbols = sum(len(store.symbol_buffer(info.name, shard)) for shard in range(len(manifest.shards)))
        assert info.symbols == symbols
        assert info.bytes_per_symbol == pytest.approx(total / symbols)
    for number, shard in enumerate(manifest.shards):
        assert shard.text_bytes == len(store.text_buffer(number))
        assert shard.documents == len(store._shard(number))
        assert shard.text_bytes <= 20_000 or shard.documents == 1


def test_source_hash_follows_text_names_and_order(tmp_path: Path) -> None:
    base = [a_document(0, b"a", 1), a_document(2, b"b", 1)]
    variants = [
        base,
        base[::-1],
        [a_document(0, b"a", 1), a_document(4, b"b", 1)],
        [a_document(0, b"a", 1), a_document(2, b"c", 1)],
        [a_document(0, b"a", 1), a_document(2, b"b", 3)],
        [*base, a_document(6, b"a", 1)],
    ]
    hashes = [
        prepare(documents, tmp_path / str(number), SPLIT).sources["toy-0"].sha256
        for number, documents in enumerate(variants)
    ]
    assert len(set(hashes)) == len(hashes)


def test_progress_is_in_bytes_of_text(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare(FIXED, tmp_path, SPLIT, shard_bytes=20_000, progress=lambda done, total: seen.append((done, total)))
    read = np.cumsum([len(document.text) for document in FIXED]).tolist()
    assert seen == [(done, 0) for done in read]
    seen.clear()
    add_view(tmp_path, LINES, progress=lambda done, total: seen.append((done, total)))
    total = sum(info.bytes for info in Store.open(tmp_path).manifest.sides.values())
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no documents"):
        prepare([], tmp_path / "none", SPLIT)
    with pytest.raises(InputError, match="shard_bytes is 0"):
        prepare(FIXED, tmp_path, SPLIT, shard_bytes=0)
    with pytest.raises(InputError, match="holds no finished corpus"):
        add_view(tmp_path / "nowhere", WORDS)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make the folder"):
        prepare(FIXED, tmp_path / "file", SPLIT)
    with pytest.raises(InputError, match="is not Unicode"):
        prepare([Document("\udcff.py", b"x", "toy", "p")], tmp_path / "odd", SPLIT)
