"""A tiny predictor's model with weights that say something about the next byte, drawn at random: no training."""

import pytest
import torch

from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.neural import predictor_training
from byteproxy.vocab import FIRST_SYMBOL


def random_model(seed=0, spread=0.6, layers=2):
    config = ModelConfig(width=32, layers=layers, heads=2, ffn=64)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Transformer(config, FIRST_SYMBOL)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
        torch.nn.init.normal_(model.lm_head.weight, std=spread)
    return model


@pytest.fixture
def tiny(monkeypatch):
    """Training of size 1m trains a model that takes seconds."""
    monkeypatch.setattr(
        "byteproxy.train.budget.fastest_dtype", lambda *_: "float32"
    )  # measured: a busy machine may differ
    model = ModelConfig(width=32, layers=1, heads=2, ffn=64)
    monkeypatch.setitem(predictor_training.MODELS, "1m", (model, Shape(2, 1024, predictor_training.LONG), 1e-2))
