"""Initial values without the model: the numbers that a seed gives a run's weights, drawn tensor by tensor.

A model is built on the meta device, where tensors have shapes and no memory, and what would have filled each tensor is
noted. Filling does the same operations in the same order on memory for one tensor at a time. The generator of random
numbers is shared by all tensors, so what is overwritten later is drawn, too: the values are those of a model that was
built at once, to the bit. The price is one tensor's memory, and on each process the time of drawing the whole model.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_IN_PLACE = {_aten.uniform_.default, _aten.normal_.default, _aten.zero_.default, _aten.fill_.Scalar}
_MADE_OF = {_aten.zeros.default: 0.0, _aten.ones.default: 1.0}
Put = Callable[[torch.Tensor, torch.Tensor], None]
"""Puts a whole tensor of values, which lasts for the call only, into what a model keeps of it."""


class _Filling(NamedTuple):
    """An operation that fills a whole tensor. key: of its memory."""

    key: int
    shape: torch.Size
    dtype: torch.dtype
    operation: Any
    arguments: tuple[Any, ...]
    named: dict[str, Any]

    def values(self) -> torch.Tensor:
        tensor = torch.empty(self.shape, dtype=self.dtype)
        self.operation(tensor, *self.arguments, **self.named)
        return tensor


class InitialValues:
    """What fills the tensors of a model that is built while `noted` is entered."""

    def __init__(self) -> None:
        self._fillings: list[_Filling] = []
        self._alive: list[torch.Tensor] = []  # so that no key is used twice

    @contextmanager
    def noted(self) -> Iterator[None]:
        """While entered, tensors are made on the meta device, and what would fill them is noted."""
        with torch.device("meta"), _Noting(self._fillings, self._alive):
            yield

    def keys(self, model: nn.Module) -> dict[str, int]:
        """Each parameter and buffer of a model as it was built, by name; to be asked before anything replaces them."""
        return {name: _key(tensor) for name, tensor in _tensors(model)}

    @torch.no_grad()
    def fill(self, model: nn.Module, keys: dict[str, int], put: Put, parameters: bool = True) -> None:
        """Give the model's tensors, which may have become others since, their values.

        keys: those of the model as it was built. put: is given a tensor of the model and the values of all of it.
        parameters: False fills buffers only, where the weights come from elsewhere, and draws nothing.
        """
        tensors = dict(_tensors(model) if parameters else model.named_buffers())
        names: dict[int, list[str]] = {}
        for name in tensors:
            names.setdefault(keys[name], []).append(name)
        last = {filling.key: number for number, filling in enumerate(self._fillings)}
        if unknown := [name for key, found in names.items() if key not in last for name in found]:
            raise NotImplementedError(f"what fills {unknown[0]} is not known")
        for number, filling in enumerate(self._fillings):
            kept = names.get(filling.key, []) if last[filling.key] == number else []
            if kept or parameters:
                values = filling.values()
                for name in kept:
                    put(tensors[name], values)


class _Noting(TorchDispatchMode):
    def __init__(self, fillings: list[_Filling], alive: list[torch.Tensor]) -> None:
        super().__init__()
        self._fillings, self._alive = fillings, alive

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _IN_PLACE:
            self._note(args[0], func, args[1:], kwargs or {})
        elif func in _MADE_OF:
            self._note(made, _aten.fill_.Scalar, (_MADE_OF[func],), {})
        return made

    def _note(self, tensor: torch.Tensor, func: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if tensor.nbytes != tensor.untyped_storage().nbytes() or not tensor.is_contiguous():
            raise NotImplementedError("a part of a tensor is filled, which initial values don't follow")
        self._alive.append(tensor)
        self._fillings.append(_Filling(_key(tensor), tensor.shape, tensor.dtype, func, arguments, named))


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _key(tensor: torch.Tensor) -> int:
    """Of a tensor's memory, which views of it share."""
    return tensor.untyped_storage()._cdata
