"""Several processes of one run: how they meet, what they tell each other, and how they sum.

Each takes its part of a step's rows. Each holds the whole model, or a part of it (`sharding.py`). The processes are
those that torchrun starts, and they find each other by what it sets: RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, and
LOCAL_RANK for the accelerator. Without these a run is alone, joins nothing, and every function here returns what it was
given. Sharded weights add collective calls of torch's own, in passes and while a checkpoint is written, and of Muon's
(`sharded_muon.py`); all others are in this file.

Sums are taken in an order that depends on the sizes and on the number of ranks only: the same run gives the same bits,
on every rank, and another number of ranks differs by rounding.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist

from byteproxy import lock
from byteproxy.errors import InputError
from byteproxy.train.heartbeat import MAX_SILENT_SECONDS, Heartbeat

T = TypeVar("T")

BUCKET_BYTES = 25 << 20
TIMEOUT_SECONDS = 1800.0
_MEETING = timedelta(minutes=10)  # until all processes are there
_SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


_heartbeat: Heartbeat | None = None


class World(NamedTuple):
    """The processes of a run: this one's number, from 0, and how many there are."""

    rank: int
    ranks: int


def world() -> World:
    """Where this process stands; (0, 1) outside `joined`."""
    return World(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else World(0, 1)


@contextmanager
def joined(device: str = "cpu", timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[World]:
    """While entered, the processes that torchrun started work together: by gloo on "cpu", by nccl on "cuda".

    Each takes the accelerator of its LOCAL_RANK. A process that ends or is stopped is noticed within a minute
    (`heartbeat.py`); one that lives and comes to no collective call for `timeout_seconds`, by the group.
    Raises InputError where torchrun's variables are incomplete, or the processes don't find each other, and while
    entered RankLostError where one is gone.
    """
    global _heartbeat
    rank, ranks = _from_torchrun()
    if ranks == 1:
        yield World(0, 1)
        return
    backend, own = "gloo", None
    if device == "cuda":
        backend, own = "nccl", torch.device("cuda", int(os.environ.get("LOCAL_RANK", rank)))
        torch.cuda.set_device(own)
    timeout = timedelta(seconds=timeout_seconds)
    try:
        store, _, _ = next(dist.rendezvous("env://", rank, ranks, timeout=min(timeout, _MEETING)))
        # torchrun keeps its store when it starts the processes anew: what those before left there must not be read.
        store = dist.PrefixStore(f"attempt/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
        heartbeat = Heartbeat(store, rank, ranks, min(timeout_seconds, MAX_SILENT_SECONDS))
        dist.init_process_group(backend, store=store, timeout=timeout, rank=rank, world_size=ranks, device_id=own)
    except (dist.DistError, RuntimeError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise InputError(
            f"process {rank} of {ranks} can't join the others at {where} ({str(error).splitlines()[0]}): "
            "check MASTER_ADDR and MASTER_PORT, and that all are started"
        ) from error
    _heartbeat = heartbeat
    heartbeat.start()
    failure: BaseException | None = None
    try:
        yield World(rank, ranks)
    except BaseException as error:
        failure = error
        raise
    finally:
        _heartbeat = None
        heartbeat.end(failure)
        dist.destroy_process_group()


@contextmanager
def _collective() -> Iterator[None]:
    """A collective call; RankLostError where it fails, which it does as soon as a process is gone."""
    try:
        yield
    except RuntimeError as error:
        if _heartbeat is None:
            raise
        raise _heartbeat.lost(error) from error


@contextmanager
def noticing_losses() -> Iterator[None]:
    """Work that has collective calls of torch's own in it; RankLostError where it fails because a process is gone."""
    try:
        yield
    except RuntimeError as error:
        lost = None if _heartbeat is None else _heartbeat.lost(error)
        if lost is None or not lost.gone:
            raise
        raise lost from error


def _from_torchrun() -> World:
    missing = [name for name in _SET_BY_TORCHRUN if name not in os.environ]
    if "WORLD_SIZE" not in os.environ and "RANK" not in os.environ:
        return World(0, 1)
    if missing:
        raise InputError(f"{', '.join(missing)} not set, but others of torchrun's variables are: start with torchrun")
    try:
        found = World(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    except ValueError as error:
        raise InputError("RANK and WORLD_SIZE must be whole numbers: start with torchrun") from error
    if not 0 <= found.rank < found.ranks:
        raise InputError(f"RANK is {found.rank} and WORLD_SIZE {found.ranks}: ranks count from 0; start with torchrun")
    return found


def sum_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every gradient by its sum over all ranks, in float32.

    A rank without a gradient, where another has one, adds zeros and gets the sum; where no rank has one it stays None,
    so that an optimizer leaves the parameter alone as it does in a run of one process. Ranks tell each other by one
    small call what they have. What is sent goes in stretches of `BUCKET_BYTES`; a larger gradient goes by itself,
    uncopied. Parameters must come in the same order on all ranks.
    """
    if world().ranks == 1:
        return
    owned = [parameter for parameter in parameters if parameter.requires_grad]
    present = any_rank_each([parameter.grad is not None for parameter in owned])
    taking_part = [parameter for parameter, anywhere in zip(owned, present, strict=True) if anywhere]
    for bucket in _buckets(taking_part):
        gradients = []
        for parameter in bucket:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        parts = [gradient.reshape(-1).float() for gradient in gradients]
        flat = parts[0] if len(parts) == 1 else torch.cat(parts)
        with _collective():
            dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([part.numel() for part in parts]), strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(parameters: list[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Runs of parameters of at most `BUCKET_BYTES` as float32, or of a single one."""
    bucket: list[torch.nn.Parameter] = []
    size = 0
    for parameter in parameters:
        if bucket and size + 4 * parameter.numel() > BUCKET_BYTES:
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += 4 * parameter.numel()
    if bucket:
        yield bucket


def sum_over(array: np.ndarray) -> np.ndarray:
    """The sum over all ranks of an array [...] of float64, for small ones (losses by representation)."""
    if world().ranks == 1:
        return array
    total = torch.tensor(array, dtype=torch.float64, device=_device())
    with _collective():
        dist.all_reduce(total)
    return total.cpu().numpy()


def norms_over(tensors: list[list[torch.Tensor]], group: dist.ProcessGroup | None) -> torch.Tensor:
    """The norm of each list of tensors, of which a group holds parts; float64 [lists]. group None: they are whole."""
    squares = torch.zeros(len(tensors), dtype=torch.float64, device=None if group is None else _device())
    for number, some in enumerate(tensors):
        for one in some:
            squares[number] += torch.linalg.vector_norm(one, dtype=torch.float64).square()
    if group is not None:
        with _collective():
            dist.all_reduce(squares, group=group)
    return squares.sqrt()


def exchanged(
    parts: list[list[torch.Tensor]], shapes: list[list[tuple[int, ...]]], dtype: torch.dtype, group: dist.ProcessGroup
) -> list[list[torch.Tensor]]:
    """What each process of a group has for this one: tensors of these shapes, all that is sent being of one type.

    parts: what this one has for each of them, in the order of the group.
    """
    flat = [part.reshape(-1) for some in parts for part in some] or [torch.empty(0, dtype=dtype, device=_device())]
    sent = torch.cat(flat).view(torch.uint8)  # as gloo knows few types
    sizes = [sum(map(math.prod, some)) * dtype.itemsize for some in shapes]
    came = sent.new_empty(sum(sizes))
    with _collective():
        counts = [sum(part.nbytes for part in some) for some in parts]
        dist.all_to_all_single(came, sent, sizes, counts, group=group)
    found = []
    for own, some in zip(came.split(sizes), shapes, strict=True):
        pieces = own.view(dtype).split(list(map(math.prod, some))) if some else ()
        found.append([piece.view(shape) for piece, shape in zip(pieces, some, strict=True)])
    return found


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank."""
    return any_rank_each([flag])[0]


def any_rank_each(flags: list[bool]) -> list[bool]:
    """Whether each of some flags is set on any rank; as many on all."""
    if world().ranks == 1 or not flags:
        return flags
    found = torch.tensor(flags, dtype=torch.int32, device=_device())
    with _collective():
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return [bool(flag) for flag in found.tolist()]


def from_rank_zero(value: T) -> T:
    """Rank 0's value, on all ranks; small and picklable. The others wait for it."""
    if world().ranks == 1:
        return value
    values = [value]
    with _collective():
        dist.broadcast_object_list(values, src=0, device=_device())
    return values[0]


def from_all(value: T) -> list[T]:
    """Each rank's value, by rank, on all ranks; small and picklable. They wait for each other."""
    if world().ranks == 1:
        return [value]
    values: list[T] = [value] * world().ranks
    with _collective():
        dist.all_gather_object(values, value)
    return values


def on_rank_zero(work: Callable[[], T]) -> T:
    """What some work gives on rank 0, on all ranks, and its InputError; the others wait for it."""
    found: tuple[T | None, str | None] = None, None
    if world().rank == 0:
        try:
            found = work(), None
        except InputError as error:
            found = None, str(error)
    value, said = from_rank_zero(found)
    if said is not None:
        raise InputError(said)
    return cast("T", value)


@contextmanager
def held(folder: Path) -> Iterator[lock.Hold]:
    """As `lock.held`, by rank 0 for all ranks of a run; InputError on all of them where it can't have the folder."""
    with ExitStack() as stack:
        here: list[lock.Hold] = []
        on_rank_zero(lambda: here.append(stack.enter_context(lock.held(folder))))
        yield here[0] if here else lock.Hold(folder, None)


def wait_for_rank_zero() -> None:
    """Wait until rank 0 is here too: an hour if it takes that to validate or write, and no longer than it lives."""
    if _heartbeat is not None:
        _heartbeat.wait_for_rank_zero()


def _device() -> torch.device:
    """Where this group's backend takes tensors from."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")
