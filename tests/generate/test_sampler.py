import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.generate.cache import Cache
from byteproxy.generate.sampler import characters, continued
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer
from byteproxy.vocab import EOS, FIRST_BYTE, byte_ids, closing, opening


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, ffn=48), 320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.lm_head.weight.data[[EOS, closing(0)]] = 0
    return model


def slow_greedy(model, prompt, most, context):
    """The same without a cache: the whole window is read anew for every byte."""
    text, start = bytearray(prompt), 0
    if len(prompt) >= context:
        start = len(prompt) - context // 2
    out = []
    for _ in range(most):
        if len(text) - start > context:
            start = len(text) - context // 2
        symbols = torch.cat((torch.tensor([opening(0)]), torch.from_numpy(byte_ids(bytes(text[start:])))))
        logits = model.lm_head.weight @ model(symbols, layout_of(np.array([len(symbols)])))[-1]
        allowed = [closing(0), EOS, *range(FIRST_BYTE, 320)]
        symbol = allowed[int(logits[allowed].argmax())]
        if symbol < FIRST_BYTE:
            break
        text.append(symbol - FIRST_BYTE)
        out.append(symbol - FIRST_BYTE)
    return out


@pytest.mark.parametrize("prompt", [b"", b"def f(", b"x" * 39, b"y" * 40, b"z" * 1000, bytes(range(256))])
def test_greedy_is_that_of_a_model_without_a_cache(model, prompt):
    wanted = slow_greedy(model, prompt, 60, 40)
    assert len(wanted) > 20
    assert list(continued(model, prompt, 60, 40)) == wanted


def test_the_cache_takes_many_positions_or_one(model):
    symbols = torch.randint(320, (20,))
    whole = model(symbols, layout_of(np.array([20])))
    for cuts in ([20], [1] * 20, [7, 1, 1, 11]):
        cache, parts = Cache(model.config, 20, torch.float32), []
        for part in symbols.split(cuts):
            parts.append(model.hidden(part, cache.places(len(part)), cache.attend))
            cache.advance(len(part))
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-5)


def test_one_seed_one_text(model):
    texts = [bytes(continued(model, b"def", 80, 40, 1.0, seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_temperature_one_is_the_models_distribution(model):
    hidden = model(torch.tensor([opening(0), FIRST_BYTE + 97]), layout_of(np.array([2])))[-1]
    allowed = [closing(0), EOS, *range(FIRST_BYTE, 320)]
    wanted = (model.lm_head.weight[allowed] @ hidden).softmax(0).detach().numpy()
    n = 3000
    draws = [next(continued(model, b"a", 1, 40, 1.0, seed), None) for seed in range(n)]
    counted = np.bincount([1 if d is None else d + 2 for d in draws], minlength=258)
    counted[0], wanted[0] = counted[0] + counted[1], wanted[0] + wanted[1]
    often = np.flatnonzero(n * wanted >= 5)
    often = often[often != 1]
    chi2 = ((counted[often] - n * wanted[often]) ** 2 / (n * wanted[often])).sum()
    assert len(often) > 50
    assert chi2 < len(often) + 5 * np.sqrt(2 * len(often))


def test_the_model_can_end_the_text(model):
    ending = Transformer(model.config, 320)
    ending.load_state_dict(model.state_dict())
    with torch.no_grad():
        hidden = ending(torch.tensor([opening(0)]), layout_of(np.array([1])))[0]
        ending.lm_head.weight[closing(0)] = hidden * 10
    assert list(continued(ending, b"", 10, 40)) == []


def test_wrong_requests_are_refused(model):
    for most, context, temperature in ((-1, 40, 0), (1, 1, 0), (1, 40, -1)):
        with pytest.raises(InputError, match="give at least"):
            next(continued(model, b"", most, context, temperature))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_valid_text_comes_back_in_whole_characters(text):
    parts = list(characters(text.encode()))
    assert "".join(parts) == text
    assert len(parts) == len(text)


@given(st.binary())
def test_any_bytes_come_back_as_their_escapes(data):
    assert "".join(characters(data)) == data.decode("utf-8", "backslashreplace")
