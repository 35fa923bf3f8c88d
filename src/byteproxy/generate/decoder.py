"""A model made ready to read raw bytes: weights packed once, keys and values in memory allocated once.

B documents, N new positions of each, M of all, D width.

Two engines make passes: the model's own modules, on any device (`portable`); and on a CPU one compiled function, an
accelerator that can be switched off (`cpu.packed`). Both read each weight once a pass, whatever B x N is; so until
products cost more than reading does, which on one core of a CPU is at some eight positions, a pass of several costs
little more than a pass of one. Attention reads the keys and values of each document.
"""

from typing import Literal, Protocol, get_args

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.generate.cpu.packed import Packed
from byteproxy.generate.portable import Portable
from byteproxy.model.network import Transformer
from byteproxy.ranges import ensure_one_of

Engine = Literal["auto", "torch"]
"""Who makes passes: "auto" is the compiled engine where there is one, on a CPU; "torch" is the model's own modules."""


class _Body(Protocol):
    def move(self, last: int, document: int, count: int) -> None:
        """Copy what is kept of a document's first positions to another."""

    def take_back(self, document: int, count: int) -> None:
        """Forget all but a document's first positions."""

    def read(self, first: int, filled: list[int], symbols: list[np.ndarray]) -> torch.Tensor:
        """Hidden states [M, D] of the next symbols of documents `first` and on, of which so much has been read."""


class Decoder:
    """What a model has read of up to `documents` documents, `filled` positions of each; the first `used` are in use.

    Raw bytes and specials are plain rows of the table for every model, so no expansion is needed.
    """

    def __init__(self, model: Transformer, documents: int, positions: int, engine: Engine = "auto") -> None:
        """Room for `positions` in each document and layer; products are in the model's type, on its device.

        Raises InputError for a model whose hints stay, as no engine finds tokens while it writes.
        """
        if model.hints is not None:
            raise InputError(
                "the model reads the row of the longest token that ends at each byte: it can be scored, and can't "
                "write; train one whose scaffolding.hints.scale falls to 0"
            )
        kind = Packed if compiled(model, engine) else Portable
        self._body: _Body = kind(model, documents, positions)
        self.positions = positions
        self.filled = [0] * documents
        self.used = documents

    def drop(self, document: int) -> int:
        """Forget a document: the last one in use moves into its place. Gives the number that this one had."""
        self.used -= 1
        last, kept = self.used, self.filled[self.used]
        if last != document:
            self._body.move(last, document, kept)
        self.filled[document] = kept
        return last

    def take_back(self, document: int, count: int) -> None:
        """Let a document have read its first `count` positions only."""
        self._body.take_back(document, count)
        self.filled[document] = count

    def read_one(self, document: int, symbols_N: np.ndarray) -> torch.Tensor:
        """Hidden states [N, D] of the next symbols of one document, int64."""
        return self._read(document, [symbols_N])

    def read(self, symbols_BN: np.ndarray) -> torch.Tensor:
        """Hidden states [B, N, D] of the next symbols, int64, of all documents in use, which count as read from now on.

        Raises IndexError where they do not fit.
        """
        return self._read(0, list(symbols_BN)).unflatten(0, symbols_BN.shape)

    def read_each(self, symbols: list[np.ndarray]) -> torch.Tensor:
        """As `read`, for documents that read different numbers: [M, D], one document's after the other's."""
        return self._read(0, symbols)

    def _read(self, first: int, symbols: list[np.ndarray]) -> torch.Tensor:
        before = self.filled[first : first + len(symbols)]
        after = [one + len(own) for one, own in zip(before, symbols, strict=True)]
        if max(after) > self.positions:
            raise IndexError(f"{max(after)} positions do not fit into a cache of {self.positions}")
        hidden_MD = self._body.read(first, before, symbols)
        self.filled[first : first + len(symbols)] = after
        return hidden_MD


def compiled(model: Transformer, engine: Engine) -> bool:
    """Whether the compiled engine makes a model's passes."""
    ensure_one_of("engine", engine, get_args(Engine))
    return engine == "auto" and model.device.type == "cpu"
