"""A folder is held by one process, until it and all that share its lock are gone."""

import os
import subprocess
import sys

import pytest

from byteproxy import lock
from byteproxy.errors import InputError
from byteproxy.lock import LOCK, held, is_held

WAITS = "import sys; print(flush=True); sys.stdin.read()"
HOLDS = """
import sys; from pathlib import Path; from byteproxy.lock import held
with held(Path(sys.argv[1])): print(flush=True); sys.stdin.read()
"""


def started(program, *arguments, **options):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], **pipes, **options)
    child.stdout.readline()
    return child


def test_one_at_a_time_and_what_was_made_goes(tmp_path):
    folder = tmp_path / "a" / "b"
    with held(folder):
        with (
            pytest.raises(InputError, match=rf"b is in use by another run \(process {os.getpid()}\): wait"),
            held(folder),
        ):
            pass
        assert [path.name for path in folder.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "c").mkdir()
    (tmp_path / "c/theirs").write_text("x")
    with held(tmp_path / "c"):
        pass
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["theirs"]
    with held(folder):
        (folder / "x").touch()
    with held(folder):
        pass
    assert {path.name for path in folder.iterdir()} == {LOCK, "x"}


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """Between opening it and locking it."""
    flock = lock.fcntl.flock
    calls = []

    def late(file, how):
        if not calls:
            (tmp_path / "run" / LOCK).unlink()
            (tmp_path / "run").rmdir()
        calls.append(how)
        return flock(file, how)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with held(tmp_path / "run") as hold:
        hold.ensure_there()
    assert len(calls) == 2


def test_a_lock_in_a_folder_that_is_moved_away_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    flock, run = lock.fcntl.flock, tmp_path / "run"

    def late(file, how):
        if not (tmp_path / "elsewhere").exists():
            run.rename(tmp_path / "elsewhere")
        return flock(file, how)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with held(run) as hold:
        hold.ensure_there()
        with pytest.raises(InputError, match="in use"), held(run):
            pass


def test_who_only_looks_is_in_nobodys_way(tmp_path, monkeypatch):
    """A run that begins just when a page asks whether one is going on: what looks holds the lock for a moment."""
    (tmp_path / LOCK).write_text(str(os.getpid()))  # its last holder lives, and has let go
    looking = (tmp_path / LOCK).open("rb")
    lock.fcntl.flock(looking, lock.fcntl.LOCK_SH)
    waits = []
    monkeypatch.setattr(lock.time, "sleep", lambda seconds: waits.append(seconds) or looking.close())
    with held(tmp_path):
        assert is_held(tmp_path)
        with pytest.raises(InputError, match="in use"), held(tmp_path):
            pass
    assert waits == [lock.LOOK_SECONDS]
    assert not is_held(tmp_path)
    assert not is_held(tmp_path / "absent")


def test_who_looks_all_the_time_is_waited_for_no_longer_than_a_second(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(lock.time, "sleep", waits.append)
    with (tmp_path / LOCK).open("wb") as looking:
        lock.fcntl.flock(looking, lock.fcntl.LOCK_SH)
        with pytest.raises(InputError, match="in use by another run: wait"), held(tmp_path):
            pass
    assert sum(waits) == pytest.approx(1.0)


def test_a_killed_holder_holds_nothing_and_one_that_lives_is_named(tmp_path):
    (tmp_path / "x").touch()
    child = started(HOLDS, tmp_path)
    with pytest.raises(InputError, match=rf"in use by another run \(process {child.pid}\)"), held(tmp_path):
        pass
    child.kill()
    child.communicate()
    with held(tmp_path, patience=10):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_who_shares_the_lock_holds_the_folder_after_its_holder_let_go(tmp_path):
    with held(tmp_path) as hold:
        (tmp_path / "x").touch()
        child = started(WAITS, pass_fds=[hold.file.fileno()])
    with pytest.raises(InputError, match="in use by another run"), held(tmp_path):
        pass
    child.communicate()
    with held(tmp_path):
        pass


@pytest.mark.parametrize("failing", ["flock", "mkdir"])
def test_where_no_lock_can_be_taken_is_said_and_nothing_stays(tmp_path, monkeypatch, failing):
    def refused(*_, **__):
        raise OSError(37, "No locks available")

    if failing == "flock":
        monkeypatch.setattr(lock.fcntl, "flock", refused)
    else:
        (tmp_path / "a").touch()
    with pytest.raises(InputError, match=r"cannot write into .*: give another folder"), held(tmp_path / "a" / "b"):
        pass
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ([] if failing == "flock" else ["a"])
