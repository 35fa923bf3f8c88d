import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.store.toys import (
    FIXED,
    LINES,
    SPLIT,
    WORDS,
    Halves,
    Opaque,
    StoppedError,
    StopsHalfway,
    a_document,
    contents,
    identities,
)

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.errors import InputError
from byteproxy.store.encode import add_view
from byteproxy.store.format import FileInfo, HashingFile, shard_name, write_whole
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.base import View


def broken_off(documents: list[Document], after: int) -> Iterator[Document]:
    yield from documents[:after]
    raise StoppedError


@pytest.mark.parametrize("after", [0, 9, len(FIXED)])
def test_preparation_broken_off_and_run_again(after: int, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    with pytest.raises(StoppedError):
        prepare_documents(broken_off(FIXED, after), tmp_path, SPLIT, shard_bytes=20_000)
    assert not (tmp_path / "manifest.json").exists()
    (tmp_path / ".shard-00001.arrow.123.partial").write_bytes(b"stray")
    (tmp_path / ".staged" / ".000000-000001.arrow.123.partial").write_bytes(b"stray")
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


@pytest.mark.parametrize("shards", [0, 1, 4])
def test_shards_that_were_written_before_a_stop_are_kept(
    shards: int, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(path: Path, write: Callable[[HashingFile], object]) -> FileInfo:
        if path.name == shard_name(shards):
            raise StoppedError
        return write_whole(path, write)

    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.shards.write_whole", stopping)
        with pytest.raises(StoppedError):
            prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    before = identities(tmp_path)
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    after = identities(tmp_path)
    assert [after[shard_name(n)] for n in range(shards)] == [before[shard_name(n)] for n in range(shards)]
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


def test_finished_work_is_not_done_again(tmp_path: Path) -> None:
    first = prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    assert first.views == ()
    with_view = add_view(tmp_path, WORDS)
    before = identities(tmp_path)
    assert prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000) == with_view
    assert add_view(tmp_path, StopsHalfway(0)) == with_view
    assert identities(tmp_path) == before


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
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


def test_other_documents_and_other_settings_are_refused(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    before = contents(tmp_path)
    for documents, split, shard_bytes in [
        (FIXED[:-1], SPLIT, 20_000),
        ([*FIXED, a_document(99, b"one more")], SPLIT, 20_000),
        ([a_document(98, b"other"), *FIXED[1:]], SPLIT, 20_000),
        ([*FIXED, FIXED[0]], SPLIT, 20_000),
        (FIXED, SplitOptions(0.2, 0.21), 20_000),
        (FIXED, SPLIT, 30_000),
    ]:
        with pytest.raises(InputError, match="already holds a corpus"):
            prepare_documents(documents, tmp_path, split, shard_bytes=shard_bytes)
        assert contents(tmp_path) == before


def test_leftovers_of_another_unfinished_preparation_go_away(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    others = [a_document(n, b"%d" % n * 900) for n in range(90)]
    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.prepare.write_manifest", stop)
        with pytest.raises(StoppedError):
            prepare_documents(others, tmp_path, SPLIT, shard_bytes=2000)
    assert len(contents(tmp_path)) > len(undisturbed)
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    add_view(tmp_path, WORDS)
    assert contents(tmp_path) == undisturbed


def test_folder_of_foreign_shards_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "shard-00000.arrow").write_bytes(b"somebody's work")
    with pytest.raises(InputError, match=r"holds files that no preparation .*shard-00000\.arrow"):
        prepare_documents(FIXED, tmp_path, SPLIT)
    assert contents(tmp_path) == {"shard-00000.arrow": b"somebody's work"}


def test_shard_has_a_bounded_number_of_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("byteproxy.store.shards.SHARD_DOCUMENTS", 4)
    manifest = prepare_documents([a_document(n, b"%d" % n) for n in range(10)], tmp_path, SplitOptions(0, 0))
    assert [shard.documents for shard in manifest.shards] == [4, 4, 2]


def test_two_preparations_exclude_each_other(tmp_path: Path) -> None:
    def documents() -> Iterator[Document]:
        yield FIXED[0]
        with pytest.raises(InputError, match="is in use by another run"):
            prepare_documents(FIXED, tmp_path, SPLIT)
        script = (
            "import sys; from pathlib import Path; from byteproxy.store.corpus_folder import locked\n"
            "from byteproxy.errors import InputError\n"
            "try:\n    with locked(Path(sys.argv[1])): pass\nexcept InputError as error: print(error)"
        )
        command = [sys.executable, "-c", script, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        output = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
        assert "is in use by another run" in output
        yield from FIXED[1:]

    prepare_documents(documents(), tmp_path, SPLIT)
    prepare_documents(FIXED, tmp_path, SPLIT)


def test_exact_duplicates_are_dropped_across_projects_and_sources(tmp_path: Path) -> None:
    documents = [a_document(0, b"same"), a_document(1, b"same"), a_document(2, b"other"), a_document(3, b"same")]
    manifest = prepare_documents(documents, tmp_path, SplitOptions(0, 0))
    assert [document.id for document in Store.open(tmp_path).documents("train")] == ["file-0.py", "file-2.py"]
    assert manifest.rejected == {"exact duplicate": 2}
    assert {name: (source.documents, source.bytes) for name, source in manifest.sources.items()} == {
        "toy-0": (2, 9),
        "toy-1": (2, 8),
    }


def test_manifest_counts(tmp_path: Path) -> None:
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    views: list[View] = [WORDS, Opaque(), Halves()]
    for view in views:
        manifest = add_view(tmp_path, view)
    store = Store.open(tmp_path)
    assert store.manifest == manifest
    projects: set[str] = set()
    for split in SPLITS:
        documents = list(store.documents(split))
        of_split = manifest.splits[split]
        assert of_split.documents == len(documents) > 0
        assert of_split.bytes == sum(len(document.text) for document in documents)
        assert of_split.projects == len({document.project for document in documents})
        assert not {document.project for document in documents} & projects
        projects |= {document.project for document in documents}
    total = sum(of_split.bytes for of_split in manifest.splits.values())
    for info in manifest.views:
        symbols = sum(len(store.symbol_buffer(info.name, shard)) for shard in range(len(manifest.shards)))
        assert info.symbols == symbols
        view = next(view for view in views if view.name == info.name)
        texts = [document.text for split in SPLITS for document in store.documents(split)]
        spans = [view.encode(text).span_bytes.tolist() for text in texts]
        assert info.units == sum(span > 0 for own in spans for span in own)
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
        prepare_documents(documents, tmp_path / str(number), SPLIT).sources["toy-0"].sha256
        for number, documents in enumerate(variants)
    ]
    assert len(set(hashes)) == len(hashes)


def test_progress_is_in_bytes_of_text(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    prepare_documents(
        FIXED, tmp_path, SPLIT, shard_bytes=20_000, progress=lambda done, total: seen.append((done, total))
    )
    read = np.cumsum([len(document.text) for document in FIXED]).tolist()
    assert seen == [(done, 0) for done in read]
    seen.clear()
    add_view(tmp_path, LINES, progress=lambda done, total: seen.append((done, total)))
    total = sum(info.bytes for info in Store.open(tmp_path).manifest.splits.values())
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_impossible_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no documents"):
        prepare_documents([], tmp_path / "none", SPLIT)
    with pytest.raises(InputError, match="shard_bytes is 0"):
        prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=0)
    with pytest.raises(InputError, match="holds no finished corpus"):
        add_view(tmp_path / "nowhere", WORDS)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot make the folder"):
        prepare_documents(FIXED, tmp_path / "file", SPLIT)
    with pytest.raises(InputError, match="is not Unicode"):
        prepare_documents([Document("\udcff.py", b"x", "toy", "p")], tmp_path / "odd", SPLIT)
