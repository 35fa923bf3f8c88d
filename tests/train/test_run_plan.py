"""What a plan says against what a run then measures."""

from dataclasses import replace

import pytest
import torch

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.train import run_plan as train_plan
from byteproxy.train.run_plan import plan_run
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer, stream_of

CONFIG = TrainConfig(
    stop="7 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    mixture=Mixture(phases=(Phase(0.5, "pairs", 0.4, 0.9), Phase(0.5, "one", 0.9))),
    shape=Shape(2, 256, 100),
)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"views": (), "mixture": BYTES},
        {
            "model": replace(CONFIG.model, inputs="positions", byte_heads=3, hashed_rows=32, qk_norm=True),
            "objective": Objective(symbols=0.0, bytes=1.0),
        },
    ],
)
def test_a_short_run_is_planned_exactly(store, tmp_path, changed):
    config = replace(CONFIG, **changed)
    plan = plan_run(config, store, 1e9)
    trainer = Trainer(config, store, tmp_path)
    counters = trainer.run()
    assert plan.exact
    assert plan.parameters == sum(parameter.numel() for parameter in trainer.model.parameters())
    assert plan.flops == pytest.approx(counters.flops, rel=1e-12)
    assert plan.step_flops * 7 == pytest.approx(counters.flops, rel=1e-12)
    assert plan.text_bytes == pytest.approx(sum(counters.text_bytes), rel=1e-12)
    assert plan.positions == counters.positions
    assert plan.compressed_share == pytest.approx(sum(counters.positions_by[1:]) / sum(counters.positions_by))
    assert plan.flops_per_text_byte == pytest.approx(counters.flops / sum(counters.text_bytes))
    assert plan.seconds == pytest.approx(counters.flops / 1e9)
    assert (plan.matmul_rate, plan.assumed) == (None, ())


def test_a_long_run_is_sampled_over_its_whole_length(store):
    """The mixture goes from raw to compressed, so the first steps alone would be far off."""
    phases = (Phase(1.0, "one", 0.0, 1.0),)
    # 16 rows: with fewer, the passages of 64 steps are so few that their coins alone miss the share by some points.
    config = replace(CONFIG, stop="600 steps", mixture=Mixture(phases=phases), shape=Shape(16, 256, 100))
    plan = plan_run(config, store, 1e9)
    stream = stream_of(config, store)
    plans = list(stream.plans())
    assert (plan.steps, plan.planned_steps, plan.exact) == (600, 64, False)
    text = sum(int(stream.text_bytes(one).sum()) for one in plans)
    assert plan.text_bytes == pytest.approx(text, rel=0.05)
    first = sum(int(stream.text_bytes(one).sum()) for one in plans[:64]) / 64 * 600
    assert abs(first - text) > 0.2 * text
    shown = [sum(int(one.positions[0]) for one in plans), sum(int(one.positions[1]) for one in plans)]
    assert plan.compressed_share == pytest.approx(shown[1] / sum(shown), abs=0.04)


@pytest.mark.parametrize(
    ("stop", "key", "amount"),
    [
        ("100_000 positions", "positions", 100_000),
        ("300000 bytes", "text_bytes", 300_000),
        ("3e10 flops", "flops", 3e10),
        ("2 minutes", "seconds", 120),
        ("2minutes", "seconds", 120),
    ],
)
def test_a_run_of_any_length_has_steps(store, stop, key, amount):
    plan = plan_run(replace(CONFIG, stop=stop), store, 2e8)
    assert getattr(plan, key) == pytest.approx(amount, rel=0.05)


def test_without_a_corpus_lengths_are_assumed(monkeypatch):
    plan = plan_run(replace(CONFIG, views=(), stop="40 steps", mixture=Mixture("symbols")), None, 1e9)
    assert plan.views == ("assumed",)
    assert plan.corpus_bytes is None
    assert len(plan.assumed) == 2
    # A passage is 100 bytes in 33 symbols with 3 around them; rows cut some, which repeats a sentinel.
    assert plan.step_text_bytes == pytest.approx(512 * 100 / 36, rel=0.03)
    assert plan.compressed_share == 1
    raw = plan_run(replace(CONFIG, views=(), stop="40 steps", mixture=BYTES), None, 1e9)
    assert raw.views == ()
    assert raw.step_text_bytes == pytest.approx(512 * 100 / 103, rel=0.03)
    for mode in ("pairs", "parallel", "switch", "one"):
        mixture = Mixture(phases=(Phase(1.0, mode, 0.5),), source_weights={"web": 2.0, "code": 1.0})
        assert plan_run(replace(CONFIG, views=("a", "b"), mixture=mixture), None, 1e9).views == ("a", "b")


def test_nothing_of_a_large_model_is_allocated(monkeypatch):
    """14 billion parameters would be 57 GB."""
    huge = replace(
        CONFIG,
        views=(),
        dtype="bfloat16",
        model=ModelConfig(width=5120, layers=40, heads=40, ffn=16384),
        shape=Shape(4, 1024, 512),
    )
    plan = plan_run(huge, None, 1e14)
    assert plan.parameters == 40 * (4 * 5120**2 + 3 * 5120 * 16384 + 2 * 5120) + 5120 + 2 * 5120 * (320 + 4096)
    assert plan.raw_parameters == huge.model.raw_parameters()
    assert plan.memory_bytes > 12 * plan.parameters
    assert torch.get_default_device().type == "cpu"


def test_less_at_once_needs_less_memory(store):
    assert (
        plan_run(replace(CONFIG, micro_sequences=1), store, 1e9).memory_bytes
        < plan_run(CONFIG, store, 1e9).memory_bytes
    )


def test_without_a_rate_the_machine_is_measured(store, monkeypatch):
    asked = []

    def rate(dtype, shape, device):
        asked.append((dtype, shape, device.type))
        return 5e9

    monkeypatch.setattr(train_plan, "matmul_rate", rate)
    plan = plan_run(replace(CONFIG, device="cpu"), store)
    assert asked == [(torch.float32, (512, 32, 64), "cpu")]
    assert (plan.matmul_rate, plan.rate) == (5e9, 2e9)
    assert "40 % of the rate" in plan.assumed[0]


def test_a_configuration_that_does_not_fit_the_corpus_is_refused(store):
    with pytest.raises(InputError, match="no view 'other'"):
        plan_run(replace(CONFIG, views=("other",)), store, 1e9)
