"""Runs with LoRA: what moves and what is kept of it, resumed, planned, merged; every objective."""

from dataclasses import replace

import pytest
import torch
from tests.train import toy_run
from tests.train.toy_run import weights

from byteproxy.errors import InputError
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.lora import merge
from byteproxy.model.lora_config import LoraConfig
from byteproxy.model.objective import Objective
from byteproxy.runs.load import load
from byteproxy.train import checkpoint
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.run_plan import plan_run
from byteproxy.train.trainer import Trainer
from byteproxy.training import train

CONFIG = replace(
    toy_run.CONFIG,
    stop="6 steps",
    model=replace(toy_run.CONFIG.model, byte_heads=2),
    mixture=Mixture(phases=(Phase(1.0, "one", 0.5),)),
    optim=OptimConfig("adamw", weight_decay=0.5, new_rows_rate=2.0),
    lora=LoraConfig(2, matrices=("q_proj", "o_proj", "up_proj", "down_proj")),
)
LEARNS = ("byte_heads.", "embed_tokens.new_rows", "lm_head.new_rows")


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    trainer = Trainer(CONFIG, store, folder)
    before = weights(trainer)
    trainer.run()
    return folder, before, trainer


def learns(name):
    return name.startswith(LEARNS) or ".lora_" in name


def test_what_the_model_had_stays_to_the_bit_and_leaves_no_moments(whole):
    folder, before, trainer = whole
    for name, tensor in weights(trainer).items():
        assert torch.equal(tensor, before[name]) != learns(name), name
    found = checkpoint.Reader(checkpoint.newest(folder / "checkpoints")).read_metadata().state_dict_metadata
    moments = {name.removeprefix("optimizers.state.").rpartition(".")[0] for name in found if "optimizers" in name}
    assert moments == {name for name in before if learns(name)}


def test_stopped_it_goes_on_to_the_same_bits(store, whole, tmp_path):
    first = Trainer(CONFIG, store, tmp_path)
    for _ in range(3):
        first.step()
    first.save()
    again = Trainer(CONFIG, store, tmp_path)
    again.run()
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(whole[2]).items())


def test_loaded_it_is_merged(store, whole, tmp_path):
    folder, _, _ = whole
    again = Trainer(CONFIG, store, folder)
    merge(again.model)
    loaded = load(folder)
    state = loaded.model.state_dict()
    assert state.keys() == again.model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.model.state_dict().items())
    loaded.export(tmp_path / "model")
    assert load(tmp_path / "model").generate("def ", 20)[0].text == loaded.generate("def ", 20)[0].text


def test_a_plan_counts_what_is_trained_and_less_memory(store, whole):
    folder, _, trainer = whole
    plan, full = (plan_run(config, store, 1e9) for config in (CONFIG, replace(CONFIG, lora=LoraConfig())))
    trained = sum(one.numel() for one in trainer.model.parameters() if one.requires_grad)
    assert (plan.trained_parameters, full.trained_parameters) == (trained, full.parameters)
    said = checkpoint.said(checkpoint.newest(folder / "checkpoints"))
    assert plan.parameters == said["about"]["parameters"] == full.parameters, "factors are merged, and gone"
    gone = full.parameters - trained
    added = sum(one.numel() for one in trainer.model.parameters()) - full.parameters
    assert full.memory_bytes - plan.memory_bytes == 4 * (3 * gone - added)
    assert plan.flops == pytest.approx(trainer.counters.flops, rel=1e-12)
    assert plan.flops < full.flops


@pytest.mark.parametrize(
    "changed",
    [
        {
            "objective": Objective(distill=0.5),
            "mixture": Mixture(phases=(Phase(1.0, "parallel", 0.8),)),
            "model": replace(CONFIG.model, symbol_heads=2),
        },
        {"model": replace(CONFIG.model, softmax="shared", value_embeddings=True, ngrams=(2,), ngram_rows=32)},
    ],
    ids=["distilled", "shared"],
)
def test_every_objective_is_that_of_the_merged_model(store, tmp_path, changed):
    trainer = Trainer(replace(CONFIG, **changed), store, tmp_path)
    for _ in range(3):
        trainer.step()
    plan, _ = trainer.stream.plan(trainer.state)
    rows = trainer.stream.rows(plan, 0, 2)
    with torch.no_grad():
        total = trainer.passes.losses(rows, plan.step).total
        merge(trainer.model)
        torch.testing.assert_close(trainer.passes.losses(rows, plan.step).total, total, rtol=1e-4, atol=1e-4)


def test_what_it_is_not_for_is_refused(store, tmp_path):
    with pytest.raises(InputError, match=r'lora\.rank is 2, and optim\.optimizer \'muon\'.*let it be "adamw"'):
        replace(CONFIG, optim=OptimConfig("muon"))
    with pytest.raises(
        InputError, match=r'lora\.rank is for a model that reads tokens: let model\.inputs be "symbols"'
    ):
        replace(CONFIG, model=replace(CONFIG.model, inputs="mean"), objective=Objective(symbols=0, bytes=1))
    with pytest.raises(InputError, match=r"lora\.rank is 2, and the run begins with no model.*--from PATH"):
        train(replace(CONFIG, corpus=str(store.path)), tmp_path / "run")
