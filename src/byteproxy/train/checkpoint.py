"""Checkpoints: whole or absent, and the newest whole one wins.

`torch.distributed.checkpoint` writes into a folder aside; once all is on disk the folder is renamed to `step-NNNNNN`.
Beside the tensors lies `state.json`: the data state, the counters so far, and fingerprints of what the run was started
with, so that a checkpoint is never continued with another corpus or configuration.
"""

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from byteproxy.errors import InputError
from byteproxy.files import sync_folder

_STATE = "state.json"


def save(
    folder: Path,
    step: int,
    model: torch.nn.Module,
    optimizers: list[torch.optim.Optimizer],
    state: dict[str, Any],
    keep: int = 2,
) -> None:
    """Write the checkpoint of `step` (optimizer steps done) and drop all but the newest `keep`."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".step-{step:06d}"
    shutil.rmtree(aside, ignore_errors=True)
    weights, moments = get_state_dict(model, optimizers)
    try:
        with _alone():
            dcp.save({"model": weights, "optimizers": moments}, checkpoint_id=aside, no_dist=True)
        (aside / _STATE).write_text(json.dumps(state))
        for file in aside.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        whole = folder / f"step-{step:06d}"
        shutil.rmtree(whole, ignore_errors=True)
        aside.rename(whole)
        sync_folder(folder)
    except (OSError, CheckpointException) as error:
        shutil.rmtree(aside, ignore_errors=True)
        free = shutil.disk_usage(folder).free >> 20
        raise InputError(
            f"cannot write a checkpoint to {folder} ({_cause(error)}; {free} MB are free): free space or check rights"
        ) from error
    for old in _whole(folder)[:-keep]:
        shutil.rmtree(old)


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, if there is one."""
    whole = _whole(folder)
    return whole[-1] if whole else None


def load(checkpoint: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Any]:
    """Put a checkpoint's tensors into the model and its optimizers, and return its state.

    Raises InputError if the checkpoint is damaged or belongs to another model.
    """
    weights, moments = get_state_dict(model, optimizers)
    tensors = {"model": weights, "optimizers": moments}
    try:
        with _alone():
            dcp.load(tensors, checkpoint_id=checkpoint, no_dist=True)
        set_state_dict(model, optimizers, model_state_dict=weights, optim_state_dict=moments)
        state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text())
    except (Exception, CheckpointException) as error:  # the latter is no Exception
        raise InputError(
            f"checkpoint {checkpoint} cannot be read ({_cause(error)}): delete it to go on from the one before"
        ) from error
    return state


def _whole(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step-*") if (path / _STATE).exists())


def _cause(error: BaseException) -> str:
    """What went wrong, in one line: torch wraps the error of each rank together with its traceback."""
    if isinstance(error, CheckpointException):
        error = next((failure[0] for failure in error.failures.values()), error)
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _alone() -> Iterator[None]:
    """One process: torch need not warn that there is no group."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield
