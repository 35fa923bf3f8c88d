"""For which kind of device a model computes: its tensors' own, or the one that a plan is made for.

A plan runs a model on fake tensors, which have shapes and no memory. These stand on the CPU, as no other device has to
be there, and yet should be what the model would make on an accelerator.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_planned: ContextVar[str] = ContextVar("planned", default="")


def kind_of(device: torch.device) -> str:
    """The kind of a device, such as "cuda", or the one that is planned for."""
    return _planned.get() or device.type


@contextmanager
def planned_for(kind: str) -> Iterator[None]:
    """While entered, models choose what they do as they would on a device of that kind."""
    token = _planned.set(kind)
    try:
        yield
    finally:
        _planned.reset(token)
