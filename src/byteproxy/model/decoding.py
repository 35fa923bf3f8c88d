"""The decoding state of a network: of documents side by side, or of texts that share their beginnings.

B documents, N new positions of each, M = B x N, T positions that fit, K kept prefixes. Prefixes have one length, and
what none of them needs is dropped; histories have any lengths, and nothing is dropped. Keys and values are kept by each
layer's own attention, in the memory that it made (`attention.packed`). This module says which text has which positions
of it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.model.attention.packed import KeyValues, Step, rotation
from byteproxy.model.embedding import NgramEnds
from byteproxy.model.network import Transformer


class Documents:
    """Documents side by side, each with room for T positions, allocated once. Rotations are a table."""

    def __init__(self, model: Transformer, documents: int, positions: int) -> None:
        """Products are in the model's type, on its device."""
        self.positions, device = positions, model.device
        self._states = model.new_states(documents, positions)
        self._symbols_BT = torch.zeros((documents, positions), dtype=torch.int64, device=device)
        self._place_T = torch.arange(positions, device=device)
        self._cos_T1E, self._sin_T1E = rotation(model.config, self._place_T, model.dtype)

    def move(self, last: int, document: int, count: int) -> None:
        """Copy what is kept of a document's first positions to another."""
        for state in self._states:
            state.move(last, document, count)
        self._symbols_BT[document, :count] = self._symbols_BT[last, :count]

    def take_back(self, document: int, count: int) -> None:
        """Forget all but a document's first positions."""
        for state in self._states:
            state.take_back(document, count)

    def step(self, first: int, filled: list[int], new_BN: torch.Tensor) -> tuple[Step, NgramEnds]:
        """How documents `first` and on, of which so much has been read, read these symbols next.

        The mask is made once, for all layers, and not at all for one new position in documents of the same length.
        """
        rows, count = slice(first, first + len(filled)), new_BN.shape[1]
        total = max(filled) + count
        level = min(filled) == max(filled)
        write: tuple[slice | torch.Tensor, ...]
        if level:
            place_BN = self._place_T[filled[0] : total].expand(len(filled), count)
            write = (rows, slice(filled[0], total))
        else:
            place_BN = torch.tensor(filled, device=new_BN.device)[:, None] + self._place_T[:count]
            write = (torch.arange(rows.start, rows.stop, device=new_BN.device)[:, None], place_BN)
        self._symbols_BT[write] = new_BN
        mask = self._place_T[:total] <= place_BN[:, None, :, None] if count > 1 or not level else None
        place_M = place_BN.flatten()
        turn = self._cos_T1E[place_M], self._sin_T1E[place_M]
        read = (rows, slice(0, total))
        step = Step(new_BN.flatten(), *turn, self._states, (len(filled), count), write, read, mask)
        begin_B1 = torch.arange(rows.start, rows.stop, device=new_BN.device)[:, None] * self.positions
        return step, NgramEnds(self._symbols_BT.flatten(), (begin_B1 + place_BN).flatten(), place_M)


class Prefixes(NamedTuple):
    """Prefixes of one length T, each continued by some of the next ones: what they share is kept once.

    states: of each layer, K positions of all prefixes. at_BT: int64, which of these each prefix consists of.
    """

    states: list[KeyValues]
    at_BT: torch.Tensor

    @classmethod
    def none(cls, model: Transformer) -> "Prefixes":
        """The one prefix that is empty."""
        return cls(model.new_states(0, 1), torch.zeros((1, 0), dtype=torch.int64, device=model.device))

    def longer(self, model: Transformer, rows_N: torch.Tensor, symbols_N: torch.Tensor) -> tuple["Prefixes", Step]:
        """Prefixes `rows_N` of these with a symbol more, and how it is read; what none of them has is dropped."""
        count, length = len(symbols_N), self.at_BT.shape[1]
        kept_K, at_NT = torch.unique(self.at_BT[rows_N], return_inverse=True)
        states = [state.grown(kept_K, count) for state in self.states]
        own_N = torch.arange(len(kept_K), len(kept_K) + count, device=symbols_N.device)
        at_NT = torch.cat((at_NT.view(count, length), own_N[:, None]), 1)
        cos_N1E, sin_N1E = rotation(model.config, torch.full_like(symbols_N, length), model.dtype)
        write = (slice(len(kept_K), len(kept_K) + count),)
        step = Step(symbols_N, cos_N1E, sin_N1E, states, (count, 1), write, (at_NT, 0), None)
        return Prefixes(states, at_NT), step


class Histories:
    """Sequences of any lengths, each continued in any ways: what they share is kept once, and nothing is dropped."""

    def __init__(self, model: Transformer, positions: int) -> None:
        """Room for `positions` of all histories together, to begin with. For models that read no n-grams."""
        self._model, self._states, self._size, self._used = model, model.new_states(positions, 1), positions, 0

    def longer(self, before: Sequence[np.ndarray], symbols: Sequence[int]) -> tuple[list[np.ndarray], Step]:
        """N histories with a symbol more, and how it is read.

        before: which of the kept positions each consists of, int64 [length]; empty for none. Gives the same with more.
        """
        model, count = self._model, len(symbols)
        if self._used + count > self._size:
            more = max(count, self._size)
            kept = torch.arange(self._size, device=model.device)
            self._states, self._size = [one.grown(kept, more) for one in self._states], self._size + more
        own = np.arange(self._used, self._used + count)
        self._used += count
        after = [np.append(one, number) for one, number in zip(before, own.tolist(), strict=True)]
        lengths = np.array([len(one) for one in after])
        at_NT = np.repeat(own[:, None], lengths.max(), 1)
        for row_T, one in zip(at_NT, after, strict=True):
            row_T[: len(one)] = one
        mask_NT = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(model.device)
        turn = rotation(model.config, torch.from_numpy(lengths - 1).to(model.device), model.dtype)
        symbols_N = torch.tensor(symbols, device=model.device)
        write, read = (slice(int(own[0]), int(own[0]) + count),), (torch.from_numpy(at_NT).to(model.device), 0)
        return after, Step(symbols_N, *turn, self._states, (count, 1), write, read, mask_NT[:, None, None])
