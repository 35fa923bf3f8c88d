"""A small run, and what is compared of runs."""

import torch

from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.train.metrics import read
from byteproxy.train.train_config import TrainConfig

CONFIG = TrainConfig(
    stop="12 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    mixture=Mixture(phases=(Phase(0.5, "pairs", 0.4, 0.9), Phase(0.5, "one", 0.9))),
    shape=Shape(2, 256, 100),
    log_every=1,
    validate_every=5,
)


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def same(one, other):
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def losses(folder):
    return [line["loss"] for line in read(folder / "metrics.jsonl") if "loss" in line]
