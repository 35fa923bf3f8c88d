"""A process of several that ends or is stopped: the others end too, soon, with one line that names it."""

import os
import re
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tests.forks import begun, ended

from byteproxy.errors import InputError
from byteproxy.train import heartbeat, parallel

TIMEOUTS = {"SIGKILL": 100, "SIGSTOP": 4, "fails": 100, "waits": 4}


def join(how: str, timeout: float) -> None:
    """What both ranks do, and what becomes of one of them."""
    with parallel.joined(timeout_seconds=timeout) as world:
        parallel.any_rank(False)
        if world.rank == 1 and how in ("SIGKILL", "SIGSTOP"):
            os.kill(os.getpid(), getattr(signal, how))
        if world.rank == 1 and how == "fails":
            raise InputError("the corpus was altered")
        if world.rank == 0 and how == "waits":  # as for a validation that takes longer than any timeout
            time.sleep(1.5 * timeout)
        parallel.wait_for_rank_zero()
        found = parallel.from_rank_zero(world.rank)
        assert found == 0
        parallel.any_rank(False)


def rank(number: int, port: int, said: Path, how: str, timeout: float) -> None:
    """A rank in a fork: what comes of it is its exit status and what it wrote."""
    os.environ |= {"RANK": str(number), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ["GLOO_SOCKET_IFNAME"] = "lo" if sys.platform == "linux" else "lo0"
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    heartbeat.SECONDS_APART = 0.1
    status = 0
    try:
        join(how, timeout)
    except heartbeat.RankLostError as error:
        if error.speaks:
            print(f"byteproxy: {error}", file=sys.stderr)
        status = 2
    except InputError:
        status = 3
    sys.stderr.flush()
    os._exit(status)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Of each pair of processes, all at once: their exit statuses, and what each one said."""
    folder = tmp_path_factory.mktemp("pairs")
    forks, found = {}, {}
    for how, timeout in TIMEOUTS.items():
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        for number in (0, 1):
            forks[how, number] = begun(partial(rank, number, port, folder / f"{how}{number}", how, timeout))
    for (how, number), fork in forks.items():
        if (how, number) == ("SIGSTOP", 1):  # rank 0 has ended
            os.kill(fork, signal.SIGKILL)
        found.setdefault(how, []).append(ended(fork))
    return {how: (found[how], [(folder / f"{how}{number}").read_text() for number in (0, 1)]) for how in TIMEOUTS}


@pytest.mark.parametrize(
    ("how", "statuses", "said"),
    [
        ("SIGKILL", [2, -signal.SIGKILL], "rank 1 ended: the others can't go on alone"),
        ("SIGSTOP", [2, -signal.SIGKILL], "rank 1 has not been heard of for 4 s and ended or is stopped"),
        ("fails", [2, 3], r"rank 1 ended \(the corpus was altered\)"),
        ("waits", [0, 0], None),
    ],
)
def test_what_becomes_of_the_others(pairs, how, statuses, said):
    found, (first, other) = pairs[how]
    lines = [line for line in first.splitlines() if "byteproxy" in line]
    assert found == statuses, lines
    assert len(lines) == (said is not None)
    assert said is None or re.search(said, lines[0])
    assert "waitForInput" not in other, "torch's own lines of a wait that ran out"
