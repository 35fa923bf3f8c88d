"""Optimizer states in bfloat16: what they cost, what they change, and that they go on to the same bits."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train.toy_run import CONFIG, losses, same, weights

from byteproxy.train import bfloat16_states
from byteproxy.train.bfloat16_states import Bfloat16AdamW, round_into
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.trainer import Trainer

HALF = replace(CONFIG, stop="4 steps", optim=OptimConfig(states="bfloat16"))
BITS = torch.arange(1 << 16, dtype=torch.int32)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**126), max_value=2.0**126))
def test_over_all_random_bits_the_mean_is_exact(exact):
    """So rounding has no drift; and no number goes further than to one of its two neighbours."""
    found = torch.empty(1 << 16, dtype=torch.bfloat16)
    round_into(found, torch.full((1 << 16,), exact), BITS)
    near = found.double().unique()
    assert len(near) <= 2
    assert near.min() <= exact <= near.max()
    scale = max(abs(exact), 1e-30)
    assert float(found.double().mean()) == pytest.approx(exact, rel=1e-7, abs=1e-7 * scale)


def laid_otherwise(shape):
    """Numbers of that shape that don't lie in the order of their places."""
    return torch.randn(*reversed(shape)).permute(*reversed(range(len(shape))))


shapes = st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=3), min_size=1, max_size=4)


@settings(max_examples=25)
@given(shapes, st.floats(0, 0.5), st.integers(1, 300), st.integers(0, 99))
def test_moves_as_torchs_own(shapes, weight_decay, stretch, seed):
    """The first step to the last bits, as no moment was rounded yet; five steps to what bfloat16 tells apart."""
    torch.manual_seed(seed)
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(one.detach().clone()) for one in mine]
    options = {"lr": 0.1, "betas": (0.9, 0.95), "eps": 1e-10, "weight_decay": weight_decay}
    optimizers = Bfloat16AdamW(mine, **options), torch.optim.AdamW(theirs, **options)
    start = [one.detach().clone() for one in mine]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bfloat16_states, "STRETCH", stretch)
        for turn in range(5):
            for number, (one, other) in enumerate(zip(mine, theirs, strict=True)):
                one.grad = None if (turn + number) % 4 == 3 else laid_otherwise(one.shape)
                other.grad = None if one.grad is None else one.grad.clone()
            for optimizer in optimizers:
                optimizer.step()
            if turn == 0:
                for one, other in zip(mine, theirs, strict=True):
                    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for one, other, before in zip(mine, theirs, start, strict=True):
        assert (one - other).norm() <= 0.03 * (other - before).norm() + 1e-6
        state = optimizers[0].state[one]
        assert {str(state[name].dtype) for name in bfloat16_states.MOMENTS if name in state} <= {"torch.bfloat16"}


def test_a_second_moment_falls_as_slowly_as_it_should():
    """Rounded to the nearest it would stay for ever: a thousandth of it is less than bfloat16 tells apart."""
    parameter = torch.nn.Parameter(torch.zeros(4000))
    optimizer = Bfloat16AdamW([parameter], lr=0.0, betas=(0.9, 0.999))
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    parameter.grad = torch.zeros_like(parameter)
    for _ in range(700):
        optimizer.step()
    left = float(optimizer.state[parameter]["exp_avg_sq"].float().mean())
    assert left == pytest.approx(0.001 * 0.999**700, rel=0.02)


def test_a_run_goes_on_to_the_same_bits_and_its_states_take_half(store, tmp_path):
    """Muon for matrices, whose momentum stays as it is, and AdamW for the rest."""
    whole = Trainer(HALF, store, tmp_path / "whole")
    whole.run()
    stopped = Trainer(HALF, store, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.run(progress=lambda done, total, note: stopped.stop_after_this_step() if done == 2 else None)
    resumed = Trainer(HALF, store, tmp_path / "stopped")
    resumed.run()
    assert same(weights(resumed), weights(whole))
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")

    def state_bytes(trainer):
        states = trainer.update.optimizers[-1].state.values()
        return sum(tensor.nbytes for state in states for tensor in state.values() if tensor.dim())

    plain = Trainer(replace(HALF, optim=OptimConfig()), store, tmp_path / "plain")
    plain.step()
    assert 2 * state_bytes(whole) == 2 * state_bytes(resumed) == state_bytes(plain)
