"""A process of several that ends or is stopped: the others end too, soon, with one line that names it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import GUARD_SECONDS

ROOT = Path(__file__).parents[2]
RUN = """
import json, os, signal, socket, sys, time
import torch
torch.set_num_threads(1)
from byteproxy.errors import InputError
from byteproxy.train import parallel, heartbeat

heartbeat.SECONDS_APART = 0.1

def join(how, timeout):
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

def rank(number, port, said, how, timeout):
    # in a fork: what comes of it is its exit status and what it wrote
    os.environ |= {"RANK": str(number), "MASTER_PORT": str(port)}
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), 2)
    status = 1
    try:
        join(how, timeout)
        status = 0
    except heartbeat.RankLostError as error:
        if error.speaks:
            print(f"byteproxy: {error}", file=sys.stderr)
        status = 2
    except InputError:
        status = 3
    finally:
        sys.stderr.flush()
        os._exit(status)

forks, folder = {}, sys.argv[2]
for how, timeout in json.loads(sys.argv[1]).items():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for number in (0, 1):
        forks[how, number] = os.fork() or rank(number, port, f"{folder}/{how}{number}", how, timeout)
found = {}
for how, number in forks:
    if (how, number) == ("SIGSTOP", 1):  # rank 0 has ended
        os.kill(forks[how, number], signal.SIGKILL)
    found.setdefault(how, []).append(os.waitstatus_to_exitcode(os.waitpid(forks[how, number], 0)[1]))
print(json.dumps(found))
"""
TIMEOUTS = {"SIGKILL": 100, "SIGSTOP": 4, "fails": 100, "waits": 4}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """Of each pair of processes, all at once: their exit statuses, and what each one said."""
    folder = tmp_path_factory.mktemp("pairs")
    environment = {
        **os.environ,
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path])),
    }
    command = [sys.executable, "-c", RUN, json.dumps(TIMEOUTS), folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert done.returncode == 0, done.stderr
    statuses = json.loads(done.stdout)
    return {how: (statuses[how], [(folder / f"{how}{rank}").read_text() for rank in (0, 1)]) for how in TIMEOUTS}


@pytest.mark.parametrize(
    ("how", "statuses", "said"),
    [
        ("SIGKILL", [2, -signal.SIGKILL], "rank 1 ended: the others can't go on alone"),
        ("SIGSTOP", [2, -signal.SIGKILL], "rank 1 has not been heard of for 4 s and ended or is stopped"),
        ("fails", [2, 3], r"rank 1 ended \(the corpus was altered\)"),
        ("waits", [0, 0], None),
    ],
)
def test_what_becomes_of_the_others(ended, how, statuses, said):
    found, (first, other) = ended[how]
    lines = [line for line in first.splitlines() if "byteproxy" in line]
    assert found == statuses, lines
    assert len(lines) == (said is not None)
    assert said is None or re.search(said, lines[0])
    assert "waitForInput" not in other, "torch's own lines of a wait that ran out"
