"""The training loop.

One optimizer step: plan, then for each micro-batch rows, forward, summed losses over the step's number of targets and
backward; gradients summed over ranks, judged, clipped, update. Everything that decides the weights is in the
configuration, the seed and the store; stopping and going on changes nothing, because the state is a checkpoint's
tensors and the stream's few integers.

Lines of the metrics: see `Averages.line` for what is averaged since the last one, `Counters.so_far` for what is counted
since the start; `memory_mb` is the peak. A step that was not taken has a line of its own with `skipped`, and what there
is to know about it in `skipped/`. All ranks train; rank 0 writes.

A run is killed at any moment and goes on as if it had not been, as nothing is written that promises what is not there:
the folder's lock is taken first, then `config.toml` appears, which names a start with its checksums, then the
checkpoint of step 0 if there is a start, then the log. Without a checkpoint a run begins again, from its seed or start.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.lock import Hold
from byteproxy.mixture.batches import Part
from byteproxy.mixture.loader import Rows, Stream
from byteproxy.mixture.planner import Plan, State
from byteproxy.model import attention
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.hints import HintTokens, TokenHints
from byteproxy.model.lora import adapt, plain_parameters
from byteproxy.model.loss import Losses
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.targets import Positions, columns, targets_of
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.store.store import Store
from byteproxy.train import checkpoint, compiler, parallel
from byteproxy.train.allocator import give_back_freed_memory, keep_freed_memory
from byteproxy.train.counters import Averages, Counters
from byteproxy.train.flops import matmul_rate, step_flops
from byteproxy.train.frozen_teacher import FrozenTeacher, StartFrom
from byteproxy.train.guard import Guard
from byteproxy.train.identity import ensure_same_run, identity
from byteproxy.train.interrupt import Interrupt
from byteproxy.train.memory import ensure_fits, peak_megabytes
from byteproxy.train.optim import Update
from byteproxy.train.parallel import held
from byteproxy.train.run_config import CHECKPOINTS, write_run_config
from byteproxy.train.run_log import RunLog, ensure_none
from byteproxy.train.teachers import both_forms_of, next_bytes_of
from byteproxy.train.train_config import TrainConfig, ensure_units
from byteproxy.vocab import FIRST_SYMBOL

Validate = Callable[[Transformer], dict[str, Any]]


def stream_of(config: TrainConfig, store: Store, progress: Progress = silent) -> Stream:
    """The training stream of a run."""
    return Stream(
        store,
        config.views,
        config.mixture,
        config.shape,
        config.seed,
        config.steps,
        progress,
        composed=config.model.composed,
        expanded=config.objective.needs_expansion(config.model),
        both=config.objective.distill > 0,
        hints=config.scaffolding.hints,
    )


def model_of(config: TrainConfig, symbols: int) -> Transformer:
    """The model of a run, with random weights; rows for a view's symbols only where symbols are read or predicted.

    symbols: of the vocabulary.
    """
    model = Transformer(
        config.model,
        FIRST_SYMBOL if config.model.composed else symbols,
        compiler.TORCH_DTYPES[config.dtype],
        output_vocab=symbols if config.objective.symbols else FIRST_SYMBOL,
        backend=config.attention,
    )
    model.checkpointing = config.activation_checkpointing
    if config.lora.rank:
        adapt(model, config.lora)
    return model


class Trainer:
    """A run in a folder: `config.toml`, `metrics.jsonl`, `checkpoints/`."""

    def __init__(
        self,
        config: TrainConfig,
        store: Store,
        folder: Path,
        stage: Stage = quietly,
        start_from: StartFrom | None = None,
    ) -> None:
        """Build the model, or take up the folder's newest checkpoint; nothing is written yet.

        config: with its steps and dtype said (`budget.resolved`).
        start_from: loads `config.start`, where there is one and no checkpoint yet, and as a frozen teacher.
        stage: shows the corpus being verified (in bytes: all of it the first time, later only what was written to), and
            its passages being found, which is done once.
        Raises InputError if the folder holds a run of another configuration or corpus, if the corpus was altered, or if
        the run does not fit into this machine's memory.
        """
        self.config, self.folder = config, folder
        ensure_fits(config, store.manifest)
        self.device = compiler.device_of(config.device)
        attention.backend(config.attention, self.device, compiler.TORCH_DTYPES[config.dtype])
        with stage("verify the corpus", "B") as progress:
            store.ensure_unaltered(progress)
        with stage("find passages", "passages") as progress:
            self.stream = stream_of(config, store, progress)
        ensure_units(config, store.manifest)
        self.next_bytes = next_bytes_of(config, store, self.device)
        self.world = parallel.world()
        part = Part(self.world.rank, self.world.ranks, config.micro_sequences or None)
        self._spans = part.micro_batches(config.shape.sequences_per_step)
        torch.manual_seed(config.seed)
        self.model = model_of(config, self.stream.vocab.size).to(self.device)
        self.update = Update(self.model, config.optim, config.objective.heads_detached)
        self.state, self.counters = State(), Counters()
        self.averages = Averages(["raw", *config.views], columns(config.model, config.objective))
        self.guard = Guard(config.optim.spike, config.optim.max_skips)
        self._identity = {"config": identity(config), "corpus": store.manifest.fingerprint_for(config.views)}
        hints = config.scaffolding.hints
        if hints.share:
            view = self.stream.hinted_view  # what has no tokens is refused here
            self.model.hints = HintTokens.of(view, hints.scale.start).to(self.device) if hints.stay else None
        found = checkpoint.newest_of_rank_zero(folder / CHECKPOINTS)
        self._is_saved = found is not None
        if found is not None:
            self._load_state(found)
        elif config.start.path:
            if start_from is None:
                raise InputError(
                    f"start is {config.start.path}, and only `byteproxy train` begins with a model: leave it out"
                )
            start_from(self.model, self.stream.vocab, config.start)
        self.teacher: FrozenTeacher | None = None
        if config.objective.frozen_teacher and self.state.step < config.steps:
            self.teacher = FrozenTeacher.of(config, self.model, self.stream.vocab, start_from)
        self._settle()
        self.why_not_compiled = compiler.prepare(self.model, config.compile, self._micro_positions(), self.device)
        self._stop_wanted = False
        self._log = RunLog(folder)

    def _settle(self) -> None:
        """Let the model count its n-grams as it should after the steps so far."""
        fading, progress = self.config.scaffolding.ngrams, self.state.step / self.config.steps
        self.model.scale_ngrams(fading.at(progress), learn=not fading.falls(progress))

    def _load_state(self, found: Path) -> None:
        saved = checkpoint.load(found, self.model, self.update.optimizers, self._ensure_mine)
        self.state = State(**{**saved["state"], "drawn": tuple(saved["state"]["drawn"])})
        self.counters = Counters(**saved["counters"])
        self.averages.load_state_dict(saved["averages"])
        self.guard.load_state_dict(saved["guard"])

    def _ensure_mine(self, saved: dict[str, Any]) -> None:
        """InputError unless a checkpoint's state is of this run."""
        ensure_same_run(saved["config"], self.config, saved["state"]["step"], self.folder)
        if saved["corpus"] != self._identity["corpus"]:
            raise InputError(f"{self.folder} holds a run of another corpus: give it its own, or begin another run")

    def save(self) -> None:
        """Write `config.toml` and a checkpoint of the steps done so far; InputError if that can't be done."""
        parallel.on_rank_zero(lambda: write_run_config(self.folder, self.config))
        state = {
            **self._identity,
            "state": self.state._asdict(),
            "counters": asdict(self.counters),
            "averages": self.averages.state_dict(),
            "guard": self.guard.state_dict(),
            "about": {
                "parameters": plain_parameters(self.model),
                "processes": parallel.world().ranks,
                "device": str(self.device),
            },
        }
        where = self.folder / CHECKPOINTS
        checkpoint.save(where, self.state.step, self.model, self.update.optimizers, state, self.config.keep)
        self._is_saved = True

    def run(
        self,
        validate: Validate | None = None,
        progress: Progress = silent,
        stage: Stage = quietly,
        hold: Hold | None = None,
    ) -> Counters:
        """Train to the last step and return what it took; progress counts optimizer steps.

        validate: called on rank 0 with the model every `validate_every` steps and at the end; its figures go to the
            metrics. All ranks must be given one, or none.
        hold: of the folder where it is held already: since before this trainer was made, if others may want it.
        Raises KeyboardInterrupt after saving if a signal asked to stop or `stop_after_this_step` did, InputError if too
        many steps in a row can't be taken, if the folder goes away, or if nothing can be written there.
        """
        if hold is None:
            with held(self.folder) as hold:
                return self.run(validate, progress, stage, hold)
        if checkpoint.newest_of_rank_zero(self.folder / CHECKPOINTS) is not None and not self._is_saved:
            raise InputError(f"{self.folder} got a run meanwhile: go on with it by --resume, or give another folder")
        parallel.on_rank_zero(lambda: write_run_config(self.folder, self.config))
        if self.config.start.path and not self._is_saved:
            self.save()
        if self.device.type == "cpu":
            give_back_freed_memory()
            keep_freed_memory()
        rate = self._matmul_rate() * self.world.ranks
        with (
            self._log.opened(hold, self.state.step, self.config.tensorboard),
            compiler.deterministic(self.config.deterministic),
        ):
            if self.state.step < self.config.steps:
                self.compile(stage)
            with Interrupt() as interrupt:
                self._loop(interrupt, rate, validate, progress)
        return self.counters

    def stop_after_this_step(self) -> None:
        """Let `run` save and stop as if a signal had asked for it; to be called from its progress."""
        self._stop_wanted = True

    def _loop(self, interrupt: Interrupt, rate: float, validate: Validate | None, progress: Progress) -> None:
        config, counters = self.config, self.counters
        saved_at = counters.seconds
        while self.state.step < config.steps:
            begin = time.perf_counter()
            note = self._logged_step(rate)
            done, last = self.state.step, self.state.step == config.steps
            due = config.validate_every and done % config.validate_every == 0
            if validate is not None and (due or last):
                self._validate(validate)
            counters.wall_seconds += time.perf_counter() - begin
            progress(done, config.steps, note)
            wanted = parallel.any_rank(interrupt.wanted or self._stop_wanted)
            timely = counters.seconds - saved_at > config.checkpoint_seconds
            timely, problem = parallel.from_rank_zero((timely, self._log.problem))
            ensure_none(problem)
            if last or wanted or timely:
                self._log.sync()  # not where the folder went away, whose checkpoint nobody would find
                self.save()
                saved_at = counters.seconds
            if wanted:
                raise KeyboardInterrupt(f"stopped after step {done}, which is saved")

    def compile(self, stage: Stage = quietly) -> None:
        """Make the kernels before the first step, so that no step's time has them in it; changes no weight."""
        plan, _ = self.stream.plan(self.state)
        first, last = self._spans[0]
        if not self.model.compiled_for:
            self._say_why_not_compiled()
            if first < last:  # a rank may have no row
                self.stream.rows(plan, first, last)
            return
        begins = self.update.begins(self.state.step, self.config.steps)
        with stage("compile the model", "passes") as progress, warnings.catch_warnings():
            # Torch tells of what it was tracing when it was stopped, at length and like a crash.
            warnings.filterwarnings("ignore", message="Error detected in")
            for done, step in enumerate(begins):
                progress(done, len(begins))
                self.update.prepare(step, self.config.steps)
                self._pass(plan, first, last)
            self.update.forget_gradients()
            progress(len(begins), len(begins))

    def _say_why_not_compiled(self) -> None:
        if self.why_not_compiled and self.world.rank == 0:
            say(f"not compiled: {self.why_not_compiled}")

    def step(self) -> tuple[Plan, str | None]:
        """One optimizer step; returns its plan, and why it was not taken, if it wasn't."""
        begin = time.perf_counter()
        plan, following = self.stream.plan(self.state)
        loading = time.perf_counter() - begin
        flops = step_flops(self.config.model, self.config.objective, self.stream, plan, self.config.lora)
        self.update.prepare(plan.step, self.config.steps)
        sums = np.zeros((2, *self.averages.nats.shape))
        total = 0.0
        for first, last in self._spans:
            if first == last:  # a rank may have no row
                continue
            found, waited = self._pass(plan, first, last)
            sums += np.stack([found.nats.cpu().numpy(), found.counts.cpu().numpy()])
            total += float(found.total.detach())
            loading += waited
        parallel.sum_gradients(self.model.parameters())
        summed = parallel.sum_over(np.append(sums.ravel(), total))
        (nats, counts), total = summed[:-1].reshape(sums.shape), float(summed[-1])
        norm = self.update.clip()
        loss = total / max(1, int(plan.targets.sum()))
        reason = self._judged(plan, float(norm), loss, nats, counts)
        if reason is None:
            self.update.step()
        self.counters.add(plan, self.stream.text_bytes(plan), flops)
        self.counters.loading_seconds += loading
        seconds = time.perf_counter() - begin
        self.counters.seconds += seconds
        if reason is None:
            self.averages.add(plan, nats, counts, total, seconds, flops)
        else:
            self.counters.skipped += 1
        self.state = following
        self._settle()
        return plan, reason

    def _pass(self, plan: Plan, first: int, last: int) -> tuple[Losses, float]:
        """Forward and backward of some rows; gives their losses, and the seconds that rows were waited for."""
        begin = time.perf_counter()
        rows = self.stream.rows(plan, first, last)
        waited = time.perf_counter() - begin
        try:
            return self._rows_passed(rows, plan), waited
        except Exception as error:
            if not self.model.compiled_for or not compiler.is_failure(error):
                raise
            self.model.compiled_for = 0
            self.why_not_compiled = f"torch.compile failed ({type(error).__name__}), going on without"
            self._say_why_not_compiled()
            self.update.forget_gradients()  # of the pass that failed, the first one of all
            return self._rows_passed(rows, plan), waited

    def _rows_passed(self, rows: Rows, plan: Plan) -> Losses:
        found = self.losses(rows, plan.step)
        if found.total.requires_grad:  # else none of these rows holds a target
            (found.total / max(1, int(plan.targets.sum()))).backward()
        return found

    def losses(self, rows: Rows, step: int) -> Losses:
        """The summed losses of some rows of a step."""
        expansion = None
        if rows.expanded is not None:
            expansion = ByteExpansion(*(torch.from_numpy(one).to(self.device) for one in rows.expanded))
        symbols_N, targets_N, representations_N = (
            torch.from_numpy(one).to(self.device) for one in (rows.symbols, rows.targets, rows.representations)
        )
        causal = self.config.objective.distill_form == "causal"
        both = both_forms_of(rows, self.next_bytes, self.device, self.stream.vocab, causal)
        shown = Positions(symbols_N, targets_N, representations_N.long(), expansion, both)
        progress = step / self.config.steps
        targets = targets_of(self.config.model, shown, self.stream.vocab, self.config.objective, progress)
        if self.teacher is not None:
            targets = self.teacher.teaching(targets, rows, symbols_N)
        hints = None if rows.hints is None else TokenHints.of(rows.hints, self.device)
        found: Losses = self.model(Batch(symbols_N, layout_of(rows.lengths, self.device), targets, expansion, hints))
        return found

    def _judged(self, plan: Plan, norm: float, loss: float, nats: np.ndarray, counts: np.ndarray) -> str | None:
        phase = self.update.phase(plan.settings.number)
        falling = self.config.scaffolding.falls(plan.step / self.config.steps)
        reason = self.guard.judge(plan.step, norm, loss, phase, falling)
        if reason is not None and self.world.rank == 0:
            norms = {
                name: float(parameter.grad.norm())
                for name, parameter in self.model.named_parameters()
                if parameter.grad is not None
            }
            kept = {
                "step": plan.step,
                "reason": reason,
                "loss": loss,
                "gradient_norm": norm,
                "state": self.state._asdict(),
                "nats": nats.tolist(),
                "counts": counts.tolist(),
                "gradient_norms": norms,
            }
            self._log.not_taken(plan.step, kept)
            say(f"step {plan.step} was not taken: {reason}")
        return reason

    def _logged_step(self, rate: float) -> str:
        """One step and what the metrics say of it; gives a note for people."""
        before = self.counters.seconds
        plan, reason = self.step()
        done = self.state.step
        pace = int(plan.lengths.sum()) / (self.counters.seconds - before)
        if reason is not None:
            self._log.write({"step": done, "skipped": reason})
        taken = self.averages.targets > 0  # any step since the last line
        note = f"loss {self.averages.total / self.averages.targets:.3f}, " if taken else ""
        if taken and (done % self.config.log_every == 0 or done == self.config.steps):
            line = self.averages.line(rate)
            self._log.write({"step": done, **self._so_far(), **line})
        return f"{note}{pace:,.0f} positions/s"

    def _validate(self, validate: Validate) -> None:
        if self.world.rank == 0:
            self.model.eval()
            figures = validate(self.model)
            self.model.train()
            self._log.write({"step": self.state.step, **self._so_far(), **figures})
        parallel.wait_for_rank_zero()

    def _so_far(self) -> dict[str, Any]:
        return {**self.counters.so_far(), "memory_mb": peak_megabytes(self.device)}

    def _micro_positions(self) -> int:
        """Positions of a full micro-batch."""
        first, last = self._spans[0]
        return (last - first) * self.config.shape.sequence_length

    def _matmul_rate(self) -> float:
        positions = max(self.config.shape.sequence_length, self._micro_positions())  # a rank may have no row
        shape = positions, self.config.model.width, self.config.model.ffn
        return matmul_rate(compiler.TORCH_DTYPES[self.config.dtype], shape, device=self.device)
