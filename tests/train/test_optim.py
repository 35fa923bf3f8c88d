import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.train.muon import Muon
from byteproxy.train.optim import Update
from byteproxy.train.optim_config import OptimConfig, learning_rate


@given(st.integers(2, 300), st.integers(0, 100), st.floats(0, 1))
def test_cosine_is_torchs_after_its_warm_up(steps, warmup, final_share):
    warmup = min(warmup, steps - 1)
    config = OptimConfig(learning_rate=2.0, warmup_share=warmup / steps, schedule="cosine", final_share=final_share)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr=2.0)
    oracle = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - warmup, eta_min=2.0 * final_share)
    for step in range(warmup, steps):
        assert learning_rate(config, step, steps) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        oracle.step()
    for step in range(warmup):
        assert learning_rate(config, step, steps) == pytest.approx(2.0 * (step + 1) / warmup)


@given(st.integers(1, 300), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 1))
def test_wsd_is_three_straight_lines(steps, warmup_share, decay_share, final_share):
    config = OptimConfig(learning_rate=2.0, warmup_share=warmup_share, decay_share=decay_share, final_share=final_share)
    warmup, decay = max(1.0, warmup_share * steps), max(1.0, decay_share * steps)
    for step in range(steps):
        rise = np.interp(step + 1, [0, warmup], [0, 2])
        fall = np.interp(step, [steps - decay, steps], [2, 2 * final_share])
        assert learning_rate(config, step, steps) == pytest.approx(min(rise, fall), abs=1e-9)


@given(st.sampled_from(["wsd", "cosine"]), st.integers(1, 200), st.floats(0, 0.6), st.floats(0, 1))
def test_no_step_is_taken_at_nothing_or_above_the_peak(schedule, steps, warmup_share, final_share):
    config = OptimConfig(learning_rate=2.0, warmup_share=warmup_share, schedule=schedule, final_share=final_share)
    rates = [learning_rate(config, step, steps) for step in range(steps)]
    assert all(0 < rate <= 2.0 for rate in rates)
    assert rates.index(max(rates)) <= math.ceil(warmup_share * steps)


def test_a_cosine_ignores_the_share_of_the_other_schedule():
    one, other = (OptimConfig(schedule="cosine", warmup_share=0.5, decay_share=share) for share in (0.0, 0.9))
    assert all(learning_rate(one, step, 50) == learning_rate(other, step, 50) for step in range(50))


class Odd(torch.nn.Module):
    """Some of all: tied tables, biases, a stack of matrices, a frozen one, heads beside the layers."""

    def __init__(self):
        super().__init__()
        self.dtype = torch.float32
        self.embed_tokens = torch.nn.Embedding(10, 4)
        self.lm_head = torch.nn.Linear(4, 10, bias=False)
        self.lm_head.weight = self.embed_tokens.weight
        layer = torch.nn.Module()
        layer.linear = torch.nn.Linear(4, 6)
        layer.frozen = torch.nn.Linear(4, 4, bias=False).requires_grad_(False)
        layer.norm = torch.nn.Parameter(torch.ones(4))
        layer.experts = torch.nn.Parameter(torch.ones(3, 4, 4))
        self.layers = torch.nn.ModuleList([layer])
        self.heads = torch.nn.ModuleList([torch.nn.Linear(4, 10)])


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("decay_all", [False, True])
def test_every_parameter_is_owned_once_and_matrices_inside_layers_are_decayed(optimizer, decay_all):
    model = Odd()
    config = OptimConfig(
        optimizer, weight_decay=0.3, beta1=0.8, beta2=0.9, epsilon=1e-7, momentum=0.7, decay_all=decay_all
    )
    made = Update(model, config).optimizers
    owned = [p for o in made for group in o.param_groups for p in group["params"]]
    assert sorted(map(id, owned)) == sorted(id(p) for p in model.parameters())
    names = {id(p): name for name, p in model.named_parameters()}
    by_decay = {share: set() for share in (0.0, 0.3)}
    for group in (group for o in made for group in o.param_groups):
        by_decay[group["weight_decay"]] |= {names[id(p)] for p in group["params"]}
    inside = {"layers.0.linear.weight", "layers.0.frozen.weight"}
    assert by_decay[0.3] == (set(names.values()) if decay_all else inside)
    kinds = {"muon": [Muon, torch.optim.AdamW], "adamw": [torch.optim.AdamW]}
    assert [type(o) for o in made] == kinds[optimizer]
    if optimizer == "muon":
        (group,) = made[0].param_groups
        assert {names[id(p)] for p in group["params"]} == inside
        assert group["momentum"] == 0.7
    for group in made[-1].param_groups:
        assert (group["betas"], group["eps"], group["fused"]) == ((0.8, 0.9), 1e-7, True)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("optimizer", ["sgd"]),
        ("schedule", ["linear"]),
        ("learning_rate", [0.0, -1.0, math.nan, math.inf]),
        ("clip", [0.0, math.nan]),
        ("epsilon", [0.0, -1e-9]),
        ("warmup_share", [-0.1, 1.1, math.nan]),
        ("decay_share", [-0.1, 1.1, math.nan, 0.99]),
        ("final_share", [-0.1, 1.1, math.nan]),
        ("beta1", [-0.1, 1.0]),
        ("beta2", [-0.1, 1.0, math.nan]),
        ("momentum", [-0.1, 1.0]),
        ("weight_decay", [-0.1, math.nan, math.inf]),
        ("spike", [-1.0, 0.5, 1.0, math.nan, math.inf]),
        ("max_skips", [-1]),
        ("first_layer_rate", [-0.1, math.nan, math.inf]),
        ("last_layer_rate", [-0.1, math.nan, math.inf]),
        ("new_rows_rate", [-0.1, math.nan, math.inf]),
        ("new_rows_share", [-0.1, 1.1, math.nan]),
        ("new_rows_layers", [-1, 3]),
    ],
)
def test_wrong_settings_are_refused_by_name_with_a_remedy(field, values):
    for value in values:
        with pytest.raises(InputError, match=rf"optim\.{field} .*: (give|shorten) "):
            OptimConfig(**{field: value})


def test_the_edges_are_taken():
    OptimConfig(warmup_share=0.0, decay_share=1.0, final_share=1.0, beta1=0.0, momentum=0.0, weight_decay=0.0)
    OptimConfig(warmup_share=1.0, decay_share=0.4, schedule="cosine", spike=0.0, max_skips=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_multiplies_in_the_models_dtype(dtype, monkeypatch):
    model, seen = Odd(), []
    model.dtype = dtype
    muon, _ = Update(model, OptimConfig("muon")).optimizers
    monkeypatch.setattr("byteproxy.train.muon.orthogonalised", lambda x: (seen.append(x.dtype), x)[1])
    model.layers[0].linear.weight.grad = torch.ones(6, 4)
    muon.step()
    assert seen == [dtype]
