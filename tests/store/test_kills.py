"""Preparations that are killed, interrupted or out of space, in processes of their own, and run again.

They are forks of this process, which has imported what takes seconds; their readers import it anew.
"""

import json
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from tests.store.killed import finish, moments, stuck
from tests.store.sources import ToySource, a_source
from tests.store.toys import FIXED, contents
from tests.waiting import GUARD_SECONDS, until

from byteproxy.errors import InputError
from byteproxy.store import corpus_folder as store_folder
from byteproxy.store.corpus_folder import locked

SCRIPT = Path(__file__).with_name("killed.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(SCRIPT.parents[2]), *sys.path]))}

needs_linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds child processes in /proc")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ToySource:
    files = [[*FIXED[n : n + 9], "{", FIXED[0]] for n in range(0, len(FIXED), 9)]
    return a_source(tmp_path_factory.mktemp("source") / "toy", files)


@pytest.fixture(scope="module")
def undisturbed(source: ToySource, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(source, folder)
    files = contents(folder)
    assert json.loads(files["manifest.json"])["rejected"].keys() == {"broken JSON", "exact duplicate", "near-duplicate"}
    return files


def started(run: Callable[..., None], *arguments: object) -> BaseProcess:
    process = multiprocessing.get_context("fork").Process(target=run, args=arguments)
    process.start()
    return process


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def wait_for_the_end(processes: list[int]) -> None:
    """Wait until none is there; what hangs would stay for twice as long."""
    until(lambda: not any(Path(f"/proc/{process}").exists() for process in processes))


def test_killed_at_any_write_and_run_again(source: ToySource, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    """Before a file appears or is synced, or in the middle of writing it."""
    rng = random.Random(0)
    most = {"replace": 25, "fsync": 30, "write": 100}
    wheres = [rng.choice(list(most)) for _ in range(17)]
    plans = [(where, rng.randint(1, most[where]), tmp_path / str(n)) for n, where in enumerate(wheres)]
    assert moments(source, plans) == [-signal.SIGKILL] * len(plans)
    for _, _, folder in plans:
        finish(source, folder)
        assert contents(folder) == undisturbed


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2])
def test_killed_with_its_readers_and_run_again(
    after: float, source: ToySource, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """A moment after the first part is there: then several processes are writing."""
    run = started(finish, source, tmp_path, 2)
    until(lambda: not run.is_alive() or list(tmp_path.glob(".staged/0*")))
    time.sleep(after)
    run.kill()
    run.join()
    finish(source, tmp_path)
    assert contents(tmp_path) == undisturbed


@needs_linux
def test_readers_end_with_their_run_and_hold_the_folder_until_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = a_source(tmp_path / "toy", [FIXED[:2], FIXED[2:4]])
    run = started(stuck, own, tmp_path / "out", False)
    until(lambda: len(list(tmp_path.glob("reading-*"))) == 2, run.is_alive)
    readers = [int(path.name.split("-")[1]) for path in tmp_path.glob("reading-*")]
    with (
        pytest.raises(InputError, match=rf"out is in use by another run \(process {run.pid}\)"),
        locked(tmp_path / "out"),
    ):
        pass
    for reader in readers:
        os.kill(reader, signal.SIGSTOP)
    run.kill()
    run.join()
    monkeypatch.setattr(store_folder, "ORPHAN_SECONDS", 0.3)
    with pytest.raises(InputError, match="is in use by another run"), locked(tmp_path / "out"):
        pass
    os.kill(readers[0], signal.SIGCONT)
    wait_for_the_end(readers[:1])
    with pytest.raises(InputError, match="is in use by another run"), locked(tmp_path / "out"):
        pass
    monkeypatch.undo()
    os.kill(readers[1], signal.SIGCONT)
    with locked(tmp_path / "out"):
        wait_for_the_end(readers)


@needs_linux
@pytest.mark.parametrize("why", ["interrupt", "raise", "killed reader"])
def test_readers_end_at_once_when_a_run_ends_early(why: str, tmp_path: Path) -> None:
    own = a_source(tmp_path / "toy", [FIXED[:2], FIXED[2:4], FIXED[4:6]])
    run = started(stuck, own, tmp_path / "out", why == "raise")
    until(lambda: list(tmp_path.glob("reading-*")), run.is_alive)
    others = children(run.pid)
    if why == "interrupt":
        os.kill(run.pid, signal.SIGINT)
    elif why == "killed reader":
        os.kill(int(next(tmp_path.glob("reading-*")).name.split("-")[1]), signal.SIGKILL)
    run.join(GUARD_SECONDS)
    assert run.exitcode not in (None, 0)
    wait_for_the_end(others)
    with locked(tmp_path / "out"):
        pass


def test_full_disk_is_said_and_costs_nothing_but_a_run(
    source: ToySource, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """A real small disk, made a little larger whenever it is full."""
    command = ["unshare", "-rm", sys.executable, str(SCRIPT), str(source.folder), str(tmp_path)]
    try:
        allowed = subprocess.run(
            ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if allowed.returncode:
        pytest.skip(f"no file system can be mounted here: {allowed.stderr.decode()}")
    output = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout
    errors, files = json.loads(output.splitlines()[-1])
    assert files == {name: sha256(content).hexdigest() for name, content in undisturbed.items()}
    said = {re.findall(r"(?:write|make the folder) \S*?([\w.-]+)(?:$|[: ])", error)[0] for error in errors}
    assert {name.split(".")[-1] for name in said} >= {"arrow"}
    assert len(errors) > 5
    assert all(re.search("(?i)no space left", error) and "free" in error for error in errors)
