"""Checkpoints: whole or absent, and the newest whole one wins.

`torch.distributed.checkpoint` writes into a folder aside; once all is on disk the folder is renamed to `step-NNNNNN`.
Beside the tensors lies `state.json`: the data state, the counters so far, and fingerprints of what the run was started
with, so that a checkpoint is never continued with another corpus or configuration. `checksums.json` has the SHA-256 of
each file, which loading compares; what lies in a checkpoint is never run (`safe_dcp.py`).

All ranks call each function here, and need to see one file system. Each writes a part of the tensors: what it holds
where the model is sharded, else its share of what all hold. Rank 0 adds the rest and renames, once all are done. Any
number of ranks reads what any other wrote. What goes wrong on one rank is raised on all, and names it.

A kill at any moment costs what was done since the last save and no more. In the folder there may then be

    step-000100            a whole checkpoint
    .step-000100.new       being written: never read
    .step-000100.before    whole too, being replaced by one of the same step; read only while step-000100 is absent
    .step-000100.gone      being removed: never read

and the next save removes what lies about, as does a run that is gone on with. Only a rename makes or ends a whole
checkpoint.
"""

import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.logger import _dcp_logger
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from byteproxy.errors import InputError
from byteproxy.files import sync_files, sync_folder
from byteproxy.parsing import read_json
from byteproxy.progress import silent
from byteproxy.store.format import FileInfo, file_info
from byteproxy.store.integrity import verify
from byteproxy.train.parallel import any_rank, from_all, from_rank_zero, noticing_losses, wait_for_rank_zero, world
from byteproxy.train.safe_dcp import METADATA, Reader
from byteproxy.train.sharding import sharded_as

T = TypeVar("T")

FORMAT = 1
_STATE = "state.json"
_CHECKSUMS = "checksums.json"
_TENSORS = "*.distcp"
_WHOLE = re.compile(r"step-(\d+)")
_BEFORE = re.compile(r"\.(step-(\d+))\.before")


def save(
    folder: Path,
    step: int,
    model: torch.nn.Module,
    optimizers: list[torch.optim.Optimizer],
    state: dict[str, Any],
    keep: int = 2,
) -> None:
    """Write the checkpoint of `step` (optimizer steps done) and drop all but the newest `keep`, at least 1.

    Raises InputError, on all ranks, if it can't be written, and KeyboardInterrupt if that was stopped; those before
    stay, and nothing partial does.
    """
    folder, name = from_rank_zero(folder), f"step-{step:06d}"
    first = world().rank == 0
    tensors = {"model": model.state_dict(), "optimizers": {"state": _moments(model, optimizers)}}
    said = partial(_done_by_all, folder / f".{name}.new", step, _size(tensors))
    said(lambda: _make_room(folder) if first else None)
    listed = said(lambda: _write_own(folder / f".{name}.new", tensors))
    listed = [info for own in from_all(listed) for info in own]
    said(lambda: _finish(folder, name, {"format": FORMAT, **state}, listed, keep) if first else None, by_rank_zero=True)


def _done_by_all(aside: Path, step: int, size: int, work: Callable[[], T], by_rank_zero: bool = False) -> T:
    """What some work of a save gives; where it fails on one rank, all raise that, and what was written is removed."""
    found: list[T] = []
    failure: BaseException | None = None
    try:
        found.append(work())
    except (OSError, CheckpointException, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and world().ranks > 1:
            raise  # the others are in the middle of the work, and hear that this rank has gone
        failure = error
    said = None
    if failure is not None:
        # torch tells all ranks of the failures of some
        ranks = failure.failures.keys() if isinstance(failure, CheckpointException) else {world().rank}
        said = _is_stop(failure), _unwritable(aside.parent, failure, size), set(ranks)
    if by_rank_zero:
        wait_for_rank_zero()
    told = from_all(said)
    if failures := [one for one in told if one is not None]:
        if world().rank == 0:
            shutil.rmtree(aside, ignore_errors=True)
        if any(stopped for stopped, _, _ in failures):
            raise KeyboardInterrupt(f"stopped while the checkpoint of step {step} was written") from failure
        failed = set[int]().union(*(ranks for _, _, ranks in failures))
        where = f"rank {min(failed)} " if len(failed) < len(told) else ""
        raise InputError(f"{where}{failures[0][1]}") from failure
    return found[0]


def newest(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, if there is one, as this process sees it."""
    whole = _whole(folder) or _whole(folder)  # it may be in the middle of a rename
    return whole[-1][1] if whole else None


def newest_of_rank_zero(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run as rank 0 sees it; all ranks have to ask."""
    return from_rank_zero(newest(folder) if world().rank == 0 else None)


def load(
    checkpoint: Path,
    model: torch.nn.Module,
    optimizers: list[torch.optim.Optimizer],
    check: Callable[[dict[str, Any]], None] = lambda state: None,
) -> dict[str, Any]:
    """Put a checkpoint's tensors into the model and its optimizers, and return its state.

    What the optimizers held before is dropped; their settings stay those that they were made with.
    check: raises for a state that is of something else, before any tensor is read.
    Raises InputError, on all ranks, if the checkpoint is damaged or belongs to another model.
    """
    state: dict[str, Any] = {}
    with _read_by_all(checkpoint):
        if world().rank == 0:
            _ensure_unaltered(checkpoint)
        state = _state(checkpoint)
    check(state)
    with _read_by_all(checkpoint):
        _read(checkpoint, model, optimizers)
    return state


@contextmanager
def _read_by_all(checkpoint: Path) -> Iterator[None]:
    """What fails on one rank while a checkpoint is read is an InputError on all."""
    failure: BaseException | None = None
    try:
        yield
    except (Exception, CheckpointException) as error:  # the latter is no Exception
        failure = error
    if any_rank(failure is not None):
        raise _unreadable(checkpoint, failure) from failure


class _OtherFormatError(Exception):
    """A checkpoint is of another format."""


def _state(checkpoint: Path) -> dict[str, Any]:
    state = dict(read_json(checkpoint / _STATE))
    found = state.pop("format", None)
    if found != FORMAT:
        raise _OtherFormatError("of an early version, without a format" if found is None else f"of format {found}")
    return state


def is_gone(checkpoint: Path) -> bool:
    """Whether a checkpoint that was there is no more, as a trainer removes those that are older than it keeps."""
    return not checkpoint.exists()


def said(checkpoint: Path) -> dict[str, Any]:
    """The state that a checkpoint has beside its tensors; InputError where it is damaged."""
    try:
        _ensure_unaltered(checkpoint, _STATE)
        return _state(checkpoint)
    except Exception as error:
        raise _unreadable(checkpoint, error) from error


def rows(checkpoint: Path, name: str) -> int:
    """How many rows a checkpoint's tensor of the model has; InputError where the checkpoint is damaged or has none."""
    try:
        _ensure_unaltered(checkpoint, METADATA)
        kind = Reader(checkpoint).read_metadata().state_dict_metadata[f"model.{name}"]
        if not isinstance(kind, TensorStorageMetadata):
            raise ValueError(f"its {name} is no tensor")
        return int(kind.size[0])
    except Exception as error:
        raise _unreadable(checkpoint, error) from error


def _unreadable(checkpoint: Path, error: BaseException | None) -> InputError:
    """error: None where another process has one."""
    if isinstance(error, _OtherFormatError):
        return InputError(
            f"checkpoint {checkpoint} is {error}, and this version reads format {FORMAT}: go on with the byteproxy "
            "that wrote it, or begin the run anew in another folder"
        )
    why = "by another process" if error is None else _cause(error)
    return InputError(f"checkpoint {checkpoint} cannot be read ({why}): delete it to go on from the one before")


def _make_room(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tidy(folder)


def _write_own(aside: Path, tensors: dict[str, Any]) -> list[FileInfo]:
    """Write this rank's part of the tensors; gives its files."""
    with _quietly(), noticing_losses():
        dcp.save(tensors, checkpoint_id=aside, no_dist=world().ranks == 1)
    return [file_info(file) for file in sorted(aside.glob(f"__{world().rank}_{_TENSORS}"))]


def _finish(folder: Path, name: str, state: dict[str, Any], listed: list[FileInfo], keep: int) -> None:
    """Make a whole checkpoint of what all ranks have written: `listed`."""
    aside, whole, before = (folder / place for place in (f".{name}.new", name, f".{name}.before"))
    (aside / _STATE).write_text(json.dumps(state), encoding="utf-8")
    listed = [*listed, *(file_info(aside / file) for file in (METADATA, _STATE))]
    (aside / _CHECKSUMS).write_text(json.dumps([asdict(file) for file in listed]), encoding="utf-8")
    sync_files(aside)
    if whole.exists():
        whole.rename(before)
    aside.rename(whole)
    sync_folder(folder)
    if before.exists():
        _drop(before)
    for _, old in _whole(folder)[:-keep]:
        _drop(old)


def _ensure_unaltered(checkpoint: Path, only: str | None = None) -> None:
    """InputError or ValueError where a file isn't what was written, or nothing says what that was.

    only: the name of the one file to look at; None: all.
    """
    path = checkpoint / _CHECKSUMS
    if not path.exists():
        _state(checkpoint)  # which may be of a format that had no list
        raise ValueError(f"its {_CHECKSUMS} is missing")
    listed = [FileInfo(**said) for said in read_json(path)]
    verify(checkpoint, [file for file in listed if only in (None, file.name)], silent, "copy it again", path)
    needed = {_STATE, METADATA, *(file.name for file in checkpoint.glob(_TENSORS) if file.is_file())}
    if unlisted := sorted(needed - {file.name for file in listed}):
        raise ValueError(f"its {_CHECKSUMS} does not list {unlisted[0]}")


def _whole(folder: Path) -> list[tuple[int, Path]]:
    """The whole checkpoints by step, the newest last."""
    found = {}
    for path in folder.glob(".step-*.before"):
        if match := _BEFORE.fullmatch(path.name):
            found[int(match[2])] = path
    for path in folder.glob("step-*"):
        if match := _WHOLE.fullmatch(path.name):
            found[int(match[1])] = path
    return sorted((step, path) for step, path in found.items() if _holds_something(path))


def _holds_something(path: Path) -> bool:
    """Whether a folder is one that was written: it appears whole, so one that lacks a file is a damaged checkpoint."""
    try:
        return any(path.iterdir())
    except OSError:
        return False


def tidy(folder: Path) -> None:
    """Remove what a killed process left, and put back what it had put out of the way; for whoever holds the run."""
    for path in folder.glob(".step-*.before"):
        match = _BEFORE.fullmatch(path.name)
        if match and not (folder / match[1]).exists():
            path.rename(folder / match[1])
        else:
            _drop(path)
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def _drop(path: Path) -> None:
    """Remove a checkpoint so that no moment shows half of it as whole."""
    gone = path.with_name(f".{path.name.strip('.')}.gone")
    path.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)  # what can't be removed now, the next save tries again


def _moments(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> dict[str, Any]:
    """What the optimizers remember, by parameter and kind.

    Not torch's `get_state_dict`: that makes an optimizer step which has not stepped yet, and what it saves can't be
    read back where some parameter never had a gradient.
    """
    return {
        one.name: {what: one.sharded(value) for what, value in optimizer.state[one.moved].items()}
        for optimizer in optimizers
        for one in _owned(model, optimizers)
        if one.moved in optimizer.state
    }


class _Owned(NamedTuple):
    """A parameter of an optimizer: the model's own, or some of its rows, or what this rank holds of it.

    whole: the model's parameter of that name; for one of rows, these.
    """

    name: str
    moved: torch.Tensor
    whole: torch.Tensor

    def sharded(self, value: torch.Tensor) -> torch.Tensor:
        """Something that is remembered of it, as all ranks hold it together."""
        return sharded_as(self.whole, value) if value.shape == self.moved.shape else value


def _owned(model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> list[_Owned]:
    """What optimizers may own: a model's parameters, and what an optimizer calls by a name of its own."""
    whole: dict[str, torch.Tensor] = dict(model.named_parameters())
    moved = dict(whole)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            moved |= dict(zip(group.get("param_names", ()), group["params"], strict=False))
    return [_Owned(name, one, whole.get(name, one)) for name, one in moved.items()]


def _read(checkpoint: Path, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    """Read the tensors into the model, in place, and into new moments."""
    stored = Reader(checkpoint).read_metadata().state_dict_metadata
    owned = {one.name: one for one in _owned(model, optimizers)}
    moments: dict[torch.Tensor, dict[str, torch.Tensor]] = {}
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for key, kind in stored.items():
        if not key.startswith("optimizers.state.") or not isinstance(kind, TensorStorageMetadata):
            continue
        name, _, what = key.removeprefix("optimizers.state.").rpartition(".")
        if name not in owned:
            raise ValueError(f"the model that it is of has {name}, and this one has not")
        one, dtype = owned[name], kind.properties.dtype
        alike = kind.size == one.whole.shape  # then it is laid out, and sharded, as the parameter is
        tensor = torch.zeros_like(one.moved, dtype=dtype) if alike else one.moved.new_zeros(kind.size, dtype=dtype)
        moments.setdefault(one.moved, {})[what] = tensor.detach()
        tensors[key] = sharded_as(one.whole, tensor.detach()) if alike else tensor.detach()
    if others := [key for key in tensors if not isinstance(stored.get(key), TensorStorageMetadata)]:
        raise ValueError(f"it has no tensor {others[0]}")  # what is there may be a pickle
    with _quietly():
        dcp.load(tensors, storage_reader=Reader(checkpoint), no_dist=True)
    for optimizer in optimizers:
        optimizer.state.clear()
        for group in optimizer.param_groups:
            optimizer.state.update({p: moments[p] for p in group["params"] if p in moments})


def _size(tensors: dict[str, Any]) -> int:
    """Bytes of all tensors in dictionaries of them."""
    found = sum(one.nbytes for one in tensors.values() if isinstance(one, torch.Tensor))
    return found + sum(_size(one) for one in tensors.values() if isinstance(one, dict))


def _unwritable(folder: Path, error: BaseException, needed: int) -> str:
    """What to say; what was written so far of the `needed` bytes is removed already."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    why, remedy = _cause(error), "free space or check rights"
    full = any(isinstance(one, OSError) and one.errno in (errno.ENOSPC, errno.EDQUOT) for one in _causes(error))
    if full or (isinstance(error, CheckpointException) and free < needed):  # torch loses the cause on the way
        why = os.strerror(errno.ENOSPC)
        remedy = f"it takes {(needed >> 20) + 1} MB: free space; the checkpoints before it are whole"
    return f"cannot write a checkpoint to {folder} ({why}; {free >> 20} MB are free): {remedy}"


def _is_stop(error: BaseException) -> bool:
    return any(isinstance(one, KeyboardInterrupt) for one in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that led to it, in torch's wrapping of the errors of ranks too."""
    while error is not None:
        yield error
        if isinstance(error, CheckpointException):
            for failure, _ in error.failures.values():
                yield from _causes(failure)
        error = error.__cause__ or error.__context__


def _cause(error: BaseException) -> str:
    """What went wrong, in one line: torch wraps the error of each rank together with its traceback."""
    if isinstance(error, CheckpointException):
        error = next((failure[0] for failure in error.failures.values()), error)
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _quietly() -> Iterator[None]:
    """A process that is alone, or reads for itself, need not be warned that torch asks no group.

    Nor does torch log failures meanwhile, which it does with a traceback: who called says what became of it.
    """
    was_disabled = _dcp_logger.disabled
    _dcp_logger.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            yield
    finally:
        _dcp_logger.disabled = was_disabled
