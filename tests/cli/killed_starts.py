"""How runs begin, in processes of their own: `killed_starts.py FOLDER`, which holds `c`, `llama` and `tiny.toml`.

One process forks a run for each moment, killed before each call that changes what is on disk, until the first
checkpoint is whole, in `killed-1` and on; and then two runs in one folder at a time, `both`. Prints, as JSON, how many
moments there were, and how the two ended.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

import torch
from tests.train.killed_saves import kill_at

from byteproxy.cli.train import command
from byteproxy.errors import InputError


def moments() -> int:
    """Fork one run after the other, when all that they import and compile is there."""
    command(["tiny.toml", "--from", "llama", "--out", "warm"])
    for moment in range(1, 200):
        out = Path(f"killed-{moment}")
        child = os.fork()
        if child == 0:
            kill_at(moment)
            command(["tiny.toml", "--from", "llama", "--out", str(out)])
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if (out / "checkpoints" / "step-000000").exists():
            return moment
        assert os.WIFSIGNALED(status), "it was killed"
    raise AssertionError("no run came to its first checkpoint")


def both() -> list[int]:
    """The exit statuses of two runs in one folder, of seeds 1 and 2, which begin when both are there."""
    waits, starts = os.pipe()
    children = []
    for seed in (1, 2):
        child = os.fork()
        if child == 0:
            os.close(starts)
            os.read(waits, 1)
            status = 0
            try:
                command(["tiny.toml", "--seed", str(seed), "--out", "both"])
            except InputError as error:
                Path(f"refused-{seed}").write_text(str(error))
                status = 2
            os._exit(status)
        children.append(child)
    os.close(starts)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.chdir(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):
        found = moments(), both()
    print(json.dumps(found))
