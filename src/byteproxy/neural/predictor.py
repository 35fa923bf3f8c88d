"""A byte-level transformer as the neural view's predictor: counts of the next byte after any prefix of a window.

Counts decide symbols, so a prefix needs the same counts whatever else is in its batch. Matrix products differ: other
shapes add up in another order. In float32 that moves a probability by 1e-7 or so and one count in some tens of prefixes
by 1, which shifts every symbol behind it. So the trained weights are read as float64, and everything is computed in it:
shapes then change 1e-15, and a count changes once in 1e10 prefixes or so.
`benchmarks/neural.py` counts it.

Keys and values are the network's own decoding state (`model.decoding.Prefixes`): of every prefix once, so that a prefix
of d bytes costs one position and the gathering of d keys. What no waiting prefix descends from is dropped. Memory of a
block of n prefixes: 16 x layers x width bytes for each distinct beginning of them, and the same times n x d for a layer
while it is computed.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256

import numpy as np
import safetensors.torch
import torch

from byteproxy.config import from_values
from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of, length_batches
from byteproxy.model.decoding import Prefixes
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.parsing import parse_json
from byteproxy.views.artefact import in_order, metadata_of
from byteproxy.views.coder import counts_of
from byteproxy.vocab import BYTES, FIRST_BYTE, FIRST_SYMBOL, RAW, byte_ids, opening

_SENTINEL = opening(RAW)


class ModelPredictor:
    """A model that predicts the next byte of a window, and a `Grower` of the tree of windows."""

    def __init__(self, model: Transformer, precision: int = 16) -> None:
        """model: any that reads raw bytes; it is copied. InputError for one with options that a tree can't follow."""
        config = model.config
        if config.ngrams or config.value_embeddings or config.composed:
            raise InputError("the predictor's model has n-grams, value embeddings or composed inputs: use a plain one")
        self.config, self.precision = replace(config, byte_heads=1, byte_head_ngrams=(), symbol_heads=1), precision
        self._weights = {name: tensor.detach().float().cpu() for name, tensor in _raw_part(model).items()}
        self._model = _made(self.config, self._weights, torch.float64)
        self._ids_B = torch.arange(FIRST_BYTE, FIRST_BYTE + BYTES)

    @property
    def fingerprint(self) -> str:
        """A hash of shape, weights and the precision of counts."""
        said = {name: value for name, value in asdict(self.config).items() if name != "byte_head_ngrams"}  # never any
        digest = sha256(f"byteproxy predictor {self.precision} {json.dumps(said)}\n".encode())
        for name, tensor in sorted(self._weights.items()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode() + tensor.numpy().tobytes())
        return digest.hexdigest()

    @property
    def parameters(self) -> int:
        """Parameters that reading and writing raw bytes takes."""
        return self.config.raw_parameters()

    def model(self, dtype: torch.dtype) -> Transformer:
        """The model in another type of activations, its weights in float32."""
        return _made(self.config, self._weights, dtype)

    def to_bytes(self) -> bytes:
        """Shape and weights as a safetensors file, the same for the same model."""
        metadata = {"config": json.dumps(asdict(self.config)), "precision": str(self.precision)}
        return in_order(safetensors.torch.save(self._weights, metadata))

    @classmethod
    def from_bytes(cls, content: bytes) -> "ModelPredictor":
        """What `to_bytes` wrote; InputError where it can't be read."""
        try:
            metadata = metadata_of(content)
            known = parse_json(metadata["config"])
            config = from_values({**known, "ngrams": (), "byte_head_ngrams": ()}, ModelConfig, "its shape")
            weights = safetensors.torch.load(content)
            if config.raw_parameters() > sum(tensor.numel() for tensor in weights.values()):
                raise ValueError("its shape has more parameters than it holds")
            return cls(_made(config, weights, torch.float32), int(metadata["precision"]))
        except Exception as error:  # safetensors raises an exception of its own for each kind of damage
            raise InputError(f"the predictor is cut off or damaged ({error}): train it anew") from error

    @torch.no_grad()
    def counts(self, prefixes: Sequence[bytes]) -> np.ndarray:
        """For each prefix 256 counts that sum to 2^precision: int64 [n, 256]; each is read from its first byte on."""
        found, first = np.empty((len(prefixes), BYTES), np.int64), np.array([_SENTINEL])
        lengths = np.array([1 + len(prefix) for prefix in prefixes], np.int64)
        for own in length_batches(lengths):
            ids = [part for at in own.tolist() for part in (first, byte_ids(prefixes[at]))]
            hidden_ND = self._model.hidden(torch.from_numpy(np.concatenate(ids)), layout_of(lengths[own]))
            found[own] = self._counts(hidden_ND[torch.from_numpy(np.cumsum(lengths[own]) - 1)])
        return found

    def begin(self) -> tuple[Prefixes, np.ndarray]:
        """The empty prefix: what is remembered of it, and its counts [1, 256]."""
        return self._read(Prefixes.none(self._model), torch.zeros(1, dtype=torch.int64), torch.tensor([_SENTINEL]))

    def grow(self, memory: Prefixes, rows: np.ndarray, bytes_: np.ndarray) -> tuple[Prefixes, np.ndarray]:
        """Prefixes `rows` [n] of a memory, each longer by a byte: what is remembered of them, and counts [n, 256]."""
        return self._read(memory, torch.from_numpy(rows), torch.from_numpy(bytes_.astype(np.int64)) + FIRST_BYTE)

    @torch.no_grad()
    def _read(self, memory: Prefixes, rows_N: torch.Tensor, ids_N: torch.Tensor) -> tuple[Prefixes, np.ndarray]:
        longer, step = memory.longer(self._model, rows_N, ids_N)
        return longer, self._counts(self._model.read(step))

    def _counts(self, hidden_ND: torch.Tensor) -> np.ndarray:
        logit_NB = self._model.lm_head.logits(hidden_ND, self._ids_B)
        return counts_of(logit_NB.softmax(-1).numpy(), self.precision)


def _raw_part(model: Transformer) -> dict[str, torch.Tensor]:
    """Weights, tables cut to the rows of specials and bytes."""
    tables, further = ("embed_tokens.weight", "lm_head.weight"), ("byte_heads.", "head_ngram_bias.", "symbol_heads.")
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(further)}
    return {name: tensor[:FIRST_SYMBOL].clone() if name in tables else tensor for name, tensor in state.items()}


def _made(config: ModelConfig, weights: dict[str, torch.Tensor], dtype: torch.dtype) -> Transformer:
    model = Transformer(config, FIRST_SYMBOL, dtype)
    model.load_state_dict(weights)
    return (model.double() if dtype == torch.float64 else model).eval().requires_grad_(False)
