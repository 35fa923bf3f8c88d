"""Passes over a model by its own modules, on any device and in any type.

B documents, N new positions, M = B x N, D width. Training casts weights at every step, which for one new position costs
more than the products; here they are cast once, in a copy of the model that shares its tables.
"""

import copy

import numpy as np
import torch

from byteproxy.model.decoding import Documents
from byteproxy.model.linear import Linear, Norm
from byteproxy.model.network import Transformer


class Portable(Documents):
    """What a model has read of documents, and passes over it, on any device and in any type."""

    def __init__(self, model: Transformer, documents: int, positions: int) -> None:
        self._model = _cast(model)
        super().__init__(self._model, documents, positions)

    def read(self, first: int, filled: list[int], symbols: list[np.ndarray]) -> torch.Tensor:
        """Hidden states [M, D] of the next symbols of documents `first` and on, of which so much has been read.

        All documents read as many positions as the longest; a shorter one takes back what it reads too much.
        """
        counts = [len(one) for one in symbols]
        count = max(counts)
        if max(filled) + count > self.positions and len(symbols) > 1:
            parts = (self.read(first + at, [filled[at]], [own]) for at, own in enumerate(symbols))
            return torch.cat(list(parts))
        padded_BN = np.zeros((len(symbols), count), np.int64)
        for row_N, one in zip(padded_BN, symbols, strict=True):
            row_N[: len(one)] = one
        hidden_MD = self._model.read(*self.step(first, filled, torch.from_numpy(padded_BN).to(self._model.device)))
        if min(counts) == count:
            return hidden_MD
        for at, own in enumerate(counts):
            self.take_back(first + at, filled[at] + own)
        hidden_BND = hidden_MD.unflatten(0, padded_BN.shape)
        return torch.cat([hidden_ND[:own] for hidden_ND, own in zip(hidden_BND, counts, strict=True)])


def _cast(model: Transformer) -> Transformer:
    """The model with the weights of its layers in the type of its products; itself where they are."""
    modules = [one for one in model.modules() if isinstance(one, Linear | Norm)]
    products = {id(weight): weight for one in modules for weight in one.parameters()}
    if all(weight.dtype == model.dtype for weight in products.values()):
        return model
    shared = {id(one): one for one in model.parameters() if id(one) not in products}
    cast = {
        key: torch.nn.Parameter(weight.detach().to(model.dtype), requires_grad=False)
        for key, weight in products.items()
    }
    return copy.deepcopy(model, {**shared, **cast})
