"""Runs as they train: what a step does, what is counted, what is refused."""

import json
import warnings
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toy_corpus import toy_store
from tests.train.toy_run import CONFIG, losses, same, weights

from byteproxy.errors import InputError
from byteproxy.mixture.planner import State
from byteproxy.mixture.schedule import BYTES, Mixture, Phase
from byteproxy.model.attention.layout import layout_of
from byteproxy.store.store import Store
from byteproxy.train.metrics import read
from byteproxy.train.optim import Update
from byteproxy.train.optim_config import OptimConfig, learning_rate
from byteproxy.train.trainer import Trainer


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_training_lowers_the_loss_in_both_representations(store, tmp_path, optimizer):
    config = replace(CONFIG, stop="60 steps", optim=OptimConfig(optimizer, learning_rate=1e-2))
    Trainer(config, store, tmp_path).run()
    lines = read(tmp_path / "metrics.jsonl")
    for kind in ("raw_loss", "compressed_loss"):
        values = [line[kind] for line in lines if line[kind] is not None]
        assert sum(values[-5:]) / 5 < 0.75 * values[0]


def test_no_step_takes_the_time_that_the_first_rows_of_all_take(store, tmp_path, monkeypatch):
    """The loader's inner loops are compiled where no cache has them, uncompiled models or not."""
    trainer = Trainer(replace(CONFIG, stop="1 steps"), store, tmp_path)
    calls, rows, step = [], trainer.stream.rows, trainer.step
    monkeypatch.setattr(trainer.stream, "rows", lambda *spans: calls.append("rows") or rows(*spans))
    monkeypatch.setattr(trainer, "step", lambda: calls.append("step") or step())
    trainer.run()
    assert calls == ["rows", "step", "rows"]


def test_a_stop_while_the_model_is_compiled_does_not_read_like_a_crash(store, tmp_path, monkeypatch):
    trainer = Trainer(replace(CONFIG, stop="1 steps"), store, tmp_path)
    trainer.model.compiled_for = 1
    told = "Error detected in PowBackward0. Traceback of forward call that caused the error"
    monkeypatch.setattr(trainer.passes, "_pass", lambda *_: warnings.warn(told, stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.passes.compile(trainer.stream.plan(trainer.state)[0])


def test_the_guard_hears_which_phase_it_is(undisturbed):
    assert undisturbed[1].guard.state_dict()["phase"] == 1


def test_two_runs_with_one_seed_are_the_same_and_another_seed_differs(store, undisturbed, tmp_path):
    folder, trainer = undisturbed
    again = Trainer(CONFIG, store, tmp_path / "again")
    again.run()
    assert losses(tmp_path / "again") == losses(folder)
    assert same(weights(again), weights(trainer))
    other = Trainer(replace(CONFIG, seed=1), store, tmp_path / "other")
    other.run()
    assert losses(tmp_path / "other") != losses(folder)


def test_validation_is_called_when_asked_and_at_the_end(undisturbed):
    folder, _ = undisturbed
    assert [line["step"] for line in read(folder / "metrics.jsonl") if "raw_bpb" in line] == [5, 10, 12]


def test_counters_hold_what_the_stream_showed(undisturbed):
    _, trainer = undisturbed
    counters, plans = trainer.counters, list(trainer.stream.plans())
    assert counters.positions == 12 * 512
    assert counters.segments == sum(plan.segments for plan in plans).tolist()
    assert counters.text_bytes == sum(trainer.stream.text_bytes(plan) for plan in plans).tolist()
    assert sum(counters.positions_by) == counters.positions
    assert counters.asked_rate == pytest.approx(sum(plan.rate for plan in plans))


def test_a_step_follows_the_mean_over_all_targets(store, tmp_path):
    """The gradient of a step against one document at a time and a plain softmax over all there is."""
    config = replace(CONFIG, mixture=BYTES, views=(), optim=OptimConfig(clip=1e9))
    trainer = Trainer(config, store, tmp_path)
    head = trainer.model.lm_head.weight
    plan, _ = trainer.stream.plan(trainer.state)
    rows = trainer.stream.rows(plan)
    nats, start = [], 0
    for length in rows.lengths:
        symbols = torch.from_numpy(rows.symbols[start : start + length])
        logits = trainer.model.hidden(symbols, layout_of(np.array([length])))[:-1] @ head.T
        nats.append(torch.nn.functional.cross_entropy(logits, symbols[1:], reduction="none"))
        start += int(length)
    torch.cat(nats).mean().backward()
    wanted = head.grad.clone()
    trainer.step()
    torch.testing.assert_close(head.grad, wanted, rtol=1e-3, atol=1e-6)


def test_steps_that_can_not_be_taken_change_nothing_and_too_many_stop_the_run(store, tmp_path, capsys):
    config = replace(CONFIG, optim=OptimConfig(max_skips=3))
    trainer = Trainer(config, store, tmp_path)
    with torch.no_grad():
        trainer.model.norm.weight[0] = float("nan")
    before = weights(trainer)
    with pytest.raises(InputError, match=r"4 steps in a row could not be taken.*lower optim.learning_rate"):
        trainer.run()
    after = weights(trainer)
    assert all(torch.equal(one.nan_to_num(7), after[name].nan_to_num(7)) for name, one in before.items())
    assert [line["step"] for line in read(tmp_path / "metrics.jsonl") if "skipped" in line] == [1, 2, 3]
    assert losses(tmp_path) == []  # and no line says what they cost
    assert "step 2 was not taken: the loss is nan" in capsys.readouterr().err
    kept = json.loads((tmp_path / "skipped" / "step-000002.json").read_text())
    assert kept["reason"] == "the loss is nan"
    state = State(**{**kept["state"], "drawn": tuple(kept["state"]["drawn"])})
    plan, _ = trainer.stream.plan(state)
    assert plan.step == 2  # the rows can be looked at again


def test_one_bad_step_is_passed_over(store, tmp_path):
    """A gradient as from a broken machine, once: the run goes on, and the weights never see it."""
    trainer = Trainer(CONFIG, store, tmp_path)
    whole = trainer.passes.losses

    def broken_once(rows, step):
        found = whole(rows, step)
        return found._replace(total=found.total * float("inf")) if step == 5 else found

    trainer.passes.losses = broken_once
    counters = trainer.run()
    assert counters.skipped == 1
    assert all(bool(torch.isfinite(one).all()) for one in weights(trainer).values())
    assert [path.name for path in (tmp_path / "skipped").iterdir()] == ["step-000005.json"]


def test_learning_rate_rises_holds_and_falls():
    config = OptimConfig(learning_rate=1.0, warmup_share=0.1, decay_share=0.4)
    curve = [learning_rate(config, step, 100) for step in range(100)]
    assert curve[0] == pytest.approx(0.1)
    assert curve[9:60] == [1.0] * 51
    assert curve[80] == pytest.approx(0.5)
    assert curve[99] == pytest.approx(0.025)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_optimizers_own_every_parameter_once_and_decay_matrices_only(store, tmp_path, optimizer):
    model = Trainer(CONFIG, store, tmp_path).model
    groups = [group for o in Update(model, OptimConfig(optimizer)).optimizers for group in o.param_groups]
    owned = [id(p) for group in groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(p) for p in model.layers.parameters() if p.dim() == 2}


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: replace(CONFIG, stop="0 steps"), "stop"),
        (lambda: replace(CONFIG, seed=-1), "seed"),
        (lambda: replace(CONFIG, dtype="float8"), "dtype"),
        (lambda: OptimConfig("sgd"), "optim.optimizer"),
        (lambda: OptimConfig(learning_rate=0), "optim.learning_rate"),
        (lambda: OptimConfig(decay_share=1.0), "decay_share"),
    ],
)
def test_wrong_settings_are_refused_by_name(make, field):
    with pytest.raises(InputError, match=field):
        make()


def test_a_corpus_with_a_flipped_byte_is_refused(tmp_path):
    """Before anything is trained, and again by a run that goes on; a corpus that is put right is taken."""
    store, _ = toy_store(tmp_path / "corpus")
    Trainer(replace(CONFIG, stop="2 steps"), store, tmp_path / "run").run()
    path = store.path / store.manifest.views[0].files[0].name
    sound = path.read_bytes()
    path.write_bytes(sound[:5000] + bytes([sound[5000] ^ 1]) + sound[5001:])
    for folder in ("run", "another"):
        with pytest.raises(InputError, match=rf"{path.name} was altered"):
            Trainer(replace(CONFIG, stop="2 steps"), Store.open(store.path), tmp_path / folder)
    path.write_bytes(sound)
    Trainer(replace(CONFIG, stop="2 steps"), Store.open(store.path), tmp_path / "run")


def test_metrics_say_what_came_out_of_the_mixture(undisturbed):
    folder, trainer = undisturbed
    last = read(folder / "metrics.jsonl")[-1]
    share = last["compressed_share"]
    assert share["segments"] == sum(trainer.counters.segments[1:]) / sum(trainer.counters.segments)
    assert 0 < share["positions"] < share["text_bytes"] < 1
    planned = [plan.segments for plan in trainer.stream.plans()]
    assert share["segments"] == sum(int(one[1]) for one in planned) / sum(int(one.sum()) for one in planned)


def test_what_takes_long_at_the_start_is_shown(tmp_path):
    """Every byte of the corpus, then every passage; a second time the passages are there."""
    store, _ = toy_store(tmp_path / "corpus")
    seen: list[tuple[str, int]] = []

    @contextmanager
    def stage(what, unit):
        yield lambda done, total, note="": seen.append((what, done))

    trainer = Trainer(CONFIG, store, tmp_path / "run", stage)
    assert ("verify the corpus", sum(file.size for file in store.manifest.files)) in seen
    assert seen[-1] == ("find passages", len(trainer.stream.table.rows))
    seen.clear()
    Trainer(CONFIG, store, tmp_path / "run", stage)
    assert {what for what, _ in seen} == {"verify the corpus"}


def test_a_mixture_without_sentinels_is_refused():
    with pytest.raises(InputError, match=r"mode plain: without sentinels"):
        replace(CONFIG, mixture=Mixture(phases=(Phase(0.5, "plain", 0.5), Phase(0.5, "one", 0.5))))


def test_two_runs_in_one_folder_at_a_time_are_refused(store, tmp_path):
    """A second one, begun while the first is between two steps."""
    refused = []

    def begin_another(done, total, note):
        with pytest.raises(InputError, match="in use by another run"):
            Trainer(CONFIG, store, tmp_path).run()
        refused.append(done)

    Trainer(CONFIG, store, tmp_path).run(progress=begin_another)
    assert len(refused) == 12
    assert len(losses(tmp_path)) == 12
