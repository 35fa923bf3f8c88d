"""The passes of a training step: rows, forward, summed losses over the step's number of targets, backward.

A step's rows go through the model in micro-batches. Gradients add up over these and are summed over ranks once, after
the last one: by `parallel.sum_gradients`, or where the model is sharded, as the last backward goes through its blocks.
"""

import time
import warnings
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.mixture.batches import Part
from byteproxy.mixture.loader import Rows, Stream
from byteproxy.mixture.planner import Plan
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.hints import TokenHints
from byteproxy.model.loss import Losses
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.next_byte import NextByte
from byteproxy.model.targets import Positions, columns, targets_of
from byteproxy.progress import Stage, quietly
from byteproxy.train import compiler, parallel
from byteproxy.train.frozen_teacher import FrozenTeacher
from byteproxy.train.optim import Update
from byteproxy.train.sharding import Sharding
from byteproxy.train.teachers import both_forms_of
from byteproxy.train.train_config import TrainConfig


class StepLosses(NamedTuple):
    """What a step's rows cost, on all ranks: float64 [representations, columns] each, and the weighted sum.

    waited: seconds that this rank waited for rows. not_finite: ranks whose own sum is not finite.
    """

    nats: np.ndarray
    counts: np.ndarray
    total: float
    waited: float
    not_finite: list[int]


class Passes:
    """What this rank computes of each step."""

    def __init__(
        self,
        config: TrainConfig,
        stream: Stream,
        model: Transformer,
        update: Update,
        sharding: Sharding | None,
        next_bytes: list[NextByte],
        teacher: FrozenTeacher | None = None,
    ) -> None:
        """Let the model compile itself if that is wanted; `why_not_compiled` says why it doesn't, empty if it does."""
        self._config, self._stream, self._update, self._sharding = config, stream, update, sharding
        self._model, self._next_bytes, self.teacher = model, next_bytes, teacher
        self._device = model.device
        self._world = parallel.world()
        part = Part(self._world.rank, self._world.ranks, config.micro_sequences or None)
        self._spans = part.micro_batches(config.shape.sequences_per_step)
        self.why_not_compiled = compiler.prepare(model, config.compile, self.micro_positions, self._device)

    @property
    def micro_positions(self) -> int:
        """Positions of a full micro-batch."""
        first, last = self._spans[0]
        return (last - first) * self._config.shape.sequence_length

    def compile(self, plan: Plan, stage: Stage = quietly) -> None:
        """Make the kernels before the first step, so that no step's time has them in it; changes no weight."""
        first, last = self._spans[0]
        if not self._model.compiled_for:
            self._say_why_not_compiled()
            if first < last:  # a rank may have no row
                self._stream.rows(plan, first, last)
            return
        begins = self._update.begins(plan.step, self._config.steps)
        with stage("compile the model", "passes") as progress, warnings.catch_warnings():
            # Torch tells of what it was tracing when it was stopped, at length and like a crash.
            warnings.filterwarnings("ignore", message="Error detected in")
            for done, step in enumerate(begins):
                progress(done, len(begins))
                self._update.prepare(step, self._config.steps)
                self._pass(plan, first, last, True)
            self._update.forget_gradients()
            progress(len(begins), len(begins))

    def of_step(self, plan: Plan) -> StepLosses:
        """Forward and backward of a step; leaves the sum of all ranks' gradients at the parameters."""
        shape = self._stream.vocab.representations, len(columns(self._config.model, self._config.objective))
        sums, total, waited = np.zeros((2, *shape)), 0.0, 0.0
        for number, (first, last) in enumerate(self._spans):
            if first == last and self._sharding is None:  # a rank may have no row
                continue
            found, seconds = self._pass(plan, first, last, number == len(self._spans) - 1)
            if first < last:
                sums += np.stack([found.nats.cpu().numpy(), found.counts.cpu().numpy()])
                total += float(found.total.detach())
            waited += seconds
        if self._sharding is None:
            parallel.sum_gradients(self._model.parameters())
        else:
            self._sharding.settle_gradients(bool(plan.targets.sum()))
        here = np.zeros(self._world.ranks)
        here[self._world.rank] = not np.isfinite(total)
        summed = parallel.sum_over(np.concatenate((sums.ravel(), [total], here)))
        nats, counts = summed[: sums.size].reshape(sums.shape)
        not_finite = np.flatnonzero(summed[sums.size + 1 :]).tolist()
        return StepLosses(nats, counts, float(summed[sums.size]), waited, not_finite)

    def _pass(self, plan: Plan, first: int, last: int, is_last: bool) -> tuple[Losses, float]:
        """Forward and backward of some rows; gives their losses, and the seconds that rows were waited for.

        is_last: of the step, after which gradients of sharded weights are summed.
        """
        counted = first < last
        if not counted:  # of a sharded model each rank makes each pass, and this one counts nothing
            first, last = 0, 1
        begin = time.perf_counter()
        rows = self._stream.rows(plan, first, last)
        waited = time.perf_counter() - begin
        try:
            if self._sharding is None:
                return self._rows_passed(rows, plan), waited
            self._sharding.before_pass(is_last)
            with parallel.noticing_losses():
                return self._rows_passed(rows, plan, counted), waited
        except Exception as error:
            if not self._model.compiled_for or not compiler.is_failure(error):
                raise
            if self._sharding is not None:  # the others wait in the middle of the pass
                raise InputError(f"torch.compile failed ({type(error).__name__}): let compile be false") from error
            self._model.compiled_for = 0
            self.why_not_compiled = f"torch.compile failed ({type(error).__name__}), going on without"
            self._say_why_not_compiled()
            self._update.forget_gradients()  # of the pass that failed, the first one of all
            return self._rows_passed(rows, plan), waited

    def _rows_passed(self, rows: Rows, plan: Plan, counted: bool = True) -> Losses:
        found = self.losses(rows, plan.step)
        if found.total.requires_grad:  # else none of these rows holds a target
            (found.total / max(1, int(plan.targets.sum())) if counted else 0.0 * found.total).backward()
        return found

    def losses(self, rows: Rows, step: int) -> Losses:
        """The summed losses of some rows of a step."""
        expansion = None
        if rows.expanded is not None:
            expansion = ByteExpansion(*(torch.from_numpy(one).to(self._device) for one in rows.expanded))
        symbols_N, targets_N, representations_N = (
            torch.from_numpy(one).to(self._device) for one in (rows.symbols, rows.targets, rows.representations)
        )
        config = self._config
        causal = config.objective.distill_form == "causal"
        both = both_forms_of(rows, self._next_bytes, self._device, self._stream.vocab, causal)
        shown = Positions(symbols_N, targets_N, representations_N.long(), expansion, both)
        targets = targets_of(config.model, shown, self._stream.vocab, config.objective, step / config.steps)
        if self.teacher is not None:
            targets = self.teacher.teaching(targets, rows, symbols_N)
        hints = None if rows.hints is None else TokenHints.of(rows.hints, self._device)
        found: Losses = self._model(Batch(symbols_N, layout_of(rows.lengths, self._device), targets, expansion, hints))
        return found

    def _say_why_not_compiled(self) -> None:
        if self.why_not_compiled and self._world.rank == 0:
            say(f"not compiled: {self.why_not_compiled}")
