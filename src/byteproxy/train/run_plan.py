"""Plan a run before it starts: parameters, memory, FLOPs, text and time, without allocating a weight.

Everything is counted by what training itself counts with: plans of its steps, `step_flops`, and the model built on
torch's meta device. Of a run of many steps a sample is planned, evenly spaced, as the mixture changes on the way. Where
there is no corpus yet, one of lengths only stands in for it: passages as long as they may be, and an `AssumedView`.
Costs a second or two.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from byteproxy.corpus.records import Rules
from byteproxy.corpus.split import Split, SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan
from byteproxy.model.lora import plain_parameters
from byteproxy.model.model_config import Checkpointing
from byteproxy.progress import Progress, announce, silent
from byteproxy.store.manifest import Manifest, SourceInfo, ViewInfo
from byteproxy.store.passage_index import BYTES, VIEWS, SourcePassages, Summary, Table
from byteproxy.store.store import Store
from byteproxy.train.budget import ensured_steps, sampled_plans
from byteproxy.train.cards import Card
from byteproxy.train.compiler import TORCH_DTYPES, device_of, fastest_dtype
from byteproxy.train.flops import matmul_rate, recomputed_flops, step_flops
from byteproxy.train.memory import ensure_plannable, moment_bytes, peak_bytes
from byteproxy.train.train_config import TrainConfig, steps
from byteproxy.train.trainer import model_of, stream_of

if TYPE_CHECKING:
    from byteproxy.train.rank_memory import RankMemory

MATMUL_UTILIZATION = 0.4
"""Share of the rate of plain matrix products that training is assumed to reach."""
CARD_UTILIZATION = 0.4
"""Share of a card's peak, which is above the rate of any product, that training on many of them is assumed to reach."""
_EXACT = 64  # steps of a run that are all planned; of longer ones so many are
_PASSAGES, _IN_DOCUMENT = 4096, 8  # of the assumed corpus
_LARGEST_PRODUCT = 1024, 2048, 4096  # that the machine is timed with: larger ones take seconds and are no faster


class AssumedView(NamedTuple):
    """The view of a corpus that isn't there yet: by default what `--view bpe:4096` gives on code, about."""

    alphabet: int = 4096
    bytes_per_symbol: float = 3.0


USUAL_VIEW = AssumedView()


@dataclass(frozen=True)
class RunPlan:
    """Figures of a run. Of all FLOPs, those of the formula in `flops`.

    assumed: what was assumed, in words for people; empty if nothing was.
    parameters: of the whole model, without factors of LoRA beside it. matrix_parameters: of those, what every position
        passes through. raw_parameters: what is left when the compressor is thrown away. trained_parameters: those with
        gradients and moments, such factors among them.
    memory_bytes: at the peak, about, of the process or its accelerator. pass_positions: of one pass over a micro-batch,
        which that counts with.
    step_positions, step_text_bytes, step_flops: means over the planned steps; all steps if `exact`.
    compressed_share: of the positions of these steps.
    corpus_bytes: of its train split; None if it is assumed.
    checkpoint_bytes: weights and moments.
    matmul_rate: FLOPs per second of this machine's matrix products; None if a rate was given.
    rate: FLOPs per second that the time is counted with, those that are computed again among them.
    cluster: how the run fits onto the cards that it was planned for, if it was.
    """

    assumed: tuple[str, ...]
    views: tuple[str, ...]
    dtype: str
    parameters: int
    matrix_parameters: int
    raw_parameters: int
    trained_parameters: int
    memory_bytes: int
    pass_positions: int
    steps: int
    planned_steps: int
    exact: bool
    step_positions: float
    step_text_bytes: float
    step_flops: float
    compressed_share: float
    flops_per_text_byte: float
    positions: float
    text_bytes: float
    flops: float
    corpus_bytes: int | None
    checkpoint_bytes: int
    matmul_rate: float | None
    matmul_utilization: float | None
    rate: float
    seconds: float
    cluster: "ClusterPlan | None" = None


class Cluster(NamedTuple):
    """Cards that a run is planned for, a rank on each, and the share of their peak that training is taken to reach."""

    card: Card
    ranks: int = 1
    utilization: float = CARD_UTILIZATION


@dataclass(frozen=True)
class ClusterPlan:
    """How a run fits onto a cluster.

    room: bytes of a card that tensors may take; memory: what those of a rank take, measured on fake ones.
    micro_sequences, activation_checkpointing: with which it fits. passes: micro-batches of a rank in a step.
    recomputed: FLOPs that are computed again in the backward pass, as a share of the formula's.
    """

    card: Card
    ranks: int
    room: int
    memory: "RankMemory"
    micro_sequences: int
    passes: int
    activation_checkpointing: Checkpointing
    recomputed: float
    utilization: float


def plan_run(
    config: TrainConfig,
    store: Store | None,
    rate: float | None = None,
    view: AssumedView = USUAL_VIEW,
    cluster: Cluster | None = None,
) -> RunPlan:
    """The figures of a run on one process of this machine, or on a cluster.

    store: the corpus; None where there is none yet, which is then assumed, with this view.
    rate: FLOPs per second that training reaches; None measures this machine's rate of matrix products
        and takes `MATMUL_UTILIZATION` of it, or that of the cluster's peak, if there is one.
    Raises InputError where the configuration and the store don't fit together, or the run and the cluster.
    """
    if cluster is not None:
        from byteproxy.train.rank_memory import rows_of_rank

        rows_of_rank(config, cluster.ranks)  # refused before the corpus gets an index
    assumed: list[str] = []
    corpus = store
    if corpus is None:
        corpus = _Assumed.of(config, view)
        config = replace(config, views=tuple(view.name for view in corpus.manifest.views))
        assumed.append(f"a corpus of passages of {config.shape.context_bytes:,} bytes")
        if config.views:
            assumed.append(f"views of {view.alphabet:,} symbols of {view.bytes_per_symbol:.3g} bytes each")
    ensure_plannable(config)
    if config.dtype == "auto":
        config = replace(config, dtype=fastest_dtype(config.device) if cluster is None else "bfloat16")
    if cluster is not None:
        if config.dtype != "bfloat16":
            raise InputError(f'dtype is "{config.dtype}", and the known peaks of cards are of bfloat16: give that')
        rate = cluster.card.peak * cluster.ranks * cluster.utilization
        assumed.append(f"{100 * cluster.utilization:.0f} % of the cards' peak for products of bfloat16")
    pass_positions = (config.micro_sequences or config.shape.sequences_per_step) * config.shape.sequence_length
    machine = None
    if rate is None:
        machine = _matmul_rate(config, pass_positions)
        rate = MATMUL_UTILIZATION * machine
        assumed.append(f"{100 * MATMUL_UTILIZATION:.0f} % of the rate of plain matrix products, measured here")
    counted = _counted(config, corpus, rate)
    with torch.device("meta"):
        model = model_of(counted.config, counted.stream.vocab.size)
    held = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    count, planned = counted.config.steps, len(counted.plans)
    flops = counted.flops / planned
    text_bytes = counted.text_bytes / planned
    fitted = None if cluster is None else _on_cluster(counted, cluster)
    again = 0.0 if fitted is None else fitted.recomputed
    return RunPlan(
        assumed=tuple(assumed),
        views=config.views,
        dtype=config.dtype,
        parameters=plain_parameters(model),
        matrix_parameters=config.model.matrix_parameters,
        raw_parameters=config.scaffolding.finished(config.model).raw_parameters(),
        trained_parameters=trained,
        memory_bytes=peak_bytes(config, held, counted.stream.vocab.size) if fitted is None else fitted.memory.peak,
        pass_positions=pass_positions if fitted is None else fitted.micro_sequences * config.shape.sequence_length,
        steps=count,
        planned_steps=planned,
        exact=planned == count,
        step_positions=counted.positions / planned,
        step_text_bytes=text_bytes,
        step_flops=flops,
        compressed_share=counted.compressed_positions / counted.positions,
        flops_per_text_byte=counted.flops / counted.text_bytes,
        positions=counted.positions / planned * count,
        text_bytes=text_bytes * count,
        flops=flops * count,
        corpus_bytes=None if store is None else store.manifest.splits["train"].bytes,
        checkpoint_bytes=4 * held + moment_bytes(config, held),
        matmul_rate=machine,
        matmul_utilization=None if machine is None else MATMUL_UTILIZATION,
        rate=rate,
        seconds=flops * (1 + again) * count / rate,
        cluster=fitted,
    )


def _on_cluster(counted: "_Counted", cluster: Cluster) -> ClusterPlan:
    from byteproxy.train.rank_memory import fit_on, room_on  # half a second of torch that no other plan needs

    announce(f"Measure what a rank of {cluster.ranks:,} needs, on tensors without memory.")
    fit = fit_on(counted.config, counted.stream.vocab, cluster.ranks, cluster.card)
    model, checkpointing = counted.config.model, fit.activation_checkpointing
    again = sum(recomputed_flops(model, plan.lengths, checkpointing) for plan in counted.plans)
    return ClusterPlan(
        card=cluster.card,
        ranks=cluster.ranks,
        room=room_on(cluster.card),
        memory=fit.memory,
        micro_sequences=fit.micro_sequences,
        passes=fit.passes,
        activation_checkpointing=checkpointing,
        recomputed=again / counted.flops,
        utilization=cluster.utilization,
    )


@dataclass(frozen=True)
class _Counted:
    """The plans of a run's steps, or of a sample, and their sums; config: with its steps said."""

    config: TrainConfig
    stream: Stream
    plans: list[Plan]

    @property
    def flops(self) -> int:
        of = self.config.model, self.config.objective, self.stream
        return sum(step_flops(*of, plan, self.config.lora) for plan in self.plans)

    @property
    def text_bytes(self) -> int:
        return sum(int(self.stream.text_bytes(plan).sum()) for plan in self.plans)

    @property
    def positions(self) -> int:
        return sum(int(plan.lengths.sum()) for plan in self.plans)

    @property
    def compressed_positions(self) -> int:
        return sum(int(plan.positions[1:].sum()) for plan in self.plans)


def _counted(config: TrainConfig, store: Store, rate: float) -> _Counted:
    """Any length as steps: of other units than these by the means of a sample, so about."""
    amount, unit = config.length
    if unit == "positions":
        config = replace(config, stop=steps(ensured_steps(amount / config.shape.positions, config)))
    elif unit != "steps":
        sample = _sample(replace(config, stop=steps(1000)), store)
        each = sample.text_bytes if unit == "bytes" else sample.flops
        whole = amount * 60 * rate if unit == "minutes" else amount
        config = replace(config, stop=steps(ensured_steps(whole / each * len(sample.plans), config)))
    return _sample(config, store)


def _sample(config: TrainConfig, store: Store) -> _Counted:
    stream = stream_of(config, store)
    if config.steps <= _EXACT:
        return _Counted(config, stream, list(stream.plans()))
    return _Counted(config, stream, list(sampled_plans(stream, config.steps, _EXACT)))


def _matmul_rate(config: TrainConfig, pass_positions: int) -> float:
    shape = pass_positions, config.model.width, config.model.ffn
    m, k, n = (min(size, largest) for size, largest in zip(shape, _LARGEST_PRODUCT, strict=True))
    return matmul_rate(TORCH_DTYPES[config.dtype], (m, k, n), device=device_of(config.device))


class _Assumed(Store):
    """A corpus of lengths only: plans can be made of it, and no rows."""

    @classmethod
    def of(cls, config: TrainConfig, view: AssumedView) -> "_Assumed":
        """With the views that the configuration names, or with one if its mixture needs one."""
        names = config.views or (("assumed",) if config.mixture.needs_view else ())
        views = tuple(ViewInfo(name, "", view.alphabet, True, 0, 0, view.bytes_per_symbol, ()) for name in names)
        sources = {name: SourceInfo(0, 0, "") for name in config.mixture.source_weights or ("assumed",)}
        manifest = Manifest(SplitOptions(), 0, Rules(), "keep", 0, sources, {}, {}, None, (), views)
        return cls(Path("an assumed corpus"), manifest)

    def table(
        self,
        split: Split,
        view_names: tuple[str, ...],
        max_bytes: int,
        progress: Progress = silent,
        units: bool = False,
    ) -> Table:
        """As many passages of each source, all of them as long as they may be."""
        symbols = [max(1, round(max_bytes / self.manifest.view(name).bytes_per_symbol)) for name in view_names]
        lengths = max_bytes, *symbols
        sources = list(self.manifest.sources)
        rows = np.zeros((_PASSAGES * len(sources), VIEWS + 2 * len(view_names)), np.int64)
        rows[:, 0] = np.arange(len(rows)) % _IN_DOCUMENT
        rows[:, BYTES::2] = lengths
        sums = tuple(_PASSAGES * length for length in lengths)
        summaries = [
            SourcePassages(name, number * _PASSAGES, _PASSAGES, _PASSAGES // _IN_DOCUMENT, sums)
            for number, name in enumerate(sources)
        ]
        return Table(rows, Summary(tuple(summaries), lengths))
