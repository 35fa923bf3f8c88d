"""The training step of the demo's recipe: positions a second, against this machine's own matrix products, arm by arm.

Floor: the products of one step (forward, input gradient, weight gradient) at the rate that this machine reaches for
each of their shapes alone, attention's products at the mean of these rates. `gemm_share` is that time over the step's,
optimizer included. Arms alternate in rounds of a few steps after a warm-up; a ratio is the median over rounds, with the
quartiles beside it.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from byteproxy.config import from_toml
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.attention import documents
from byteproxy.model.attention.layout import layout_of
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.study.recipe import Study
from byteproxy.train.flops import fastest_dtype, matrix_rate, plan_flops
from byteproxy.train.trainer import DTYPES, TrainConfig, Trainer
from byteproxy.views.bpe import BpeView

ROUNDS, STEPS = 9, 4
RECIPE = Path(__file__).parents[1] / "recipes" / "demo.toml"


def measure(say: Callable[[str], None]) -> dict:
    """Figures of the demo's model on this machine."""
    study = from_toml(RECIPE, Study)
    dtype = fastest_dtype()
    with tempfile.TemporaryDirectory() as folder:
        say("prepare the corpus ...")
        prepare_documents(read_stdlib(), Path(folder), study.split)
        view = BpeView.train((d.text for d in Store.open(Path(folder)).documents("train")), study.alphabet)
        add_view(Path(folder), view)
        store = Store.open(Path(folder))
        # Each mode held still: raw only, the mixture after its warm-up, and pairs in the middle of the warm-up.
        mixtures = {
            "bytes": study.arms["bytes"],
            "proxy": Mixture(phases=(Phase(1.0, "one", 0.9),)),
            "paired": Mixture(phases=(Phase(1.0, "pairs", 0.65),)),
        }
        say("train ...")
        trainers = {
            name: _trainer(study, mixture, view.name, dtype, store, folder) for name, mixture in mixtures.items()
        }
        seconds = _alternate({name: trainer.step for name, trainer in trainers.items()})
        figures: dict = {"dtype": str(dtype).removeprefix("torch."), "rounds": ROUNDS, "steps_per_round": STEPS}
        for name, trainer in trainers.items():
            step = float(np.median(seconds[name]))
            counters = trainer.counters
            figures[name] = {
                "positions_s": round(study.shape.positions / step),
                "gflops_s": round(counters.flops / counters.positions * study.shape.positions / step / 1e9, 1),
                "gemm_share": round(_floor(trainer, dtype) / step, 3),
                "loading_share": round(counters.loading_seconds / counters.seconds, 5),
            }
        figures["proxy_step_vs_bytes_step"] = _ratio(seconds["proxy"], seconds["bytes"])
        figures["paired_step_vs_bytes_step"] = _ratio(seconds["paired"], seconds["bytes"])
        figures["attention_sdpa_vs_ours"] = _attention(trainers["bytes"], dtype)
        figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return figures


def _trainer(study: Study, mixture: Mixture, view: str, dtype: torch.dtype, store: Store, folder: str) -> Trainer:
    name = next(name for name, known in DTYPES.items() if known == dtype)
    config = TrainConfig(
        1000, study.seed, (view,) if mixture.needs_view else (), name, study.model, mixture, study.shape, study.optim
    )
    return Trainer(config, store, Path(tempfile.mkdtemp(dir=folder)))


def _alternate(
    sides: dict[str, Callable[[], object]], rounds: int = ROUNDS, calls: int = STEPS
) -> dict[str, np.ndarray]:
    """Seconds a call, float64 [rounds], of each side in turn, after a warm-up round of all."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):
        for name, call in sides.items():
            begin = time.perf_counter()
            for _ in range(STEPS):
                call()
            if turn:
                seconds[name].append((time.perf_counter() - begin) / STEPS)
    return {name: np.array(values) for name, values in seconds.items()}


def _ratio(one: np.ndarray, other: np.ndarray) -> dict[str, float]:
    low, median, high = np.quantile(one / other, (0.25, 0.5, 0.75))
    return {"median": round(float(median), 3), "quartiles": [round(float(low), 3), round(float(high), 3)]}


def _floor(trainer: Trainer, dtype: torch.dtype) -> float:
    """Seconds of the matrix products of one step at this machine's rate for each shape."""
    plan, _ = trainer.stream.plan(trainer.state)
    shape, positions = trainer.config.model, int(plan.lengths.sum())
    kv = shape.kv_heads * shape.head_width
    products = [(positions, shape.width, shape.width + 2 * kv), (positions, shape.width, shape.width)] * shape.layers
    products += [(positions, shape.width, shape.ffn)] * 2 * shape.layers
    products += [(positions, shape.ffn, shape.width)] * shape.layers
    vocab = trainer.stream.vocab
    for representation in range(vocab.representations):
        if targets := int(plan.targets[representation]):
            products.append((targets, shape.width, vocab.softmax_rows(representation)))
    rates: dict[tuple[int, int, int], float] = {}
    seconds = flops = 0.0
    for m, k, n in products:
        for each in ((m, k, n), (m, n, k), (n, m, k)):
            if each not in rates:
                rates[each] = matrix_rate(dtype, each, 0.05)
            seconds += 2 * m * k * n / rates[each]
            flops += 2 * m * k * n
    attention = plan_flops(shape, vocab, plan) - flops
    return seconds + attention * seconds / flops


def _attention(trainer: Trainer, dtype: torch.dtype) -> dict[str, float]:
    """Forward and backward of one layer's attention on a step's documents: SDPA's kernel over batched products."""
    plan, _ = trainer.stream.plan(trainer.state)
    layout, shape = layout_of(plan.lengths), trainer.config.model
    size = (len(layout.positions_N), shape.heads, shape.head_width)
    qkv = [torch.randn(size, dtype=dtype, requires_grad=True) for _ in range(3)]
    longest = documents.LONGEST_PRODUCT

    def attend(limit: int) -> None:
        documents.LONGEST_PRODUCT = limit
        out = documents.attend(*qkv, layout)
        torch.autograd.grad(out, qkv, torch.ones_like(out))

    seconds = _alternate({"sdpa": lambda: attend(0), "ours": lambda: attend(longest)})
    documents.LONGEST_PRODUCT = longest
    return _ratio(seconds["sdpa"], seconds["ours"])
