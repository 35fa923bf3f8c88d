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
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.lock import Hold
from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan, State
from byteproxy.model import attention
from byteproxy.model.hints import HintTokens
from byteproxy.model.lora import adapt, plain_parameters
from byteproxy.model.network import Transformer
from byteproxy.model.targets import columns
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.store.store import Store
from byteproxy.train import checkpoint, compiler, parallel
from byteproxy.train.allocator import give_back_freed_memory, keep_freed_memory
from byteproxy.train.counters import Averages, Counters
from byteproxy.train.flops import matmul_rate, step_flops
from byteproxy.train.frozen_teacher import FrozenTeacher, StartFrom
from byteproxy.train.guard import Guard
from byteproxy.train.identity import ensure_same_run, identity
from byteproxy.train.initial_values import InitialValues
from byteproxy.train.interrupt import Interrupt
from byteproxy.train.memory import ensure_fits, peak_megabytes
from byteproxy.train.optim import Update
from byteproxy.train.parallel import held
from byteproxy.train.passes import Passes, StepLosses
from byteproxy.train.run_config import CHECKPOINTS, write_run_config
from byteproxy.train.run_log import RunLog, ensure_none
from byteproxy.train.sharding import Sharding, mesh_of, sharded_model, sharded_model_without_memory
from byteproxy.train.teachers import next_bytes_of
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
        next_bytes = next_bytes_of(config, store, self.device)
        self.world = parallel.world()
        found = checkpoint.newest_of_rank_zero(folder / CHECKPOINTS)
        self._is_saved = found is not None
        self._build(begins=found is None, start_from=start_from)
        group = None if self.sharding is None else self.sharding.group
        self.update = Update(self.model, config.optim, config.objective.heads_detached, group)
        self.state, self.counters = State(), Counters()
        self.averages = Averages(["raw", *config.views], columns(config.model, config.objective))
        self.guard = Guard(config.optim.spike, config.optim.max_skips)
        self._identity = {"config": identity(config), "corpus": store.manifest.fingerprint_for(config.views)}
        if found is not None:
            self._load_state(found)
        self._settle()
        teacher = None
        if config.objective.frozen_teacher and self.state.step < config.steps:
            teacher = FrozenTeacher.of(config, self.model, self.stream.vocab, start_from)
        self.passes = Passes(config, self.stream, self.model, self.update, self.sharding, next_bytes, teacher)
        self._stop_wanted = False
        self._log = RunLog(folder)

    def _build(self, begins: bool, start_from: StartFrom | None) -> None:
        """Make the model. begins: with the values that the seed gives, or the start; else a checkpoint gives them."""
        config, symbols, hints = self.config, self.stream.vocab.size, self.config.scaffolding.hints
        mesh = mesh_of(config, self.device)
        starts = begins and bool(config.start.path)
        torch.manual_seed(config.seed)
        self.sharding: Sharding | None = None
        if mesh is None or starts:
            self.model = model_of(config, symbols)
            if mesh is None:
                self.model.to(self.device)
        else:
            values = InitialValues()
            with values.noted():
                self.model = model_of(config, symbols)
            self.sharding = sharded_model_without_memory(self.model, values, mesh, self.device, draw=begins)
        if hints.share:
            view = self.stream.hinted_view  # what has no tokens is refused here
            self.model.hints = HintTokens.of(view, hints.scale.start).to(self.device) if hints.stay else None
        if starts:
            if start_from is None:
                raise InputError(
                    f"start is {config.start.path}, and only `byteproxy train` begins with a model: leave it out"
                )
            start_from(self.model, self.stream.vocab, config.start)
            if mesh is not None:
                self.sharding = sharded_model(self.model, mesh)

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

        validate: called with the model every `validate_every` steps and at the end, on rank 0, or where the model is
            sharded, on all ranks, which measure the same; its figures go to the metrics. All ranks must be given one,
            or none.
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
                self.passes.compile(self.stream.plan(self.state)[0], stage)
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

    def step(self) -> tuple[Plan, str | None]:
        """One optimizer step; returns its plan, and why it was not taken, if it wasn't."""
        begin = time.perf_counter()
        plan, following = self.stream.plan(self.state)
        loading = time.perf_counter() - begin
        flops = step_flops(self.config.model, self.config.objective, self.stream, plan, self.config.lora)
        self.update.prepare(plan.step, self.config.steps)
        found = self.passes.of_step(plan)
        norm = float(self.update.clip())
        loss = found.total / max(1, int(plan.targets.sum()))
        reason = self._judged(plan, norm, loss, found)
        if reason is None:
            self.update.step()
        self.counters.add(plan, self.stream.text_bytes(plan), flops)
        self.counters.loading_seconds += loading + found.waited
        seconds = time.perf_counter() - begin
        self.counters.seconds += seconds
        if reason is None:
            self.averages.add(plan, found.nats, found.counts, found.total, seconds, flops)
        else:
            self.counters.skipped += 1
        self.state = following
        self._settle()
        return plan, reason

    def _judged(self, plan: Plan, norm: float, loss: float, found: StepLosses) -> str | None:
        phase = self.update.phase(plan.settings.number)
        falling = self.config.scaffolding.falls(plan.step / self.config.steps)
        reason = self.guard.judge(plan.step, norm, loss, phase, falling, self._named(found.not_finite))
        if reason is None:
            return None
        norms = self.update.gradient_norms()
        if self.world.rank == 0:
            kept = {
                "step": plan.step,
                "reason": reason,
                "loss": loss,
                "gradient_norm": norm,
                "state": self.state._asdict(),
                "nats": found.nats.tolist(),
                "counts": found.counts.tolist(),
                "gradient_norms": norms,
            }
            self._log.not_taken(plan.step, kept)
            say(f"step {plan.step} was not taken: {reason}")
        return reason

    def _named(self, ranks: list[int]) -> str:
        """Where a loss is not finite, of several processes."""
        if not ranks or len(ranks) == self.world.ranks:
            return ""
        return f"on rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks))} of {self.world.ranks}"

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
        if self.world.rank == 0 or self.sharding is not None:
            self.model.eval()
            with nullcontext() if self.sharding is None else self.sharding.whole_tables(), parallel.noticing_losses():
                figures = validate(self.model)
            self.model.train()
            self._log.write({"step": self.state.step, **self._so_far(), **figures})
        parallel.wait_for_rank_zero()

    def _so_far(self) -> dict[str, Any]:
        return {**self.counters.so_far(), "memory_mb": peak_megabytes(self.device)}

    def _matmul_rate(self) -> float:
        positions = max(self.config.shape.sequence_length, self.passes.micro_positions)  # a rank may have no row
        shape = positions, self.config.model.width, self.config.model.ffn
        return matmul_rate(compiler.TORCH_DTYPES[self.config.dtype], shape, device=self.device)
