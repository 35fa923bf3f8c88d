"""The configuration of a training run: everything that decides it, except the text."""

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.lora_config import LoraConfig
from byteproxy.model.model_config import Backend, Checkpointing, ModelConfig
from byteproxy.model.objective import Objective, check_fit
from byteproxy.ranges import ensure_in_range, ensure_one_of, ranged
from byteproxy.store.manifest import Manifest
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.scaffolding import Scaffolding

DTYPES = ("float32", "bfloat16")
UNITS = ("steps", "positions", "bytes", "flops", "minutes")
MAX_STEPS = 10**9
MAX_SEED = (1 << 63) - 1
ByteRows: TypeAlias = Literal["single", "first_byte", "random"]


@dataclass(frozen=True)
class Validation:
    """What is measured while a run trains, on the corpus's validation split.

    bytes: text to measure on, in bytes; 0 measures nothing.
    document_bytes: bytes that one document gives at most.
    stride: bytes by which windows of raw text move on, 0 for half of one; a window is as long as a passage.
    """

    bytes: int = ranged(30_000, 0, 1 << 50)
    document_bytes: int = ranged(20_000, 1, 1 << 50)
    stride: int = ranged(0, 0, 1 << 30)

    def __post_init__(self) -> None:
        ensure_in_range(self, "validation.")


@dataclass(frozen=True)
class Start:
    """A model that a run begins with, in place of random weights.

    path: its folder or GGUF file; empty: none.
    weights: SHA-256 of its weights with their config.json, filled in when the run begins: it continues with no other.
    tokenizer: SHA-256 of its tokenizer, filled in likewise.
    chat: SHA-256 of its chat format, filled in likewise; empty if it has none.
    byte_rows: how the rows of bytes begin: "single", each as that of the token of this one byte; "first_byte", as the
        mean of all tokens that begin with it; "random", as in a run that begins with no model.
    """

    path: str = ""
    weights: str = ""
    tokenizer: str = ""
    chat: str = ""
    byte_rows: ByteRows = "single"

    def __post_init__(self) -> None:
        ensure_one_of("start.byte_rows", self.byte_rows, get_args(ByteRows))
        if not self.path and (self.weights or self.tokenizer or self.chat):
            raise InputError("start has checksums and no path: name the folder of the model, or leave start out")


@dataclass(frozen=True)
class Parallel:
    """How the processes of a run, those that torchrun starts, share its model.

    replicate: copies of the weights; 0: as many as the processes hold.
    shard: processes that hold one copy together, each a part of weights, gradients and optimizer states; 1: each
        process holds all of it. 0: as many as there are for each copy.
    """

    replicate: int = ranged(0, 0, 1 << 20)
    shard: int = ranged(1, 0, 1 << 20)

    def __post_init__(self) -> None:
        ensure_in_range(self, "parallel.")
        if not self.replicate and not self.shard:
            raise InputError("parallel.replicate and parallel.shard are both 0: give one of them")

    def mesh(self, ranks: int) -> tuple[int, int]:
        """Copies, and processes for each, of so many processes; InputError where they don't come out even."""
        copies = self.replicate or max(1, ranks // self.shard)
        shards = self.shard or max(1, ranks // copies)
        if copies * shards != ranks:
            raise InputError(
                f"parallel.replicate {self.replicate or 'as many as fit'} times parallel.shard "
                f"{self.shard or 'as many as fit'} does not make {ranks} processes: start another number by torchrun "
                "--nproc-per-node, or let one of them be 0"
            )
        return copies, shards


@dataclass(frozen=True)
class TrainConfig:
    """A run.

    stop: length of the run: a number and a unit, one of steps, positions, bytes (of text shown), flops, minutes; such
        as "1000 steps" or "1e15 flops". All but steps are turned into steps before anything starts.
    corpus: folder of the prepared corpus.
    seed: of the weights and the mixture.
    start: a model to begin with.
    lora: train a few weights beside those of that model, which stay as they are.
    scaffolding: what helps the model while it trains, and goes away.
    views: names of the compressed views in the store, where the mixture shows any.
    dtype: of activations and matrix products: "float32", "bfloat16", or "auto" for the faster one on this machine.
        Weights and optimizer states are float32.
    device: "cpu", "cuda", "mps", or "auto" for what is there.
    parallel: how several processes share the model.
    attention: the backend; "auto" is the fastest one on the device.
    compile: let torch.compile make kernels of everything but attention; without a compiler the run says so and runs
        uncompiled.
    deterministic: let only operations run that give the same bits each time.
    micro_sequences: rows that one pass takes; 0: all that a rank has of a step. Less needs less memory, and changes
        sums by rounding only.
    activation_checkpointing: what of each layer the backward pass computes again, to keep less until then: "none"; its
        "attention"; or "full", all of it, which keeps the least and costs a third more products. Changes no figure.
    log_every: steps between two lines of the metrics.
    validate_every: steps between two evaluations on the validation split; 0: only one at the end.
    checkpoint_seconds: seconds of training between two checkpoints.
    keep: checkpoints that stay.
    rank_timeout_seconds: seconds that one of several processes waits for the others in a step before the run ends. A
        process that ended or was stopped is noticed within a minute. Rank 0 may take any time for validation and
        checkpoints.
    tensorboard: write the metrics for TensorBoard as well.
    """

    stop: str = "1000 steps"
    corpus: str = ""
    seed: int = ranged(0, 0, MAX_SEED)
    views: tuple[str, ...] = ()
    dtype: str = "float32"
    device: str = "auto"
    attention: Backend = "auto"
    compile: bool = True
    deterministic: bool = False
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: Objective = field(default_factory=Objective)
    mixture: Mixture = field(default_factory=Mixture)
    shape: Shape = field(default_factory=Shape)
    optim: OptimConfig = field(default_factory=OptimConfig)
    start: Start = field(default_factory=Start)
    lora: LoraConfig = field(default_factory=LoraConfig)
    scaffolding: Scaffolding = field(default_factory=Scaffolding)
    validation: Validation = field(default_factory=Validation)
    parallel: Parallel = field(default_factory=Parallel)
    micro_sequences: int = ranged(0, 0, 1 << 24)
    activation_checkpointing: Checkpointing = "none"
    log_every: int = ranged(10, 1, 1 << 40)
    validate_every: int = ranged(0, 0, 1 << 40)
    checkpoint_seconds: float = ranged(60.0, 0.0, 1e10)
    keep: int = ranged(2, 1, 1 << 40)
    rank_timeout_seconds: float = ranged(1800.0, 1.0, 1e7)
    tensorboard: bool = False

    def __post_init__(self) -> None:
        ensure_in_range(self)
        amount, unit = self.length
        if unit == "steps" and (amount != int(amount) or amount > MAX_STEPS):
            raise InputError(f"stop is {self.stop!r}: give whole steps, at most {MAX_STEPS:,}")
        if self.dtype not in ("auto", *DTYPES):
            raise InputError(f"dtype is {self.dtype!r}: give auto or one of {', '.join(DTYPES)}")
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise InputError(f"device is {self.device!r}: give auto, cpu, cuda or mps")
        ensure_one_of("activation_checkpointing", self.activation_checkpointing, get_args(Checkpointing))
        if self.micro_sequences > self.shape.sequences_per_step:
            raise InputError(
                f"micro_sequences is {self.micro_sequences}: give 0 for all at once, or 1 to shape.sequences_per_step "
                f"({self.shape.sequences_per_step})"
            )
        if self.validation.stride > self.shape.context_bytes:
            raise InputError(
                f"validation.stride is {self.validation.stride}: give at most shape.context_bytes "
                f"({self.shape.context_bytes}), which is the longest context"
            )
        check_fit(self.model, self.objective)
        self.scaffolding.ensure_fits(self.model)
        if self.lora.rank and self.optim.optimizer != "adamw":
            raise InputError(
                f"lora.rank is {self.lora.rank}, and optim.optimizer {self.optim.optimizer!r}, which is for whole "
                'matrices: let it be "adamw", or lora.rank 0'
            )
        if self.lora.rank and self.model.composed:
            raise InputError('lora.rank is for a model that reads tokens: let model.inputs be "symbols"')
        if self.parallel.shard != 1:
            self._ensure_shardable()
        phases = [phase for phase in self.mixture.schedule if phase.share > 0]
        if self.objective.distill and not any(phase.mode == "parallel" for phase in phases):
            raise InputError(
                "objective.distill needs passages in both forms, as documents that can't see each other: let a phase "
                'of mixture.phases have mode "parallel", or objective.distill be 0'
            )
        if self.objective.distill and self.mixture.packing != "fill":
            raise InputError(
                f'mixture.packing is "{self.mixture.packing}", which parts the two forms of a passage: let it be '
                '"fill", or objective.distill 0'
            )
        if self.objective.frozen_teacher and len(self.views) > 1:
            raise InputError(
                f'objective.distill_teacher is "frozen", and the model that the run begins with knows no symbols of '
                f'{self.views[1]!r}: let views be its own tokenizer only, or the teacher "own"'
            )
        if self.model.softmax == "typed" and any(phase.mode == "plain" for phase in self.mixture.schedule):
            raise InputError(
                "mixture.phases has mode plain: without sentinels no position says which softmax is its own, so let "
                'model.softmax be "shared", or use mode one'
            )

    def _ensure_shardable(self) -> None:
        """InputError where a process needs more of the model than a part."""
        if self.objective.distill and self.objective.distill_form == "causal":
            raise InputError(
                'objective.distill_form is "causal", whose branches are read by some processes only: let '
                'parallel.shard be 1, or the form "segmented"'
            )
        if self.objective.frozen_teacher:
            raise InputError(
                'objective.distill_teacher is "frozen", and each process would hold the whole teacher: let '
                'parallel.shard be 1, or the teacher "own"'
            )
        if self.optim.parts_rows:
            raise InputError(
                "optim.new_rows_rate, new_rows_share, first_layer_rate and last_layer_rate part the rows of tables, "
                "which sharded ones are already: let parallel.shard be 1, or leave them out"
            )

    @property
    def length(self) -> tuple[float, str]:
        """How long the run is, and in which unit."""
        said = re.fullmatch(r"\s*([\d_.,]+(?:[eE][+-]?\d+)?)\s*([A-Za-z]+)\s*", self.stop)
        number, unit = said.groups() if said else ("", "")
        try:
            amount = float(number.replace("_", "").replace(",", ""))
        except ValueError:
            amount = 0.0
        unit = unit.lower()
        unit = unit if unit in UNITS or f"{unit}s" not in UNITS else f"{unit}s"
        if not 0 < amount < float("inf") or unit not in UNITS:
            raise InputError(
                f'stop is {self.stop!r}: give a positive number and one of {", ".join(UNITS)}, such as "1000 steps"'
            )
        return amount, unit

    @property
    def steps(self) -> int:
        """Optimizer steps; InputError where they are still to be counted (`budget.resolved`)."""
        amount, unit = self.length
        if unit != "steps":
            raise InputError(f"stop is {self.stop!r}: count its steps first")
        return int(amount)


def steps(count: int) -> str:
    """A `stop` of that many steps."""
    return f"{count} steps"


def ensure_units(config: TrainConfig, manifest: Manifest) -> None:
    """InputError where symbols are targets of composed positions and a view has several to a unit."""
    if not (config.model.composed and config.objective.symbols):
        return
    for name in config.views:
        entry = manifest.view(name)
        if entry.units != entry.symbols:
            raise InputError(
                f"view {name!r} writes several symbols for what is one composed position: let objective.symbols be 0 "
                "and give objective.bag or objective.bytes a weight"
            )


def ensure_starts_anew(config: TrainConfig, remedy: str = "name one with --from PATH") -> None:
    """InputError where a run that begins with no model asks for what only one with a model has.

    remedy: how it can begin with one.
    """
    if config.lora.rank:
        raise InputError(
            f"lora.rank is {config.lora.rank}, and the run begins with no model whose weights could stay: {remedy}, or "
            "let lora.rank be 0"
        )
    if config.objective.frozen_teacher:
        raise InputError(
            'objective.distill_teacher is "frozen", and the run begins with no model that could teach as it was: '
            f'{remedy}, or let the teacher be "own"'
        )
    if config.start.byte_rows != "single":
        raise InputError(
            f"start.byte_rows is {config.start.byte_rows!r}, and the run begins with no model whose tokens have rows: "
            f'{remedy}, or let start.byte_rows be "single"'
        )


def ensure_reads_tokens(config: TrainConfig, name: str) -> None:
    """InputError where a run can't begin with a model of tokens, which is called `name`."""
    if config.model.composed or not config.objective.symbols:
        raise InputError(
            f'the model in {name} reads and predicts tokens: let model.inputs be "symbols" and objective.symbols be '
            "above 0"
        )
    if config.model.soft_cap:
        raise InputError(f"the logits of the model in {name} are not capped: let model.soft_cap be 0")
