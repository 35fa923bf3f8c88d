"""Memory of a rank, measured on fake tensors, against what can be counted."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.recipes import named
from byteproxy.recipes.named import run_named
from byteproxy.train import rank_memory
from byteproxy.train.cards import CARDS, Card
from byteproxy.train.memory import rank_bytes
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.rank_memory import fit_on, measured_memory
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import model_of
from byteproxy.vocab import Vocab

CONFIG = TrainConfig(
    stop="10 steps",
    dtype="bfloat16",
    mixture=BYTES,
    model=ModelConfig(width=1024, layers=3, heads=8, ffn=4096),
    shape=Shape(8, 2048, 1000),
    optim=OptimConfig("adamw"),
)
VOCAB = Vocab()
SYMBOLS = Vocab((4096,))


def largest_part(config, vocab, ranks):
    """Numbers that the first of these ranks has: of each parameter as many of its first dimension as come out even."""
    with torch.device("meta"):
        parameters = list(model_of(config, vocab.size).parameters())
    return sum(-(-len(one) // ranks) * (one.numel() // len(one)) for one in parameters)


@pytest.mark.parametrize(("ranks", "states", "bytes_each"), [(1, "float32", 8), (2, "bfloat16", 4), (7, "float32", 8)])
def test_a_rank_holds_its_part_of_weights_gradients_and_moments(ranks, states, bytes_each):
    small = replace(CONFIG.model, width=64, layers=2, ffn=100)
    config = replace(CONFIG, model=small, optim=OptimConfig("adamw", states=states), micro_sequences=1)
    found, own = measured_memory(config, SYMBOLS, ranks, "cuda"), largest_part(config, SYMBOLS, ranks)
    assert (found.weights, found.gradients, found.moments) == (4 * own, 4 * own, bytes_each * own)
    assert found.peak == found.weights + found.gradients + found.moments + found.other


@pytest.mark.parametrize(
    ("ranks", "micro", "checkpointing", "vocab"),
    [(2, 0, "none", SYMBOLS), (2, 0, "attention", VOCAB), (8, 0, "full", VOCAB), (2, 2, "full", SYMBOLS)],
)
def test_the_tracker_finds_what_can_be_counted(ranks, micro, checkpointing, vocab):
    config = replace(CONFIG, micro_sequences=micro, activation_checkpointing=checkpointing)
    found = measured_memory(config, vocab, ranks, "cuda")
    assert found.peak == pytest.approx(rank_bytes(config, vocab.size, ranks), rel=0.12)


def test_whole_gradients_wait_for_the_last_micro_batch():
    once, twice = (measured_memory(replace(CONFIG, micro_sequences=1), VOCAB, ranks, "cuda") for ranks in (8, 4))
    assert twice.other - once.other == pytest.approx(4 * CONFIG.model.matrix_parameters, rel=0.3)


@pytest.mark.parametrize(
    ("model", "objective"),
    [
        ({"inputs": "positions", "hashed_rows": 32, "byte_heads": 3}, {"symbols": 0.0, "bytes": 1.0}),
        ({"ngrams": (2, 3), "ngram_rows": 64, "ngram_outputs": True, "value_embeddings": True, "qk_norm": True}, {}),
    ],
    ids=["composed", "tables"],
)
def test_what_no_stock_model_has_is_measured_too(model, objective):
    small = ModelConfig(width=64, layers=2, heads=4, ffn=100, **model)
    config = replace(CONFIG, model=small, objective=Objective(**objective))
    found = measured_memory(config, SYMBOLS, 2, "cuda")
    assert found.weights == 4 * largest_part(config, SYMBOLS, 2)
    assert found.other > 0


def card(room):
    return Card("a-card", round(room / (1 - rank_memory.MARGIN)) + 1, 1e14, "a test")


def test_the_least_that_fits_is_computed_again_in_the_fewest_passes(monkeypatch):
    peaks = {
        (checkpointing, micro): a_row * micro + 1000 * (micro < 4)  # whole gradients wait where there are more passes
        for checkpointing, a_row in (("none", 1000), ("attention", 600), ("full", 300))
        for micro in (4, 2, 1)
    }

    def measured(config, vocab, ranks, kind):
        peak = peaks[config.activation_checkpointing, config.micro_sequences]
        return rank_memory.RankMemory(peak, 0, 0, 0, peak)

    monkeypatch.setattr(rank_memory, "measured_memory", measured)
    monkeypatch.setattr(rank_memory, "rank_bytes", lambda config, symbols, ranks: 0)
    for room, wanted in ((4000, ("none", 4)), (3999, ("none", 2)), (2500, ("none", 1)), (1999, ("attention", 1))):
        found = fit_on(CONFIG, VOCAB, 2, card(room))
        assert (found.activation_checkpointing, found.micro_sequences) == wanted
        assert found.passes == 4 // found.micro_sequences
        assert found.memory.peak == peaks[wanted]
    assert fit_on(CONFIG, VOCAB, 2, card(1550))[:3] == (4, 1, "full")


def test_what_fits_nowhere_is_refused_with_what_it_would_need():
    with pytest.raises(InputError, match="on each of 2 ranks even with activation_checkpointing full, and a-card has"):
        fit_on(CONFIG, VOCAB, 2, card(1e8))
    with pytest.raises(InputError, match="ranks is 9: give 1 to 8"):
        fit_on(CONFIG, VOCAB, 9, CARDS["h100-80gb"])


@pytest.mark.parametrize("name", ["0.5b", "1.5b", "4b", "7b", "14b"])
def test_recipes_fit_the_cluster_that_they_name(name):
    """By the count, which is near what is measured at these widths too; `benchmarks/plans.py` measures them whole."""
    config, text = run_named(name), Path(named.__file__).with_name(f"{name}.toml").read_text(encoding="utf-8")
    said = re.search(rf"`byteproxy train --plan {name} --ranks (\d+) --gpu ([\w-]+)`", text)
    assert said is not None
    ranks, room = int(said[1]), rank_memory.room_on(CARDS[said[2]])
    vocab = SYMBOLS if config.mixture.needs_view else VOCAB
    assert rank_bytes(config, vocab.size, ranks) <= room
    if name in ("0.5b", "14b"):
        short = replace(config, model=replace(config.model, layers=3))
        measured = measured_memory(short, vocab, ranks, "cuda").peak
        assert measured == pytest.approx(rank_bytes(short, vocab.size, ranks), rel=0.12)
