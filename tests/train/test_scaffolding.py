"""Runs with scaffolding: it helps, it goes away, and a stop changes nothing."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.toy_corpus import toy_store

from byteproxy.errors import InputError
from byteproxy.evaluate.validation import validate_with
from byteproxy.generate.score import score
from byteproxy.mixture.fading import Fading
from byteproxy.mixture.hints import Hints
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.train.identity import ensure_same_run, identity
from byteproxy.train.metrics import read
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.scaffolding import Scaffolding
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

PLAIN = TrainConfig(
    stop="12 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    mixture=Mixture(phases=(Phase(1.0, "one", 0.4),)),
    shape=Shape(3, 256, 100),
    optim=OptimConfig("adamw", learning_rate=1e-2),
    validation=Validation(2000, 500),
    log_every=1,
)
FADING = replace(PLAIN, scaffolding=Scaffolding(Hints(0.5, scale=Fading(1.0, 0.25, 0.5))))
STAYING = replace(PLAIN, scaffolding=Scaffolding(Hints(1.0)))
NGRAMS = replace(
    PLAIN,
    model=replace(PLAIN.model, ngrams=(2, 3), ngram_rows=64, ngram_outputs=True),
    scaffolding=Scaffolding(ngrams=Fading(1.0, 0.25, 0.75)),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("corpus"))[0]


def losses(folder):
    return np.array([line["loss"] for line in read(folder / "metrics.jsonl")])


def stepped(trainer, steps):
    for _ in range(steps):
        trainer.step()
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize("config", [FADING, STAYING, NGRAMS], ids=["fading", "staying", "ngrams"])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(store, tmp_path, config):
    whole = stepped(Trainer(config, store, tmp_path / "whole"), 12)
    first = Trainer(config, store, tmp_path / "stopped")
    stepped(first, 5)
    first.save()
    assert same(stepped(Trainer(config, store, tmp_path / "stopped"), 7), whole)


def test_hints_that_fade_change_a_run_and_leave_nothing_in_it(store, tmp_path):
    plain, fading = (Trainer(config, store, tmp_path / "none") for config in (PLAIN, FADING))
    assert not same(stepped(plain, 1), stepped(fading, 1))
    assert plain.model.state_dict().keys() == fading.model.state_dict().keys()
    assert fading.model.hints is None


def test_micro_batches_show_the_same_hints(store, tmp_path):
    for size in (0, 1):
        Trainer(replace(FADING, micro_sequences=size), store, tmp_path / str(size)).run()
    np.testing.assert_allclose(losses(tmp_path / "1"), losses(tmp_path / "0"), rtol=0, atol=1e-4)


def test_a_run_whose_hints_stay_is_measured_with_them(store, tmp_path):
    trainer = Trainer(STAYING, store, tmp_path)
    stepped(trainer, 12)
    model, texts = trainer.model.eval(), [b"def path_name(value):\n    return path_value\n"] * 2
    hinted = score(model, texts, 100).bpb
    figures = validate_with(STAYING, store)(model)
    model.hints = None
    assert score(model, texts, 100).bpb != pytest.approx(hinted, abs=1e-3)
    assert validate_with(STAYING, store)(model)["raw_bpb"] != pytest.approx(figures["raw_bpb"], abs=1e-3)


def test_tables_count_less_and_less_and_at_last_nothing(store, tmp_path):
    trainer = Trainer(NGRAMS, store, tmp_path)
    assert float(trainer.model.ngrams.scale) == 1.0
    scales = []
    for _ in range(12):
        stepped(trainer, 1)
        scales.append(float(trainer.model.ngram_bias.scale))
    assert scales == [pytest.approx(NGRAMS.scaffolding.ngrams.at(step / 12)) for step in range(1, 13)]
    assert scales[8:] == [0.0] * 4


def test_tables_learn_until_they_fall_and_the_rest_to_the_end(store, tmp_path):
    """If they learned while they fall, larger numbers would make up for a smaller scale, up to the last moment."""
    trainer = Trainer(NGRAMS, store, tmp_path)
    known = [stepped(trainer, 1) for _ in range(12)]
    for name in known[0]:
        moved = [not torch.equal(one[name], other[name]) for one, other in pairwise(known)]
        if "ngram" in name:  # steps 0 to 3 of 12 are at a scale of 1
            assert moved == [True] * 3 + [False] * 8, name
        else:
            assert all(moved[2:]), name


def test_a_run_whose_scaffolding_falls_becomes_no_longer(tmp_path):
    for config, name in ((FADING, "hints"), (NGRAMS, "ngrams")):
        with pytest.raises(InputError, match=rf"the scale of scaffolding\.{name} at step 5, as it falls"):
            ensure_same_run(identity(config), replace(config, stop="24 steps"), 6, tmp_path)
    longer = replace(STAYING, optim=OptimConfig(warmup_steps=2))
    ensure_same_run(identity(longer), replace(longer, stop="24 steps"), 6, tmp_path)


def test_what_a_model_has_not_is_refused():
    with pytest.raises(InputError, match=r"let model\.inputs be \"symbols\""):
        replace(FADING, model=replace(FADING.model, inputs="mean"))
    with pytest.raises(InputError, match=r"tables of model\.ngrams, which is empty"):
        replace(NGRAMS, model=PLAIN.model)


def test_what_falls_is_between_its_start_and_nothing():
    falls = [FADING.scaffolding.falls(step / 12) for step in range(13)]
    assert falls == [False] * 4 + [True] * 2 + [False] * 7
    assert [NGRAMS.scaffolding.falls(step / 12) for step in range(13)] == [False] * 4 + [True] * 5 + [False] * 4
    assert not any(STAYING.scaffolding.falls(step / 12) or PLAIN.scaffolding.falls(step / 12) for step in range(13))
