"""A frozen teacher: the model that a run begins with, as it was, says what raw positions learn of the next byte.

It is one more network of the published model's shape, in the type of the run's products, and no part of the one that
learns: optimizers, checkpoints and what comes out don't know it. With LoRA the model's own weights stay, so they are
the teacher, too, and nothing is held twice. Else it is made of the published model whenever training begins or goes on,
and `start_from` refuses another model than the one that the run began with.

It reads what rows show in both forms as symbols, once a pass and without gradient: a forward pass of these documents,
which the formula prices (`flops.distillation_flops`).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Rows
from byteproxy.model.attention.layout import Kept, layout_of
from byteproxy.model.distillation import Contexts, Distilled, TeacherStates
from byteproxy.model.network import Transformer
from byteproxy.model.targets import Softmax, Targets
from byteproxy.train.compiler import TORCH_DTYPES
from byteproxy.train.train_config import Start, TrainConfig
from byteproxy.vocab import Vocab

StartFrom = Callable[[Transformer, Vocab, Start], None]
"""Gives a model the weights of the one that a run begins with; InputError where that is not there or is another."""


class FrozenTeacher:
    """The model that a run began with, which teaches another one and learns nothing."""

    def __init__(self, model: Transformer) -> None:
        """model: of the run's vocabulary."""
        self.model = model.requires_grad_(False).eval()

    @classmethod
    def of(
        cls, config: TrainConfig, learner: Transformer, vocab: Vocab, start_from: StartFrom | None
    ) -> "FrozenTeacher":
        """The teacher of a run, on the device of the model that learns.

        InputError where the model that the run began with can't be had.
        """
        with torch.device("meta"):  # no weight is drawn, so none that the run draws is another
            dtype = TORCH_DTYPES[config.dtype]
            model = Transformer(config.model.stock_shape, vocab.size, dtype, backend=config.attention)
        if config.lora.rank:
            staying = learner.state_dict()
            model.load_state_dict({name: staying[name] for name in model.state_dict()}, assign=True)
            return cls(model)
        if start_from is None:
            raise InputError(
                f'objective.distill_teacher is "frozen", and only `byteproxy train` has the model {config.start.path} '
                'that would teach: let the teacher be "own"'
            )
        model = model.to_empty(device="cpu")
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
        start_from(model, vocab, replace(config.start, byte_rows="single"))
        table = model.embed_tokens.weight
        assert isinstance(table, torch.nn.Parameter)
        if torch.equal(table, model.lm_head.weight):  # as in the published model, which has one
            model.lm_head.weight = table
        return cls(model.to(learner.device, dtype))

    @torch.no_grad()
    def teaching(self, targets: Targets, rows: Rows, symbols_N: torch.Tensor) -> Targets:
        """Targets in which whatever is distilled is what this model says of it.

        rows, symbols_N: that the targets are of, the latter on the device.
        """
        if rows.both is None or not len(rows.both.symbol):
            return targets
        shown = np.zeros(len(rows.lengths), bool)
        shown[np.searchsorted(np.cumsum(rows.lengths), rows.both.symbol, side="right")] = True
        shown_N = np.repeat(shown, rows.lengths)
        places = _Places(np.cumsum(shown_N) - 1, symbols_N.device)
        layout = layout_of(rows.lengths[shown], symbols_N.device)
        softmaxes = [places.in_softmax(one) for one in targets.softmaxes]
        after = [one.contexts.after for one in _distilled(softmaxes) if one.contexts is not None]
        if sum(map(len, after)):
            layout = replace(layout, kept=Kept(layout, np.concatenate(after), self.model.config.layers))
        hidden_PD = self.model.hidden(symbols_N[torch.from_numpy(np.flatnonzero(shown_N)).to(symbols_N.device)], layout)
        branches = None if layout.kept is None else partial(self.model.branch_states, layout.kept)
        found = list[Softmax]()
        for one in softmaxes:
            if isinstance(one.entries, Distilled):
                rows_RD = self.model.lm_head.symbol_rows(one.rows[1:], hidden_PD.dtype)
                states = TeacherStates(hidden_PD, rows_RD)
                one = one._replace(entries=one.entries._replace(states=states, branch_states=branches))
            found.append(one)
        return targets._replace(softmaxes=found)


class _Places:
    """Where positions of rows stand among those that the teacher reads."""

    def __init__(self, place_N: np.ndarray, device: torch.device) -> None:
        self._host_N, self._place_N = place_N, torch.from_numpy(place_N).to(device)

    def in_softmax(self, one: Softmax) -> Softmax:
        """The same, with teachers' positions as the teacher counts them."""
        if not isinstance(one.entries, Distilled):
            return one
        contexts = one.entries.contexts
        moved = None if contexts is None else self._in_contexts(contexts)
        return one._replace(entries=one.entries._replace(teacher=self._place_N[one.entries.teacher], contexts=moved))

    def _in_contexts(self, contexts: Contexts) -> Contexts:
        return contexts._replace(position=self._place_N[contexts.position], after=self._host_N[contexts.after])


def _distilled(softmaxes: list[Softmax]) -> list[Distilled]:
    return [one.entries for one in softmaxes if isinstance(one.entries, Distilled)]
