from dataclasses import replace

import pytest
import torch
from tests.train.toy_run import CONFIG

from byteproxy.train.initial_values import InitialValues
from byteproxy.train.trainer import model_of

SYMBOLS = 620
MODELS = {
    "plain": {},
    "composed": {"inputs": "positions", "hashed_rows": 64, "byte_heads": 3, "ngrams": (2,), "byte_head_ngrams": (2,)},
    "more": {"value_embeddings": True, "symbol_heads": 3, "attention_biases": "all", "qk_norm": True},
}


def tensors(model):
    return dict(model.named_parameters()) | dict(model.named_buffers())


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_a_model_without_memory_gets_the_values_of_one_that_is_built_at_once(options):
    """To the bit, and what is drawn next is the same, too."""
    config = replace(CONFIG, model=replace(CONFIG.model, **options))
    torch.manual_seed(5)
    built, after = model_of(config, SYMBOLS), torch.rand(3)
    values = InitialValues()
    with values.noted():
        model = model_of(config, SYMBOLS)
    assert {tensor.device.type for tensor in tensors(model).values()} == {"meta"}
    keys = values.keys(model)
    model.to_empty(device="cpu")
    torch.manual_seed(5)
    values.fill(model, keys, lambda tensor, filled: tensor.copy_(filled))
    assert torch.equal(torch.rand(3), after)
    expected = tensors(built)
    assert tensors(model).keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in tensors(model).items())


def test_without_weights_only_buffers_are_filled_and_nothing_is_drawn():
    values = InitialValues()
    with values.noted():
        model = model_of(replace(CONFIG, model=replace(CONFIG.model, ngrams=(2,))), SYMBOLS)
    keys = values.keys(model)
    model.to_empty(device="cpu")
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    names = []
    values.fill(model, keys, lambda tensor, filled: names.append((tensor, filled.item())), parameters=False)
    assert torch.equal(torch.rand(1), expected)
    assert [value for _, value in names] == [1.0]
    assert names[0][0] is model.ngrams.scale


def test_what_is_filled_in_part_or_by_something_unknown_is_refused():
    values = InitialValues()
    with values.noted(), pytest.raises(NotImplementedError, match="a part of a tensor"):
        torch.empty(4, 4)[:2].zero_()
    with values.noted():
        layer = torch.nn.Linear(3, 3)
        layer.weight = torch.nn.Parameter(torch.empty(3, 3).exponential_())
    keys = values.keys(layer)
    layer.to_empty(device="cpu")
    with pytest.raises(NotImplementedError, match="what fills weight is not known"):
        values.fill(layer, keys, lambda tensor, filled: None)
