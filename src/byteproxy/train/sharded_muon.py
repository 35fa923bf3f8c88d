"""Muon for matrices of which each process holds some rows: every matrix has an owner, which orthogonalises it.

Momenta stay where the rows are, float32. What they look ahead to goes to the owners, in the type that products have; an
owner puts each of its matrices together, orthogonalises them as `muon.py` does, and sends each process its rows of the
result. These are two exchanges for each stack, of all its matrices once. Owners take turns over all stacks, so no
process works more than one matrix ahead of another. Copies of the model on other processes do the same work beside
each other. The idea is that of Liu et al. 2025 (arXiv 2502.16982) and of Dion's code (microsoft/dion).

A matrix moves as in one process up to the rounding of batched products, as other matrices may share its stack.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist

from byteproxy.train import muon
from byteproxy.train.muon import Muon, orthogonalised_each
from byteproxy.train.parallel import exchanged
from byteproxy.train.sharding import rows_of


class ShardedMuon(Muon):
    """Muon for parameters [own rows, columns] of matrices that a group of processes holds together.

    Their gradients are there on all of the group's processes or on none, and all take each step.
    """

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float,
        weight_decay: float,
        momentum: float,
        dtype: torch.dtype,
        shapes: dict[torch.Tensor, torch.Size],
        group: dist.ProcessGroup,
    ) -> None:
        """shapes: of the matrix behind each parameter. group: in it, rows stand in the order of its processes."""
        self._shapes, self._group = shapes, group
        self._rank, self._shards = dist.get_rank(group), dist.get_world_size(group)
        self._turn = 0
        super().__init__(params, lr, weight_decay, momentum, dtype)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        self._turn = 0
        return super().step(closure)

    def _shape(self, parameter: torch.Tensor) -> torch.Size:
        return self._shapes[parameter]

    def _stack_bytes(self) -> int:
        return self._shards * muon.STACK_BYTES

    def _orthogonalised(self, parameters: list[torch.Tensor], ahead: list[torch.Tensor]) -> list[torch.Tensor]:
        shards, each = range(self._shards), range(len(ahead))
        owned = [[n for n in each if (self._turn + n) % self._shards == rank] for rank in shards]
        self._turn += len(ahead)
        parts = [part.to(self._dtype) for part in ahead]
        mine = [self._shapes[parameters[n]] for n in owned[self._rank]]
        rows = [[rows_of(shape, rank, self._shards) for shape in mine] for rank in shards]
        shapes: list[list[tuple[int, ...]]] = [
            [(len(own), shape[1]) for own, shape in zip(of, mine, strict=True)] for of in rows
        ]
        came = exchanged([[parts[n] for n in numbers] for numbers in owned], shapes, self._dtype, self._group)
        whole = [torch.cat(pieces) for pieces in zip(*came, strict=True)]
        done = orthogonalised_each(whole, self._dtype) if whole else []
        sent = [[one[own.start : own.stop] for one, own in zip(done, of, strict=True)] for of in rows]
        shapes = [[tuple(parts[n].shape) for n in numbers] for numbers in owned]
        back = exchanged(sent, shapes, self._dtype, self._group)
        moves = dict(zip(chain(*owned), chain(*back), strict=True))
        return [moves[n] for n in each]
