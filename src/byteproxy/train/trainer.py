"""The training loop.

One optimizer step: plan, rows, forward, summed typed loss over the number of targets, backward, clip, update.
Everything that decides the weights is in the configuration, the seed and the store; stopping and going on changes
nothing, because the state is a checkpoint's tensors and the stream's few integers.

Metrics per logged step: `loss` in nats per target over all representations, `raw_loss` and `compressed_loss` of these,
averaged since the last line; `rate`, what the schedule asks for; `flops`, `positions`, `text_bytes`, `seconds` and
`compressed_share`, what came out of the mixture, since the start. Seconds are those of
training steps, loading included, without validation and checkpoints (`wall_seconds` has them all).
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from byteproxy.config import to_toml
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Rows, Shape, Stream
from byteproxy.mixture.planner import Plan, State
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.loss import typed_loss
from byteproxy.model.transformer import Transformer
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.store.format import write_whole
from byteproxy.store.store import Store
from byteproxy.train import checkpoint
from byteproxy.train.flops import plan_flops
from byteproxy.train.interrupt import Interrupt
from byteproxy.train.metrics import Metrics
from byteproxy.train.optim import OptimConfig, learning_rate, optimizers

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a run, except the text.

    steps: optimizer steps.
    views: names of the compressed views in the store, where the mixture shows any.
    dtype: of activations and matrix products, "float32" or "bfloat16"; weights are float32.
    log_every, validate_every: in steps; validate_every 0 means only at the end.
    checkpoint_seconds: training time between two checkpoints.
    """

    steps: int
    seed: int = 0
    views: tuple[str, ...] = ()
    dtype: str = "float32"
    model: ModelConfig = field(default_factory=ModelConfig)
    mixture: Mixture = field(default_factory=Mixture)
    shape: Shape = field(default_factory=Shape)
    optim: OptimConfig = field(default_factory=OptimConfig)
    log_every: int = 10
    validate_every: int = 0
    checkpoint_seconds: float = 60.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps is {self.steps}: give at least 1")
        if not 0 <= self.seed < 1 << 63:
            raise InputError(f"seed is {self.seed}: give a whole number from 0 to 2^63 - 1")
        if self.dtype not in DTYPES:
            raise InputError(f"dtype is {self.dtype!r}: give one of {', '.join(DTYPES)}")
        if any(phase.mode == "plain" for phase in self.mixture.schedule):
            raise InputError(
                "mixture.phases has mode plain: without sentinels no position says which softmax is its own, and the "
                "typed softmax is the only one that there is; use mode one"
            )


@dataclass
class Counters:
    """What a run has done since its start, over all its resumptions.

    segments: begun. segments, text_bytes, positions_by: by representation, empty before the first step.
    """

    flops: int = 0
    positions: int = 0
    seconds: float = 0.0
    loading_seconds: float = 0.0
    wall_seconds: float = 0.0
    segments: list[int] = field(default_factory=list)
    asked_rate: float = 0.0
    text_bytes: list[int] = field(default_factory=list)
    positions_by: list[int] = field(default_factory=list)

    def add(self, plan: Plan, rows: Rows, text_bytes: np.ndarray, flops: int) -> None:
        """Count one step."""
        self.flops += flops
        self.positions += len(rows.symbols)
        self.asked_rate += plan.rate
        self.segments = _added(self.segments, plan.segments)
        self.text_bytes = _added(self.text_bytes, text_bytes)
        self.positions_by = _added(self.positions_by, plan.positions)

    def compressed_share(self) -> dict[str, float | None]:
        """What came out of the mixture: the share of what is compressed, in each count; None of nothing."""
        counts = {"segments": self.segments, "text_bytes": self.text_bytes, "positions": self.positions_by}
        return {name: sum(by[1:]) / sum(by) if any(by) else None for name, by in counts.items()}


def _added(so_far: list[int], counts: np.ndarray) -> list[int]:
    return [int(a + b) for a, b in zip(so_far or [0] * len(counts), counts, strict=True)]


Validate = Callable[[Transformer], dict[str, float]]


class Trainer:
    """A run in a folder: `config.toml`, `metrics.jsonl`, `checkpoints/`."""

    def __init__(self, config: TrainConfig, store: Store, folder: Path, stage: Stage = quietly) -> None:
        """Build the model, or take up the folder's newest checkpoint.

        stage: shows the corpus being verified (in bytes: all of it the first time, later only what was written to), and
            its passages being found, which is done once.
        Raises InputError if the folder holds a run of another configuration or corpus, or if the corpus was altered.
        """
        self.config, self.folder = config, folder
        with stage("verify the corpus", "B") as progress:
            store.ensure_unaltered(progress)
        with stage("find passages", "passages") as progress:
            self.stream = Stream(store, config.views, config.mixture, config.shape, config.seed, config.steps, progress)
        torch.manual_seed(config.seed)
        self.model = Transformer(config.model, self.stream.vocab.size, DTYPES[config.dtype])
        self.optimizers = optimizers(self.model, config.optim)
        self.state, self.counters = State(), Counters()
        self._log = _Log(self.stream.vocab.representations)
        self._identity = {"config": to_toml(config), "corpus": store.manifest.fingerprint_for(config.views)}
        found = checkpoint.newest(folder / "checkpoints")
        if found is not None:
            self._take_up(found)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "config.toml", lambda file: file.write(self._identity["config"].encode()))

    def _take_up(self, found: Path) -> None:
        saved = checkpoint.load(found, self.model, self.optimizers)
        for what, mine in self._identity.items():
            if saved[what] != mine:
                raise InputError(f"{self.folder} holds a run of another {what}: choose another folder or delete it")
        self.state = State(**{**saved["state"], "drawn": tuple(saved["state"]["drawn"])})
        self.counters = Counters(**saved["counters"])
        self._log.take_up(saved["log"])

    def save(self) -> None:
        """Write a checkpoint of the steps done so far."""
        state = {
            **self._identity,
            "state": self.state._asdict(),
            "counters": asdict(self.counters),
            "log": self._log.state(),
        }
        checkpoint.save(self.folder / "checkpoints", self.state.step, self.model, self.optimizers, state)

    def run(self, validate: Validate | None = None, progress: Progress = silent) -> Counters:
        """Train to the last step and return what it took; progress counts optimizer steps.

        validate: called with the model every `validate_every` steps and at the end; its figures go to the metrics.
        Raises KeyboardInterrupt after saving if a signal asked to stop, InputError if the loss is no longer finite.
        """
        metrics = Metrics(self.folder / "metrics.jsonl", self.state.step)
        saved_at = self.counters.seconds
        try:
            with Interrupt() as interrupt:
                while self.state.step < self.config.steps:
                    begin = time.perf_counter()
                    self._log.add(*self.step())
                    done, last = self.state.step, self.state.step == self.config.steps
                    if done % self.config.log_every == 0 or last:
                        metrics.write({"step": done, **self._so_far(), **self._log.line()})
                    due = self.config.validate_every and done % self.config.validate_every == 0
                    if validate is not None and (due or last):
                        metrics.write({"step": done, **self._so_far(), **validate(self.model)})
                    self.counters.wall_seconds += time.perf_counter() - begin
                    progress(done, self.config.steps)
                    if last or interrupt.wanted or self.counters.seconds - saved_at > self.config.checkpoint_seconds:
                        self.save()
                        saved_at = self.counters.seconds
                    if interrupt.wanted:
                        raise KeyboardInterrupt(f"stopped after step {done}, which is saved")
        finally:
            metrics.close()
        return self.counters

    def step(self) -> tuple[Plan, Rows, np.ndarray]:
        """One optimizer step; returns its plan, rows, and summed loss in nats per representation, float64."""
        begin = time.perf_counter()
        plan, following = self.stream.plan(self.state)
        rows = self.stream.rows(plan)
        loading = time.perf_counter() - begin
        rate = learning_rate(self.config.optim, plan.step, self.config.steps)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
        sums = self.losses(rows)
        (sums.sum() / max(1, int(plan.targets.sum()))).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip)
        if not bool(torch.isfinite(norm)):
            raise InputError(
                f"the gradient is no longer finite at step {plan.step}: lower optim.learning_rate "
                f"(the run up to its last checkpoint is kept in {self.folder})"
            )
        for optimizer in self.optimizers:
            optimizer.step()
        flops = plan_flops(self.config.model, self.stream.vocab, plan)
        self.counters.add(plan, rows, self.stream.text_bytes(plan), flops)
        self.counters.loading_seconds += loading
        self.counters.seconds += time.perf_counter() - begin
        self.state = following
        return plan, rows, sums.detach().double().numpy()

    def losses(self, rows: Rows) -> torch.Tensor:
        """The summed loss of some rows in nats, per representation."""
        hidden_ND = self.model(torch.from_numpy(rows.symbols), layout_of(rows.lengths))
        return typed_loss(
            hidden_ND,
            self.model.lm_head.weight,
            torch.from_numpy(rows.targets),
            torch.from_numpy(rows.representations),
            self.stream.vocab,
        )

    def _so_far(self) -> dict[str, Any]:
        return {
            "flops": self.counters.flops,
            "positions": self.counters.positions,
            "text_bytes": sum(self.counters.text_bytes),
            "seconds": round(self.counters.seconds, 3),
            "compressed_share": self.counters.compressed_share(),
        }


class _Log:
    """Averages since the last line of the metrics; kept in checkpoints, so that a resumed run writes the same lines."""

    def __init__(self, representations: int) -> None:
        self.representations = representations
        self._clear()

    def _clear(self) -> None:
        self.nats = np.zeros(self.representations)
        self.targets = np.zeros(self.representations)
        self.rate = 0.0

    def add(self, plan: Plan, rows: Rows, nats: np.ndarray) -> None:
        self.nats += nats
        self.targets += plan.targets
        self.rate = plan.rate

    def state(self) -> dict[str, Any]:
        return {"nats": self.nats.tolist(), "targets": self.targets.tolist(), "rate": self.rate}

    def take_up(self, state: dict[str, Any]) -> None:
        self.nats, self.targets = np.array(state["nats"]), np.array(state["targets"])
        self.rate = state["rate"]

    def line(self) -> dict[str, Any]:
        values = {
            "loss": self.nats.sum() / self.targets.sum(),
            "raw_loss": self.nats[0] / self.targets[0] if self.targets[0] else None,
            "compressed_loss": self.nats[1:].sum() / self.targets[1:].sum() if self.targets[1:].any() else None,
            "rate": self.rate,
        }
        self._clear()
        return values
