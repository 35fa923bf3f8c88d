"""What moments in bfloat16 change: the loss of tiny runs with them, less that of the same runs without.

`python benchmarks/bfloat16_states.py`: 200 steps of 1,024 positions, AdamW, 0.13 million parameters, Python's standard
library as text, a run for each of three seeds and each kind of moments. The seed decides weights and text alike, so
runs are compared in pairs. A loss is the mean over the last 50 steps, in nats a byte; `between_seeds` is the standard
deviation of the plain runs, beside which a difference counts. Two values of beta2: that of the recipes, and 0.999, with
which moments that are rounded to the nearest could not fall.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from byteproxy.corpus.split import SplitOptions
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.model_config import ModelConfig
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.metrics import read
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

SEEDS, STEPS, LAST, DOCUMENTS = (0, 1, 2), 200, 50, 400
CONFIG = TrainConfig(
    stop=f"{STEPS} steps",
    compile=False,
    model=ModelConfig(width=64, layers=2, heads=2, ffn=176),
    mixture=BYTES,
    shape=Shape(4, 256, 200),
    optim=OptimConfig("adamw", learning_rate=3e-3),
    log_every=1,
)


def measure() -> dict:
    """Losses and differences by beta2."""
    with tempfile.TemporaryDirectory() as folder:
        prepare_documents(islice(read_stdlib(), DOCUMENTS), Path(folder) / "corpus", SplitOptions(0.05, 0.1))
        store = Store.open(Path(folder) / "corpus")
        return {f"beta2 {beta2}": _of(store, Path(folder), beta2) for beta2 in (0.95, 0.999)}


def _of(store: Store, folder: Path, beta2: float) -> dict:
    losses = {
        states: [_loss(store, folder / f"{beta2}-{states}-{seed}", beta2, states, seed) for seed in SEEDS]
        for states in ("float32", "bfloat16")
    }
    more = np.subtract(losses["bfloat16"], losses["float32"])
    return {
        **{states: np.round(values, 4).tolist() for states, values in losses.items()},
        "differences": np.round(more, 4).tolist(),
        "mean_difference": round(float(more.mean()), 4),
        "between_seeds": round(float(np.std(losses["float32"], ddof=1)), 4),
    }


def _loss(store: Store, folder: Path, beta2: float, states: str, seed: int) -> float:
    config = replace(CONFIG, seed=seed, optim=replace(CONFIG.optim, beta2=beta2, states=states))
    Trainer(config, store, folder).run()
    lines = [line["loss"] for line in read(folder / "metrics.jsonl") if "loss" in line]
    return float(np.mean(lines[-LAST:]))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(json.dumps({"torch": torch.__version__, **measure()}, indent=2))
