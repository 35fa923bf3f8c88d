"""Device and dtype of a run, whether torch.compile can be used, and deterministic operations."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from byteproxy.errors import InputError
from byteproxy.model.network import Transformer
from byteproxy.ranges import ensure_one_of
from byteproxy.train.flops import matmul_rate
from byteproxy.train.train_config import DTYPES

TORCH_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPES}


def device_of(name: str) -> torch.device:
    """The device of that name; "auto" is what is there. InputError if it isn't there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    ensure_one_of("device", name, ("auto", *there))
    if name == "auto":
        name = next(kind for kind, found in there.items() if found)
    if not there[name]:
        raise InputError(f'device is "{name}", which is not there: give auto, or one of those that are')
    return torch.device(name, torch.cuda.current_device()) if name == "cuda" else torch.device(name)


def fastest_dtype(device: str = "auto") -> str:
    """ "bfloat16" where it multiplies matrices at least 1.5 times as fast as float32 on that device, else "float32".

    Measured, not looked up: what counts is the kernel, and emulated bfloat16 is slower than float32. Both are measured
    in turn, several times, and the best of each counts, so that other work on the machine hits both alike. No round
    begins after 2 seconds, so a busy machine takes no longer than two of its products of each more.
    """
    best = dict.fromkeys(DTYPES, 0.0)
    end = time.monotonic() + 2
    for _ in range(6):
        for name, dtype in TORCH_DTYPES.items():
            best[name] = max(best[name], matmul_rate(dtype, seconds=0.03, device=device_of(device)))
        if time.monotonic() > end:
            break
    return "bfloat16" if best["bfloat16"] > 1.5 * best["float32"] else "float32"


def prepare(model: Transformer, wanted: bool, positions: int, device: torch.device) -> str:
    """Let the model compile itself for passes over that many positions; gives why not, empty if it does."""
    if not wanted:
        return ""
    if device.type == "cpu" and not _cpp_compiler():
        return "torch.compile needs a C++ compiler on a CPU and finds none (g++, clang++ or $CXX); going on without"
    if device.type == "mps":
        return "torch.compile is not tried on mps; going on without"
    model.compile_for(positions)
    return ""


def _cpp_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name)


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """While entered, operations that may give other bits the next time are refused, if that is wanted."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def is_failure(error: Exception) -> bool:
    """Whether torch.compile raised this, as it can't; its part of torch is imported only where something was raised."""
    return isinstance(error, torch._dynamo.exc.TorchDynamoException)
