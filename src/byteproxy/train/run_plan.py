"""Plan a run before it starts: parameters, memory, FLOPs, text and time, without allocating a weight.

Everything is counted by what training itself counts with: plans of its steps, `step_flops`, and the model built on
torch's meta device. Of a run of many steps a sample is planned, evenly spaced, as the mixture changes on the way. Where
there is no corpus yet, one of lengths only stands in for it: passages as long as they may be, and an `AssumedView`.
Costs a second or two.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.corpus.records import Rules
from byteproxy.corpus.split import Split, SplitOptions
from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan
from byteproxy.model.lora import plain_parameters
from byteproxy.progress import Progress, silent
from byteproxy.store.manifest import Manifest, SourceInfo, ViewInfo
from byteproxy.store.passage_index import BYTES, VIEWS, SourcePassages, Summary, Table
from byteproxy.store.store import Store
from byteproxy.train.budget import ensured_steps, sampled_plans
from byteproxy.train.compiler import TORCH_DTYPES, device_of, fastest_dtype
from byteproxy.train.flops import matmul_rate, step_flops
from byteproxy.train.memory import ensure_plannable, peak_bytes
from byteproxy.train.train_config import TrainConfig, steps
from byteproxy.train.trainer import model_of, stream_of

MATMUL_UTILIZATION = 0.4
"""Share of the rate of plain matrix products that training is assumed to reach."""
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
    matmul_rate: FLOPs per second of this machine's matrix products; None if a rate was given.
    rate: FLOPs per second that the time is counted with.
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
    matmul_rate: float | None
    matmul_utilization: float | None
    rate: float
    seconds: float


def plan_run(
    config: TrainConfig, store: Store | None, rate: float | None = None, view: AssumedView = USUAL_VIEW
) -> RunPlan:
    """The figures of a run on one process.

    store: the corpus; None where there is none yet, which is then assumed, with this view.
    rate: FLOPs per second that training reaches; None measures this machine's rate of matrix products
        and takes `MATMUL_UTILIZATION` of it.
    Raises InputError where the configuration and the store don't fit together.
    """
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
        config = replace(config, dtype=fastest_dtype(config.device))
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
    return RunPlan(
        assumed=tuple(assumed),
        views=config.views,
        dtype=config.dtype,
        parameters=plain_parameters(model),
        matrix_parameters=config.model.matrix_parameters,
        raw_parameters=config.scaffolding.finished(config.model).raw_parameters(),
        trained_parameters=trained,
        memory_bytes=peak_bytes(config, held, counted.stream.vocab.size),
        pass_positions=pass_positions,
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
        matmul_rate=machine,
        matmul_utilization=None if machine is None else MATMUL_UTILIZATION,
        rate=rate,
        seconds=flops * count / rate,
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
