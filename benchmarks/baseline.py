"""What pays for a small byte model, on the bytes arm alone: options of optimizer and model, each by itself.

All see the same rows for the same number of steps, and what a step takes is given beside what it brings: `bpb` on raw
validation text, `seconds` of training, and `seconds_to_plain`: when this one was where the plain one ended, by its own
curve, over the plain one's seconds (below 1 pays, None never got there). One seed, and learning rates tried at three
values for both optimizers, so small differences say nothing.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from byteproxy.corpus.split import SplitOptions
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.generate.score import score
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.model_config import ModelConfig
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.compiler import fastest_dtype
from byteproxy.train.metrics import read
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

STEPS, LOOKS, VALIDATION_BYTES = 60, 4, 20_000
MODEL = ModelConfig(width=192, layers=4, heads=3, ffn=512)
PLAIN = OptimConfig("muon", learning_rate=3e-3)
VARIANTS: dict[str, dict] = {
    "muon 3e-3 (plain)": {},
    "muon 1e-3": {"optim": replace(PLAIN, learning_rate=1e-3)},
    "muon 1e-2": {"optim": replace(PLAIN, learning_rate=1e-2)},
    "adamw 1e-3": {"optim": OptimConfig("adamw", learning_rate=1e-3)},
    "adamw 3e-3": {"optim": OptimConfig("adamw", learning_rate=3e-3)},
    "adamw 1e-2": {"optim": OptimConfig("adamw", learning_rate=1e-2)},
    "qk_norm": {"model": replace(MODEL, qk_norm=True)},
    "soft_cap 15": {"model": replace(MODEL, soft_cap=15.0)},
    "value_embeddings": {"model": replace(MODEL, value_embeddings=True)},
    "ngrams 2 3 4": {"model": replace(MODEL, ngrams=(2, 3, 4), ngram_rows=16384)},
    "4 byte heads": {"model": replace(MODEL, byte_heads=4)},
}


def measure(say: Callable[[str], None]) -> dict:
    """Figures of every variant."""
    dtype = fastest_dtype("cpu")
    figures: dict = {"steps": STEPS, "positions_a_step": 4096}
    with tempfile.TemporaryDirectory() as folder:
        say("prepare the corpus ...")
        prepare_documents(read_stdlib(), Path(folder), SplitOptions(0.05, 0.1))
        store = Store.open(Path(folder))
        texts = held_out_texts(store, "validation", VALIDATION_BYTES, 20_000)
        plain = TrainConfig(
            stop=f"{STEPS} steps",
            dtype=dtype,
            compile=False,
            model=MODEL,
            mixture=BYTES,
            shape=Shape(2, 2048, 512),
            optim=PLAIN,
            validate_every=STEPS // LOOKS,
            checkpoint_seconds=1e9,
        )
        curves = {}
        for name, other in VARIANTS.items():
            say(f"{name} ...")
            curves[name] = _curve(replace(plain, **other), store, texts, Path(folder) / "runs" / name)
        seconds, end = curves["muon 3e-3 (plain)"][-1]
        for name, curve in curves.items():
            reached = _reached(curve, end)
            figures[name] = {
                "bpb": round(curve[-1][1], 4),
                "seconds": round(curve[-1][0], 1),
                "seconds_to_plain": None if reached is None else round(reached / seconds, 3),
            }
    return figures


def _curve(config: TrainConfig, store: Store, texts: list[bytes], folder: Path) -> list[tuple[float, float]]:
    trainer = Trainer(config, store, folder)
    trainer.run(lambda model: {"raw_bpb": score(model, texts, 512, 256).bpb})
    lines = read(folder / "metrics.jsonl")
    return [(line["seconds"], line["raw_bpb"]) for line in lines if "raw_bpb" in line]


def _reached(curve: list[tuple[float, float]], bpb: float) -> float | None:
    """The seconds at which a falling curve was at that height, in a straight line between its points."""
    seconds, heights = np.array(curve).T
    return float(np.interp(-bpb, -heights, seconds)) if heights[-1] <= bpb else None
