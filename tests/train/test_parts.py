"""Parts of a model with rates and begins of their own, against AdamW number by number, and in whole runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.train import toy_run
from tests.train.toy_run import same, weights

from byteproxy.errors import InputError
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.train import checkpoint
from byteproxy.train.identity import ensure_same_run, identity
from byteproxy.train.optim import Update
from byteproxy.train.optim_config import OptimConfig, learning_rate
from byteproxy.train.trainer import Trainer
from byteproxy.vocab import FIRST_SYMBOL

LAYERS = 3
SMALL = ModelConfig(width=4, layers=LAYERS, heads=1, ffn=4, byte_heads=2, symbol_heads=3)
CONFIG = replace(
    toy_run.CONFIG,
    stop="9 steps",
    model=replace(toy_run.CONFIG.model, layers=LAYERS, byte_heads=2),
    mixture=Mixture(phases=(Phase(1.0, "one", 0.5),)),
)
PARTS = OptimConfig(
    "adamw", first_layer_rate=2.0, last_layer_rate=0.5, new_rows_rate=3.0, new_rows_share=0.5, new_rows_layers=1
)


def told(name, shape, config):
    """Of each number of a parameter, by the documentation: its rate, and whether it begins late."""
    depth = 0.0 if name.startswith("embed_tokens") else 1.0
    late = torch.full(shape, config.new_rows_share > 0)
    if name.startswith("layers."):
        layer = int(name.split(".")[1])
        depth = layer / (LAYERS - 1)
        late &= config.new_rows_layers <= layer < LAYERS - config.new_rows_layers
    rate = torch.full(shape, config.first_layer_rate * (1 - depth) + config.last_layer_rate * depth)
    if name.split(".")[0] in ("embed_tokens", "lm_head", "symbol_heads", "byte_heads"):
        late[..., :FIRST_SYMBOL, :] = False
        rate[..., :FIRST_SYMBOL, :] = config.new_rows_rate
    if name.split(".")[0] in ("byte_heads", "symbol_heads"):
        rate *= config.heads_rate
    return rate, late


@settings(max_examples=12)
@given(
    st.sampled_from([1.0, 0.0, 3.0]),
    st.sampled_from([1.0, 0.25]),
    st.sampled_from([1.0, 4.0]),
    st.sampled_from([1.0, 5.0]),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.integers(0, 2),
    st.booleans(),
    st.integers(0, 99),
)
def test_each_number_moves_as_adamw_moves_it_alone(first, last, new, heads, share, layers, decay_all, seed):
    """AdamW in float64, for each number by itself and with its own count of steps; clipped together."""
    config = OptimConfig(
        "adamw",
        learning_rate=0.01,
        weight_decay=0.3,
        clip=0.5,
        warmup_share=0.3,
        decay_all=decay_all,
        first_layer_rate=first,
        last_layer_rate=last,
        new_rows_rate=new,
        new_rows_share=share,
        new_rows_layers=layers if share else 0,
        heads_rate=heads,
    )
    torch.manual_seed(seed)
    model, steps = Transformer(SMALL, FIRST_SYMBOL + 5), 6
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    update = Update(model, config)
    known = {}
    for name, parameter in model.named_parameters():
        zeros = torch.zeros(parameter.shape, dtype=torch.float64)
        known[name] = [
            parameter.detach().double(),
            zeros,
            zeros.clone(),
            zeros.clone(),
            *told(name, zeros.shape, config),
        ]
    since = config.all_move_from(steps)
    for step in range(steps):
        update.prepare(step, steps)
        gradients = {name: torch.randn(parameter.shape) for name, parameter in model.named_parameters()}
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name].clone() if parameter.requires_grad else None
        moves = {name: (~late | (step >= since)) for name, (*_, late) in known.items()}
        norm = sum(float(gradients[name][moves[name]].square().sum()) for name in known) ** 0.5
        assert float(update.clip()) == pytest.approx(norm, rel=1e-5)
        update.step()
        for name, (x, m, v, taken, rate, late) in known.items():
            here, g = moves[name], gradients[name].double() * min(1.0, 0.5 / norm)
            rise = torch.where(late, learning_rate(config, step, steps, since), learning_rate(config, step, steps))
            lr = (rate * rise)[here]
            taken[here] += 1
            m[here] = 0.9 * m[here] + 0.1 * g[here]
            v[here] = 0.95 * v[here] + 0.05 * g[here] ** 2
            decayed = config.decay_all or (name.startswith("layers.") and x.dim() == 2)
            moment, square = m[here] / (1 - 0.9 ** taken[here]), v[here] / (1 - 0.95 ** taken[here])
            x[here] += -lr * (0.3 * decayed) * x[here] - lr * moment / (square.sqrt() + 1e-10)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach().double(), known[name][0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_without_options_a_run_is_to_the_bit_what_one_optimizer_over_whole_parameters_makes(store, tmp_path, optimizer):
    config = replace(CONFIG, stop="4 steps", optim=OptimConfig(optimizer))
    trainer, plain = (Trainer(config, store, tmp_path / name) for name in ("ours", "plain"))
    trainer.run()
    model = plain.model
    inside = [parameter for parameter in model.layers.parameters() if parameter.dim() == 2]
    rest = [parameter for parameter in model.parameters() if not any(parameter is one for one in inside)]
    own = {"betas": (0.9, 0.95), "eps": 1e-10, "fused": True}
    groups = [{"params": inside, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizers = [torch.optim.AdamW(groups, **own)]
    if optimizer == "muon":
        made = type(trainer.update.optimizers[0])(inside, 3e-3, 0.1, 0.95, torch.float32)
        optimizers = [made, torch.optim.AdamW(rest, weight_decay=0.0, **own)]
    state = plain.state
    for _ in range(4):
        plan, state = plain.stream.plan(state)
        for group in (group for one in optimizers for group in one.param_groups):
            group["lr"] = learning_rate(config.optim, plan.step, 4)
        model.zero_grad()
        found = plain.passes.losses(plain.stream.rows(plan, 0, 2), plan.step)
        (found.total / int(plan.targets.sum())).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for one in optimizers:
            one.step()
    assert same(weights(trainer), model.state_dict())


@pytest.fixture(scope="module", params=["adamw", "muon"])
def whole(request, store, tmp_path_factory):
    """A run with every option, and its weights after each step."""
    config = replace(CONFIG, optim=replace(PARTS, optimizer=request.param))
    trainer, after = Trainer(config, store, tmp_path_factory.mktemp("whole")), []
    before = weights(trainer)
    trainer.run(progress=lambda *_: after.append(weights(trainer)))
    return config, [before, *after]


def test_first_only_new_rows_and_the_outer_layers_move(whole):
    _, after = whole
    for name, tensor in after[5].items():
        before, still = after[0][name], name == "norm.weight" or name.startswith("layers.1.")
        if name in ("embed_tokens.weight", "lm_head.weight"):
            assert torch.equal(tensor[FIRST_SYMBOL:], before[FIRST_SYMBOL:])
            before, tensor = before[:FIRST_SYMBOL], tensor[:FIRST_SYMBOL]
        assert torch.equal(tensor, before) == still, name
    assert all(not torch.equal(tensor, after[5][name]) for name, tensor in after[9].items())


@pytest.mark.parametrize("stopped", [2, 5, 7])
def test_stopped_at_any_step_it_goes_on_to_the_same_bits(store, whole, tmp_path, stopped):
    """Before the rest moves, where it begins, and later; what has not moved has left no moments."""
    config, after = whole
    first = Trainer(config, store, tmp_path)
    for _ in range(stopped):
        first.step()
    first.save()
    names = checkpoint.Reader(checkpoint.newest(tmp_path / "checkpoints")).read_metadata().state_dict_metadata
    moments = [name.removeprefix("optimizers.state.") for name in names if name.startswith("optimizers")]
    waits = [name for name in moments if name.startswith(("layers.1.", "norm.", f"lm_head.weight[{FIRST_SYMBOL}:"))]
    assert bool(waits) == (stopped > 5)
    assert any(name.startswith(f"lm_head.weight[0:{FIRST_SYMBOL}].") for name in moments)
    Trainer(config, store, tmp_path).run()
    again = Trainer(config, store, tmp_path)
    assert again.state.step == 9
    assert same(after[-1], weights(again))


def test_new_rows_alone_may_move_all_the_time(store, tmp_path):
    trainer = Trainer(replace(CONFIG, stop="2 steps", optim=OptimConfig(new_rows_share=1.0)), store, tmp_path)
    before = weights(trainer)
    trainer.run()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(trainer).items() if "layers" in name)


def test_norms_before_the_rest_moves_are_not_held_against_those_afterwards(store, tmp_path):
    trainer = Trainer(replace(CONFIG, optim=replace(PARTS, learning_rate=1e-3)), store, tmp_path)
    seen = []
    for _ in range(7):
        trainer.step()
        seen.append((trainer.guard.state_dict()["phase"], len(trainer.guard.state_dict()["norms"])))
    assert seen == [*((-1, count) for count in (1, 2, 3, 4, 5)), (0, 1), (0, 2)]


def test_a_longer_run_would_have_moved_other_parts():
    optim = OptimConfig(schedule="wsd", warmup_steps=1, decay_share=0.1, new_rows_share=0.2)
    then = replace(CONFIG, stop="20 steps", optim=optim)
    ensure_same_run(identity(then), replace(then, stop="21 steps"), 4, Path("run"))
    with pytest.raises(InputError, match=r"what moves in step 5, as optim\.new_rows_share is one of all steps"):
        ensure_same_run(identity(then), replace(then, stop="21 steps"), 5, Path("run"))
