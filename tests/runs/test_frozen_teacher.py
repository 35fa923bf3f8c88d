"""A frozen teacher: what the model that a run began with says, whatever becomes of the one that learns."""

import shutil
from dataclasses import replace

import pytest
import torch
from tests.runs.test_start import BOS, RUN, SHAPE
from tests.toy_corpus import toy_store
from tests.train.toy_run import losses, same, weights

from byteproxy.errors import InputError
from byteproxy.interop.llama import export_llama
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.planner import State
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.lora_config import LoraConfig
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.model.objective import Objective, check_fit
from byteproxy.runs.start import fitted_to_start, start_from
from byteproxy.train import budget
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.trainer import Trainer
from byteproxy.training import train

FORMS = {
    "segmented": Objective(distill=0.5),
    "causal": Objective(distill=0.5, distill_form="causal"),
    "light": Objective(distill=0.5, distill_form="causal", distill_threshold=0.1),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A corpus, a random Llama of its tokens, and a run of four steps that begins with it and distils from it."""
    folder = tmp_path_factory.mktemp("frozen")
    store, view = toy_store(folder / "c")
    torch.manual_seed(0)
    tokens = Transformer(SHAPE, BOS + 2)
    for parameter in tokens.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    export_llama(tokens, 200, folder / "llama", rows=None)
    view.save(folder / "llama/tokenizer.json")
    asked = replace(
        RUN,
        stop="4 steps",
        corpus=str(folder / "c"),
        views=(),
        model=ModelConfig(byte_heads=2),
        mixture=Mixture(phases=(Phase(1.0, "parallel", 0.5),)),
        shape=Shape(2, 512, 100),
        optim=OptimConfig("adamw", learning_rate=0.01),
        log_every=1,
    )
    return fitted_to_start(asked, store, folder / "llama"), store, folder


def frozen(config, form="segmented"):
    return replace(config, objective=replace(FORMS[form], distill_teacher="frozen"))


def trainer_of(config, store, folder):
    return Trainer(config, store, folder, start_from=start_from)


def first_losses(trainer):
    """Of the first step's rows, by column."""
    plan, _ = trainer.stream.plan(State())
    found = trainer.passes.losses(trainer.stream.rows(plan, 0, 2), 0)
    return found.total, dict(zip(trainer.averages.columns, found.nats[0].tolist(), strict=True))


@pytest.mark.parametrize("form", ["segmented", "light"])
def test_at_first_it_says_what_the_model_itself_does_and_then_goes_on_saying_so(begun, tmp_path, form):
    config, store, _ = begun
    own = trainer_of(replace(config, objective=FORMS[form]), store, tmp_path / "own")
    taught = trainer_of(frozen(config, form), store, tmp_path / "frozen")
    (own_total, before), (total, said) = first_losses(own), first_losses(taught)
    torch.testing.assert_close(total, own_total, rtol=1e-5, atol=1e-5)
    assert said == pytest.approx(before, rel=1e-4)
    total.backward()
    assert all(one.grad is None and not one.requires_grad for one in taught.passes.teacher.model.parameters())
    raw = [one.grad is not None and one.grad.any() for one in taught.model.parameters()]
    assert all(raw)
    for trainer in (own, taught):
        trainer.run()
    (_, own_after), (_, after) = first_losses(own), first_losses(taught)
    for column in ("teacher", *(["left_out"] if form != "segmented" else [])):
        assert after[column] == pytest.approx(before[column], rel=1e-4)
        assert own_after[column] != pytest.approx(before[column], rel=1e-2)
    assert after["distilled"] < before["distilled"]
    assert weights(taught).keys() == weights(own).keys(), "a checkpoint has nothing of it"


def test_stopped_it_goes_on_to_the_same_bits_and_finished_needs_no_teacher(begun, tmp_path):
    config, store, _ = begun
    config = replace(frozen(config, "light"), dtype="bfloat16")
    whole = trainer_of(config, store, tmp_path / "whole")
    whole.run()
    stopped = trainer_of(config, store, tmp_path / "stopped")
    assert {one.dtype for one in stopped.passes.teacher.model.parameters()} == {torch.bfloat16}
    stopped.step()
    stopped.step()
    stopped.save()
    trainer_of(config, store, tmp_path / "stopped").run()
    again = Trainer(config, store, tmp_path / "stopped")
    assert again.passes.teacher is None
    assert same(weights(whole), weights(again))
    assert losses(tmp_path / "whole")[-1] == losses(tmp_path / "stopped")[-1]


def test_another_model_than_the_one_that_began_is_refused_at_a_resume(begun, tmp_path):
    config, store, folder = begun
    shutil.copytree(folder / "llama", tmp_path / "llama")
    config = fitted_to_start(frozen(config), store, tmp_path / "llama")
    trainer = trainer_of(config, store, tmp_path / "run")
    trainer.step()
    trainer.save()
    weights_file = tmp_path / "llama/model.safetensors"
    content = bytearray(weights_file.read_bytes())
    content[-1] ^= 1
    weights_file.write_bytes(bytes(content))
    with pytest.raises(InputError, match="is not the one that the run was begun with"):
        trainer_of(config, store, tmp_path / "run")
    shutil.rmtree(tmp_path / "llama")
    with pytest.raises(InputError, match=r"is not there: bring it back"):
        trainer_of(config, store, tmp_path / "run")
    with pytest.raises(InputError, match=r"only `byteproxy train` has the model"):
        Trainer(config, store, tmp_path / "run")


def test_with_lora_the_weights_that_stay_are_the_teacher(begun, tmp_path):
    config, store, folder = begun
    shutil.copytree(folder / "llama", tmp_path / "llama")
    config = fitted_to_start(replace(frozen(config), lora=LoraConfig(2)), store, tmp_path / "llama")
    own = trainer_of(replace(config, objective=FORMS["segmented"]), store, tmp_path / "own")
    trainer = trainer_of(config, store, tmp_path / "run")
    before = first_losses(trainer)[1]
    assert before == pytest.approx(first_losses(own)[1], rel=1e-4)
    trainer.step()
    trainer.save()
    shutil.rmtree(tmp_path / "llama")
    again = trainer_of(config, store, tmp_path / "run")
    assert first_losses(again)[1]["teacher"] == pytest.approx(before["teacher"], rel=1e-4)
    memory = {one.data_ptr() for one in again.model.parameters()}
    assert {one.data_ptr() for one in again.passes.teacher.model.parameters()} <= memory


def test_tables_that_are_one_are_held_once(begun, tmp_path):
    config, store, _ = begun
    tied = Transformer(SHAPE, BOS + 2)
    tied.lm_head.weight.data.copy_(tied.embed_tokens.weight)
    export_llama(tied, 200, tmp_path / "llama", rows=None)
    store.view("bpe-300").save(tmp_path / "llama/tokenizer.json")
    config = fitted_to_start(frozen(config), store, tmp_path / "llama")
    teacher = trainer_of(config, store, tmp_path / "run").passes.teacher
    assert teacher.model.lm_head.weight is teacher.model.embed_tokens.weight


def test_its_speed_is_measured_without_a_model(begun, monkeypatch):
    config, store, _ = begun
    monkeypatch.setattr(budget, "_WARM_UP", 1)
    monkeypatch.setattr(budget, "_MEASURED", 1)
    assert budget.training_rate(frozen(config), store) > 0


def test_what_has_no_such_teacher_is_refused(begun, tmp_path):
    config, _, _ = begun
    with pytest.raises(InputError, match=r'distill_teacher is "frozen", and the run begins with no model.*--from PATH'):
        train(frozen(replace(RUN, corpus=config.corpus, mixture=config.mixture)), tmp_path / "run")
    with pytest.raises(InputError, match=r"distill_teacher is \"frozen\".*knows no symbols of 'other'"):
        replace(frozen(config), views=("bpe-300", "other"))
    with pytest.raises(InputError, match="distill_teacher is 'other': give one of own, frozen"):
        Objective(distill_teacher="other")
    check_fit(ModelConfig(ngrams=(2,)), replace(FORMS["causal"], distill_teacher="frozen"))
