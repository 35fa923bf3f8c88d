"""How runs begin, in forks, in a folder that holds `c`, `llama` and `tiny.toml`."""

import os
import signal
from pathlib import Path

from tests.forks import begun, ended
from tests.train.killed_saves import kill_at

from byteproxy.cli.train import command
from byteproxy.errors import InputError


def moments() -> int:
    """How many runs were killed, each before a later call that changes what is on disk, until a first checkpoint.

    They are left in `killed-1` and on.
    """
    command(["tiny.toml", "--from", "llama", "--out", "warm"])  # all that it compiles is there for the forks
    for moment in range(1, 200):
        out = Path(f"killed-{moment}")

        def run(moment: int = moment, out: Path = out) -> None:
            kill_at(moment)
            command(["tiny.toml", "--from", "llama", "--out", str(out)])

        status = ended(begun(run))
        if (out / "checkpoints" / "step-000000").exists():
            return moment
        assert status == -signal.SIGKILL
    raise AssertionError("no run came to its first checkpoint")


def both() -> list[int]:
    """The exit statuses of two runs in one folder, `both`, of seeds 1 and 2, which begin when both are there."""
    waits, starts = os.pipe()
    children = []
    for seed in (1, 2):

        def run(seed: int = seed) -> None:
            os.close(starts)
            os.read(waits, 1)
            try:
                command(["tiny.toml", "--seed", str(seed), "--out", "both"])
            except InputError as error:
                Path(f"refused-{seed}").write_text(str(error))
                os._exit(2)

        children.append(begun(run))
    os.close(starts)
    os.close(waits)
    return [ended(child) for child in children]
