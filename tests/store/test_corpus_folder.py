"""The folder of a corpus: what isn't a preparation's own stays as it is, and who comes second leaves no trace."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.sources import a_source
from tests.store.toys import FIXED, SPLIT, StoppedError, contents

from byteproxy.corpus.document import Document
from byteproxy.errors import InputError
from byteproxy.store import corpus_folder as store_folder
from byteproxy.store.corpus_folder import LOCK, MARKER, claimed, locked
from byteproxy.store.prepare import Preparation, prepare, prepare_documents


def everything(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file and folder below, with its time and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_ino,
            path.stat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "name",
    [
        *("rejected.jsonl", ".staged/000000-000000.arrow", "view-bpe-300.json", "shard-00000.arrow", "manifest.json"),
        *(
            "shard-00000.bpe-300.arrow",
            ".byteproxy-sources.json",
            ".shard-00000.arrow.12.partial",
            "notes.txt",
            ".git/x",
        ),
        MARKER,
    ],
)
def test_somebody_elses_folder_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text('{"mine": 1}')
    before = everything(tmp_path)
    with pytest.raises(InputError, match=r"holds files that no preparation .* use a new or an empty folder") as caught:
        prepare_documents(FIXED, out, SPLIT)
    assert name.split("/")[0] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == before


def test_names_of_a_full_folder_are_not_all_said(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number:04d}").touch()
    with pytest.raises(InputError, match=r"\(0000, 0001, 0002 and 1,997 more\)"):
        prepare_documents(FIXED, tmp_path, SPLIT)


def test_what_ends_before_it_reads_leaves_no_folder(tmp_path: Path) -> None:
    class Gone:
        name, weight = "gone", 1.0

        def units(self) -> list[object]:
            raise InputError("nothing there")

    with pytest.raises(InputError, match="nothing there"):
        prepare([Gone()], tmp_path / "out")  # type: ignore[list-item]
    assert not (tmp_path / "out").exists()


def test_a_second_preparation_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    """At each document of the first, from another process, whatever the first has written by then."""
    source = a_source(tmp_path / "toy", [FIXED[:3]])
    script = (
        "import sys; from pathlib import Path; from tests.store.sources import ToySource\n"
        "from byteproxy.errors import InputError; from byteproxy.store.prepare import prepare\n"
        "try: prepare([ToySource('toy', Path(sys.argv[1]))], Path(sys.argv[2]))\n"
        "except InputError as error: print(error)"
    )
    out, tried = tmp_path / "out", []

    def documents() -> list[Document]:
        before = everything(out)
        assert before.keys() >= {LOCK, MARKER}
        command = [sys.executable, "-c", script, str(source.folder), str(out)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        tried.append(subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout)
        assert everything(out) == before
        return FIXED

    prepare_documents((document for _ in (1,) for document in documents()), out, SPLIT)
    assert len(tried) == 1
    assert f"{out} is in use by another run (process {os.getpid()})" in tried[0]


@pytest.mark.parametrize("left", [[], [LOCK], [LOCK, f".{MARKER}.77.partial"]])
def test_a_stop_before_the_marker_leaves_a_folder_to_begin_in(
    left: list[str], tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    for name in left:
        (tmp_path / name).write_bytes(b"77" if name == LOCK else b'{"form')
    prepare_documents(FIXED, tmp_path, SPLIT, shard_bytes=20_000)
    assert not list(tmp_path.glob("*.partial"))
    assert {name: undisturbed[name] for name in contents(tmp_path) if name != "manifest.json"} == {
        name: content for name, content in contents(tmp_path).items() if name != "manifest.json"
    }


def test_the_marker_is_the_first_thing_written_and_says_whose_a_half_made_corpus_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.prepare.stage_units", stop)
        with pytest.raises(StoppedError):
            prepare_documents(FIXED, tmp_path, SPLIT)
    assert (tmp_path / MARKER).read_text() == '{"format": "byteproxy-store", "version": 4}'
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([LOCK, MARKER, ".staged"])
    (tmp_path / "rejected.jsonl").write_text("left by a run that found too many faults")
    assert prepare_documents(FIXED, tmp_path, SPLIT).splits["train"].documents > 0


def test_a_finished_corpus_without_a_marker_is_ours(tmp_path: Path) -> None:
    """As those are that were prepared before there was one."""
    manifest = prepare_documents(FIXED, tmp_path, SPLIT)
    (tmp_path / MARKER).unlink()
    assert prepare_documents(FIXED, tmp_path, SPLIT) == manifest
    assert (tmp_path / MARKER).exists()
    (tmp_path / "manifest.json").write_bytes((tmp_path / "manifest.json").read_bytes()[:-50])
    with pytest.raises(InputError, match="is damaged"):
        prepare_documents(FIXED, tmp_path, SPLIT)


def test_a_corpus_of_the_earlier_rule_is_not_split_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = a_source(tmp_path / "toy", [FIXED])
    settings = Preparation(near_duplicates="keep")
    with monkeypatch.context() as patched:
        patched.setattr("byteproxy.store.select._split", lambda *_: ())
        old = prepare([source], tmp_path / "out", settings)
    assert old.groups == ()
    before = everything(tmp_path / "out")
    with pytest.raises(InputError, match=r"an earlier version split by another rule.*another folder"):
        prepare([source], tmp_path / "out", settings)
    assert everything(tmp_path / "out").keys() == before.keys()


def test_who_writes_before_the_lock_is_taken_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = store_folder.held

    def slow(folder: Path, *others: object) -> object:
        (folder / "notes.txt").touch()
        return held(folder, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(store_folder, "held", slow)
    with pytest.raises(InputError, match=r"notes\.txt"), claimed(tmp_path):
        pass
    monkeypatch.undo()
    with locked(tmp_path):
        assert not (tmp_path / MARKER).exists()
