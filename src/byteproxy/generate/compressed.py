"""A run, not an export, writes a compressed view: a translation of raw text, or an answer beside the raw one.

C choices: the two ways to end, then the view's symbols. Segments stand as in training: `<raw> bytes </raw>` and then
what the model makes of it behind `<compressed>`, or the prompt itself as the view writes it behind `<compressed>`, and
on from there. Symbols are chosen as bytes are (`choice`), one a pass; a lossless view then says which bytes they stand
for, a fuzzy one which strings each may stand for. Costs a pass of the decoder a symbol, and all rows of the view, which
are packed once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.generate.choice import Noise, Sampling, chosen
from byteproxy.generate.cpu.product import Matrix
from byteproxy.generate.decoder import Decoder, Engine, compiled
from byteproxy.model.network import Transformer
from byteproxy.views.base import View
from byteproxy.views.neural_view import NeuralView
from byteproxy.vocab import EOS, RAW, Vocab, byte_ids, closing, opening

Task = Literal["translate", "continue"]
MAX_STRINGS = 8


@dataclass(frozen=True)
class Segment:
    """What was written in a view.

    symbols: int64, below the view's alphabet. text: the bytes that they stand for; None if the view can't say, because
    it is fuzzy or they are no text of it. strings: of a fuzzy view, up to 8 strings that each symbol may stand for;
    None of others, and where a symbol is no more than a part of a window.
    ended: "model" or "budget".
    """

    symbols: np.ndarray
    text: bytes | None
    strings: list[list[bytes]] | None
    ended: str


class _Reading(NamedTuple):
    """Ids that are read before the first symbol is written, and in which representation that is."""

    ids: np.ndarray
    representation: int


class ViewWriter:
    """Writes with a model that reads and predicts the symbols of its views by rows of their own."""

    def __init__(self, model: Transformer, views: list[View], context: int, engine: Engine = "auto") -> None:
        """views: all that the model was trained with, in its order. context: bytes of its longest segment.
        engine: see `decoder`.

        Raises InputError for a model that has no rows for them.
        """
        self.vocab = Vocab(tuple(view.alphabet_size for view in views))
        if model.config.composed or len(model.embed_tokens.weight) < self.vocab.size:
            raise InputError(
                "this model reads compressed text by its bytes and has no rows for symbols, so it can't read what it "
                "writes: give a run with model.inputs symbols"
            )
        if len(model.lm_head.weight) < self.vocab.size:
            raise InputError("this model predicts no symbols: give a run with objective.symbols above 0")
        self._model, self._views, self.context, self._engine = model, views, context, engine
        self._rows: dict[int, Matrix] = {}
        self._decoder: Decoder | None = None

    def write(
        self, prompt: bytes, view: str, task: Task, most: int, sampling: Sampling | None = None, number: int = 0
    ) -> Segment:
        """The prompt translated into a view, or continued in it.

        most: symbols at most; more than the context has bytes are never written, as no segment was ever longer.
        number: of the prompt, which with the seed decides the noise.
        Raises InputError for a view that the model doesn't have, a prompt that doesn't fit, and a negative budget.
        """
        symbols = np.array(list(self.stream(prompt, view, task, most, sampling, number)), np.int64)
        ended = "model" if len(symbols) < min(most, self.context) else "budget"
        return _segment(next(one for one in self._views if one.name == view), symbols, ended)

    def stream(
        self, prompt: bytes, view: str, task: Task, most: int, sampling: Sampling | None = None, number: int = 0
    ) -> Iterator[int]:
        """The same symbol by symbol; those that were not written when it stops the model ended."""
        sampling = Sampling() if sampling is None else sampling
        if sampling.utf8:
            raise InputError("utf8 is for raw bytes, and symbols are written here: leave it out")
        if most < 0:
            raise InputError(f"cannot write {most} symbols: give 0 or more")
        yield from self._written(self._read(prompt, view, task), min(most, self.context), sampling, number)

    def _read(self, prompt: bytes, view: str, task: Task) -> _Reading:
        names = [one.name for one in self._views]
        if view not in names:
            raise InputError(f"the run has no view {view!r}: name {' or '.join(names) or 'a run that has views'}")
        if len(prompt) > self.context:
            raise InputError(f"the prompt has {len(prompt)} bytes: give at most {self.context}, the run's context")
        representation = 1 + names.index(view)
        if task == "translate":
            ids = [opening(RAW), *byte_ids(prompt), closing(RAW), opening(representation)]
        else:
            symbols = self._views[representation - 1].encode(prompt).symbols.astype(np.int64)
            ids = [opening(representation), *(symbols + self.vocab.first_id(representation))]
        return _Reading(np.array(ids, np.int64), representation)

    @torch.inference_mode()
    def _written(self, read: _Reading, most: int, sampling: Sampling, number: int) -> Iterator[int]:
        choices = [closing(read.representation), EOS, *self.vocab.symbol_ids(read.representation)]
        if read.representation not in self._rows:
            rows = self._model.lm_head.weight[choices].to(self._model.dtype)
            self._rows[read.representation] = Matrix(rows, compiled(self._model, self._engine))
        logits = self._rows[read.representation]
        noise, cap = Noise(sampling.seed, number, len(choices)), self._model.config.soft_cap
        decoder, fresh = self._opened(len(read.ids) + most), read.ids
        for place in range(most):
            logit_1C = logits(decoder.read_one(0, fresh)[-1:]).float().cpu().numpy()
            drawn_1C = noise.at(place, 1) if sampling.temperature else None
            (best,), _ = chosen(logit_1C, sampling, drawn_1C, soft_cap=cap)
            if best < 2:
                break
            fresh = np.array([choices[best]])
            yield best - 2
        self._decoder = decoder

    def _opened(self, positions: int) -> Decoder:
        """A decoder that has read nothing and has so much room; the memory and packed weights of an earlier one."""
        # Taken while it is used: two streams that are read in turns have two.
        decoder, self._decoder = self._decoder, None
        if decoder is None or decoder.positions < positions:
            return Decoder(self._model, 1, positions, self._engine)
        decoder.take_back(0, 0)
        return decoder


def _segment(view: View, symbols: np.ndarray, ended: str) -> Segment:
    if isinstance(view, NeuralView):
        strings = [view.strings_of(symbol)[:MAX_STRINGS] for symbol in symbols.tolist()]
        return Segment(symbols, None, strings if view.about.parts == 1 else None, ended)
    try:
        return Segment(symbols, view.decode(symbols), None, ended)
    except ValueError:
        return Segment(symbols, None, None, ended)
