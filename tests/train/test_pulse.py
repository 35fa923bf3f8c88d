"""A process of several that ends or is stopped: the others end too, soon, with one line that names it."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = """
import os, signal, sys, time
import torch
torch.set_num_threads(1)
from byteproxy.errors import InputError
from byteproxy.train import parallel, pulse

pulse.SECONDS_APART = 0.1
how = sys.argv[1]
try:
    with parallel.joined(timeout_seconds=float(sys.argv[2])) as world:
        parallel.barrier()
        if world.rank == 1 and how in ("SIGKILL", "SIGSTOP"):
            os.kill(os.getpid(), getattr(signal, how))
        if world.rank == 1 and how == "fails":
            raise InputError("the corpus was altered")
        if world.rank == 0 and how == "waits":  # as for a validation that takes longer than any timeout
            time.sleep(3 * float(sys.argv[2]))
        parallel.wait_for_rank_zero()
        found = parallel.from_rank_zero(world.rank)
        assert found == 0
        parallel.barrier()
except pulse.RankLostError as error:
    if error.speaks:
        print(f"byteproxy: {error}", file=sys.stderr)
    sys.exit(2)
except InputError:
    sys.exit(3)
"""


def two(how, timeout):
    """The exit statuses of two processes and what the first one said; a stopped one is killed at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path])),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, how, str(timeout)],
            env={**shared, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = processes[0].communicate(timeout=200)[1]
    if how == "SIGSTOP":
        processes[1].kill()
    told = processes[1].communicate(timeout=200)[1]
    assert "waitForInput" not in told, "torch's own lines of a wait that ran out"
    return [process.returncode for process in processes], [line for line in said.splitlines() if "byteproxy" in line]


@pytest.mark.parametrize(
    ("how", "timeout", "statuses", "said"),
    [
        ("SIGKILL", 100, [2, -signal.SIGKILL], "rank 1 ended: the others can't go on alone"),
        ("SIGSTOP", 2, [2, -signal.SIGKILL], "rank 1 has not been heard of for 2 s and ended or is stopped"),
        ("fails", 100, [2, 3], r"rank 1 ended \(the corpus was altered\)"),
        ("waits", 1, [0, 0], None),
    ],
)
def test_what_becomes_of_the_others(how, timeout, statuses, said):
    found, lines = two(how, timeout)
    assert found == statuses, lines
    assert len(lines) == (said is not None)
    assert said is None or re.search(said, lines[0])
