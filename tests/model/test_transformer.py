import numpy as np
import pytest
import torch

from byteproxy.errors import InputError
from byteproxy.model.attention import dense
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer

SMALL = ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, ffn=48)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = Transformer(SMALL, 400)
    for parameter in model.parameters():  # zero-initialised projections would hide the layers
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_a_symbol_changes_its_own_document_from_there_on_and_no_other(model):
    lengths = np.array([7, 40, 12, 3])
    symbols = torch.randint(400, (62,))
    before = model(symbols, layout_of(lengths))
    for changed in (3, 20, 50, 61):
        other = symbols.clone()
        other[changed] = (other[changed] + 1) % 400
        moved = (model(other, layout_of(lengths)) - before).abs().amax(1) > 0
        end = int(lengths.cumsum()[np.searchsorted(lengths.cumsum(), changed, side="right")])
        assert moved.nonzero().flatten().tolist() == list(range(changed, end))


def test_a_document_reads_the_same_wherever_it_is_packed(model):
    symbols = torch.randint(400, (25,))
    alone = model(symbols, layout_of(np.array([25])))
    packed = model(torch.cat((torch.randint(400, (33,)), symbols, symbols)), layout_of(np.array([33, 25, 25])))
    torch.testing.assert_close(packed[33:58], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(packed[58:], alone, rtol=1e-4, atol=1e-5)


def test_training_forward_is_the_dense_one(model):
    symbols, layout = torch.randint(400, (60,)), layout_of(np.array([20, 33, 7]))
    slow = model.hidden(symbols, layout.positions_N, lambda _, q, k, v: dense.attend(q, k, v, layout))
    torch.testing.assert_close(model(symbols, layout), slow, rtol=1e-4, atol=1e-5)


def test_order_matters_to_the_rotation(model):
    symbols = torch.tensor([5, 9, 9, 5, 7])
    ends = [model(s, layout_of(np.array([5])))[-1] for s in (symbols, symbols[[1, 0, 2, 3, 4]])]
    assert (ends[0] - ends[1]).abs().max() > 1e-4


def test_bfloat16_follows_float32(model):
    symbols, layout = torch.randint(400, (60,)), layout_of(np.array([60]))
    exact = model(symbols, layout)
    model.dtype = torch.bfloat16
    rough = model(symbols, layout)
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"heads": 5}, "model.width"), ({"heads": 4, "key_value_heads": 3}, "key_value_heads"), ({"layers": 0}, "layers")],
)
def test_impossible_shapes_are_refused_by_name(wrong, field):
    with pytest.raises(InputError, match=field):
        ModelConfig(**{"width": 32, "ffn": 48, **wrong})


def test_matrix_parameters_are_those_of_the_layers():
    model = Transformer(SMALL, 400)
    inside = sum(p.numel() for p in model.layers.parameters() if p.dim() == 2)
    assert SMALL.matrix_parameters == inside
