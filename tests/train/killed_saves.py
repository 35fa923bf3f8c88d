"""The saves that `test_checkpoint.py` has killed, each in a fork.

moments     SAVES in a copy of a folder with steps 10 and 20, killed before each call that changes what is on disk
rounds      saving in a loop, killed at random moments; each goes on where the one before was killed

Every tensor of a checkpoint holds one number, so that it shows which save it is of.
"""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import torch
from tests.forks import begun, ended

from byteproxy.train import checkpoint

SAVES = {"next": (30, 30.0, 2), "again": (20, 20.5, 2), "again_alone": (20, 20.5, 1)}
"""By name, what is saved: (step, number, keep)"""
CALLS = ("mkdir", "fsync", "rename", "replace", "unlink", "rmdir")


def holding(number: float) -> tuple[torch.nn.Module, list[torch.optim.Optimizer]]:
    """A model and its optimizers that hold this number and nothing else."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    optimizers: list[torch.optim.Optimizer] = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(number)
            optimizers[0].state[parameter]["momentum_buffer"] = torch.full_like(parameter, number)
    return model, optimizers


def save(folder: Path, step: int, number: float, keep: int = 2) -> None:
    """Save this number as that step."""
    checkpoint.save(folder, step, *holding(number), {"number": number}, keep)


def loaded(folder: Path) -> tuple[int, float]:
    """The newest checkpoint's step and number; AssertionError if any that counts as whole is not of one save."""
    for _, path in checkpoint._whole(folder):
        model, optimizers = holding(0.0)
        number = checkpoint.load(path, model, optimizers)["number"]
        tensors = [*model.parameters(), *(state["momentum_buffer"] for state in optimizers[0].state.values())]
        assert len(tensors) == 8
        assert all((tensor == number).all() for tensor in tensors)
    newest = checkpoint.newest(folder)
    assert newest == path
    return int(newest.name.strip(".").split("-")[1].split(".")[0]), number


def kill_at(number: int) -> None:
    """From now on, the call of that number ends this process."""
    left = number

    def counting(call):  # type: ignore[no-untyped-def]
        def counted(*arguments, **options):  # type: ignore[no-untyped-def]
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return counted

    for name in CALLS:
        setattr(os, name, counting(getattr(os, name)))


def moments(folder: Path) -> dict[str, int]:
    """For each kind of save, how many moments there were."""
    save(folder / "start", 10, 10.0)
    save(folder / "start", 20, 20.0)
    counts = {}
    for name, (step, number, keep) in SAVES.items():
        for moment in range(1, 1000):
            copy = folder / f"{name}-{moment}"
            shutil.copytree(folder / "start", copy)

            def run(moment: int = moment, saved: tuple[Path, int, float, int] = (copy, step, number, keep)) -> None:
                kill_at(moment)
                save(*saved)

            status = ended(begun(run))
            assert status in (0, -signal.SIGKILL)
            if status == 0:
                counts[name] = moment - 1
                break
    return counts


def rounds(folder: Path) -> list[tuple[int, int]]:
    """For each kill, the last step whose save had returned, and the step loaded."""
    rng = random.Random(0)
    save(folder / "run", 1, 1.0)
    done, found = 1, []
    for _ in range(25):
        hears, tells = os.pipe()

        def run(tells: int = tells) -> None:
            step = loaded(folder / "run")[0]
            os.write(tells, b"-1\n")
            while True:
                step += 1
                save(folder / "run", step, float(step))
                os.write(tells, f"{step}\n".encode())

        child = begun(run)
        os.close(tells)
        with os.fdopen(hears) as heard:
            heard.readline()
            time.sleep(rng.uniform(0, 0.06))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            done = max([done, *map(int, heard.read().split())])
        step, number = loaded(folder / "run")
        assert number == step
        found.append((done, step))
        done = step
    return found
