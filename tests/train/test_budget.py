"""Steps of any budget, counted from plans."""

from dataclasses import replace

import pytest

from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, PAPER
from byteproxy.model.model_config import ModelConfig
from byteproxy.train import budget
from byteproxy.train.budget import resolved, steps_for_flops
from byteproxy.train.counters import Counters
from byteproxy.train.flops import step_flops
from byteproxy.train.train_config import TrainConfig, steps
from byteproxy.train.trainer import stream_of

CONFIG = TrainConfig(
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    shape=Shape(2, 256, 100),
)


def totals(config, store, count):
    """FLOPs and bytes of text of a run of so many steps."""
    stream = stream_of(replace(config, stop=steps(count)), store)
    plans = list(stream.plans())
    flops = sum(step_flops(config.model, config.objective, stream, plan) for plan in plans)
    return flops, sum(int(stream.text_bytes(plan).sum()) for plan in plans)


@pytest.mark.parametrize("mixture", [BYTES, PAPER])
def test_steps_come_nearest_to_the_budget(store, mixture):
    config = replace(CONFIG, mixture=mixture, views=CONFIG.views if mixture.needs_view else ())
    wanted = 1.0037 * totals(config, store, 150)[0]
    found = steps_for_flops(wanted, config, store)
    apart = {count: abs(totals(config, store, count)[0] - wanted) for count in (found - 1, found, found + 1)}
    assert apart[found] < 0.01 * wanted
    assert apart[found] <= 1.01 * min(apart.values())


def test_there_is_a_least_number_of_steps(store):
    assert steps_for_flops(1.0, CONFIG, store, fewest=20) == 20
    assert steps_for_flops(1.0, CONFIG, store) == 1


def test_every_unit_becomes_steps(store):
    assert resolved(replace(CONFIG, stop="5 steps"), store).steps == 5
    assert resolved(replace(CONFIG, stop="10,000 positions"), store).steps == 20
    flops, text = totals(CONFIG, store, 80)
    assert abs(resolved(replace(CONFIG, stop=f"{flops} flops"), store).steps - 80) <= 1
    assert abs(resolved(replace(CONFIG, stop=f"{text} bytes"), store).steps - 80) <= 2


def test_minutes_become_what_this_machine_does_in_them(store, monkeypatch):
    """By a rate that is measured once, and steps that are thrown away."""
    flops, _ = totals(CONFIG, store, 60)
    monkeypatch.setattr(budget, "training_rate", lambda config, store: flops / 30)
    found = resolved(replace(CONFIG, stop="0.5 minutes"), store)
    assert abs(found.steps - 60) <= 1
    assert found.stop == f"{found.steps} steps"


@pytest.mark.parametrize(("seconds", "steps"), [(3.0, 1 + 2), (0.01, 3 + 8)])
def test_of_long_steps_few_are_measured(store, monkeypatch, seconds, steps):
    taken = []

    class Clocked:
        def __init__(self, *_, start_from):
            self.counters = Counters()

        def step(self):
            taken.append(1)
            self.counters.flops += 6
            self.counters.seconds += seconds

    monkeypatch.setattr(budget, "Trainer", Clocked)
    kept = []
    monkeypatch.setattr(budget, "keep_freed_memory", lambda: kept.append(len(taken)))
    assert budget.training_rate(CONFIG, store) == pytest.approx(6 / seconds)
    assert len(taken) == steps
    assert kept == [0], "steps are measured as the run takes them"


def test_a_rate_is_measured_and_leaves_nothing(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 1e6 < budget.training_rate(replace(CONFIG, log_every=1), store) < 1e13
    assert list(tmp_path.iterdir()) == []


def test_a_dtype_is_chosen(store):
    assert resolved(replace(CONFIG, dtype="auto", stop="5 steps"), store).dtype in ("float32", "bfloat16")
