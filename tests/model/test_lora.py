"""LoRA against the plain model that it stands for: what it computes, what has which gradient, what merging makes."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.lora import adapt, merge, take_new_rows
from byteproxy.model.lora_config import MATRICES, LoraConfig
from byteproxy.model.loss import Entries, local_targets, typed_rows
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import FIRST_SYMBOL, SPECIALS, Vocab

VOCAB = Vocab((30,))
SHAPES = [
    ModelConfig(width=16, layers=2, heads=2, ffn=24),
    ModelConfig(width=16, layers=1, heads=2, key_value_heads=1, head_dim=6, ffn=20, attention_biases="all"),
    ModelConfig(width=16, layers=1, heads=2, ffn=24, soft_cap=3.0, softmax="shared", byte_heads=3, symbol_heads=2),
]


def random_model(shape, seed):
    torch.manual_seed(seed)
    model = Transformer(shape, VOCAB.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def loss_of(model):
    """Of random documents, raw ones and compressed ones, through the first softmax."""
    draw = torch.Generator().manual_seed(0)
    hidden, total = [], torch.zeros(())
    for representation, count in ((0, 70), (1, 60)):
        ids = VOCAB.symbol_ids(representation)
        symbols = torch.randint(ids.start, ids.stop, (count,), generator=draw)
        symbols[::7] = torch.randint(SPECIALS, (len(symbols[::7]),), generator=draw)
        hidden.append(model.hidden(symbols, layout_of(np.array([count // 2, count - count // 2]))))
        shared = model.config.softmax == "shared"
        rows = (range(VOCAB.size),) if shared else typed_rows(representation, VOCAB)
        row = symbols.roll(-1) if shared else local_targets(symbols.roll(-1), representation, VOCAB)
        weight = torch.rand(count, generator=draw) + 0.5
        entries = Entries(torch.arange(count), torch.zeros(count, dtype=torch.int64), row, weight)
        total = total + model.lm_head(hidden[-1], entries, rows)[0]
    return total, torch.cat(hidden)


def moved(model):
    """Let factors and new rows be anything."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


configs = st.builds(
    LoraConfig,
    st.integers(1, 5),
    st.sampled_from([0.5, 8.0]),
    st.lists(st.sampled_from(MATRICES), unique=True).map(tuple),
)


@settings(max_examples=12)
@given(st.sampled_from(SHAPES), configs, st.integers(0, 99))
def test_merged_it_computes_the_same(shape, config, seed):
    model = random_model(shape, seed)
    adapt(model, config)
    moved(model)
    ids = torch.tensor([*range(0, 5), 70, *range(FIRST_SYMBOL - 2, FIRST_SYMBOL + 9)])
    with torch.no_grad():
        loss, hidden = loss_of(model)
        logits = model.lm_head.logits(hidden, ids)
        merge(model)
        plain_loss, plain_hidden = loss_of(model)
        torch.testing.assert_close(model.lm_head.logits(plain_hidden, ids), logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(plain_loss, loss, rtol=1e-4, atol=1e-4)
    names = {name: tensor.shape for name, tensor in random_model(shape, 0).state_dict().items()}
    assert {name: tensor.shape for name, tensor in model.state_dict().items()} == names
    assert all(parameter.requires_grad for parameter in model.parameters())


@settings(max_examples=8)
@given(st.sampled_from(SHAPES), configs, st.integers(0, 99))
def test_at_first_it_is_the_model_and_its_gradients_follow_from_the_whole_ones(shape, config, seed):
    """By the chain rule: of the factor that is zero, the matrix's gradient times the other one."""
    whole = random_model(shape, seed)
    model = deepcopy(whole)
    adapt(model, config)
    before = deepcopy(model.state_dict())
    (one, _), (other, _) = loss_of(whole), loss_of(model)
    assert torch.equal(one, other)
    one.backward()
    other.backward()
    gradients = {name: parameter.grad for name, parameter in whole.named_parameters()}
    for name, parameter in model.named_parameters():
        matrix = name.rpartition(".")[0] + ".weight"
        if name.endswith(".new_rows"):
            expected = gradients[matrix][:FIRST_SYMBOL]
        elif name.endswith(".lora_up"):
            expected = config.scale * gradients[matrix] @ before[name.replace("lora_up", "lora_down")].T
        elif name.endswith(".lora_down"):
            expected = torch.zeros_like(parameter)
        else:
            assert parameter.grad is None
            assert parameter.requires_grad == name.startswith(("byte_heads", "symbol_heads"))
            continue
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-4)


def test_what_is_trained_is_counted():
    config, shape = LoraConfig(3, matrices=("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")), SHAPES[1]
    model = random_model(shape, 0)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert LoraConfig().trained_parameters(shape, parameters) == parameters
    adapt(model, config)
    trained = {name: one.numel() for name, one in model.named_parameters() if one.requires_grad}
    assert config.trained_parameters(shape, parameters) == sum(trained.values())
    assert config.factor_parameters(shape) == sum(size for name, size in trained.items() if ".lora_" in name)


def test_new_rows_begin_as_the_tables_say():
    model = random_model(SHAPES[0], 0)
    adapt(model, LoraConfig(1))
    with torch.no_grad():
        model.lm_head.weight[7] = 5.0
    take_new_rows(model)
    assert torch.equal(model.lm_head.new_rows, model.lm_head.weight[:FIRST_SYMBOL])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"rank": -1}, r"lora\.rank"),
        ({"rank": 1, "alpha": 0.0}, r"lora\.alpha"),
        ({"rank": 1, "matrices": ("query",)}, r"lora\.matrices.*give some of q_proj"),
        ({"rank": 1, "matrices": ("q_proj", "q_proj")}, r"lora\.matrices"),
    ],
)
def test_wrong_settings_are_refused_by_name(wrong, named):
    with pytest.raises(InputError, match=named):
        LoraConfig(**wrong)
