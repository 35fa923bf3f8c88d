"""The sampler against one without a cache, and its draws against the model's distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.generate.sampler import characters, continued
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer
from byteproxy.vocab import EOS, FIRST_BYTE, byte_ids, closing, opening

ENDS = [closing(0), EOS]
CHOICES = [*ENDS, *range(FIRST_BYTE, 320)]


def filled(rows=320, **options):
    torch.manual_seed(0)
    shape = {"width": 32, "layers": 2, "heads": 4, "key_value_heads": 2, "ffn": 48}
    model = Transformer(ModelConfig(**{**shape, **options}), rows)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.lm_head.weight.data[ENDS] = 0
    return model


@pytest.fixture(scope="module")
def model():
    return filled()


def window_of(text):
    return torch.cat((torch.tensor([opening(0)]), torch.from_numpy(byte_ids(text))))


def slow_greedy(model, prompt, most, context):
    """The same without a cache: the whole window is read anew for every byte."""
    text, start = bytearray(prompt), 0
    if len(prompt) >= context:
        start = len(prompt) - context // 2
    out = []
    for _ in range(most):
        if len(text) - start > context:
            start = len(text) - context // 2
        symbols = window_of(bytes(text[start:]))
        logits = model.lm_head.weight @ model(symbols, layout_of(np.array([len(symbols)])))[-1]
        symbol = CHOICES[int(logits[CHOICES].argmax())]
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


def test_greedy_with_every_option_is_that_of_a_model_without_a_cache():
    """New windows too: what n-grams reach back to ends with the window."""
    model = filled(qk_norm=True, value_embeddings=True, ngrams=(2, 4), ngram_rows=512, soft_cap=30.0)
    wanted = slow_greedy(model, b"def f(", 60, 40)
    assert len(set(wanted)) > 5
    assert list(continued(model, b"def f(", 60, 40)) == wanted


def test_one_seed_one_text(model):
    texts = [bytes(continued(model, b"def", 80, 40, 1.0, seed)) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(("soft_cap", "temperature"), [(0.0, 1.0), (0.0, 2.0), (1.5, 0.7)])
def test_draws_follow_the_models_distribution(soft_cap, temperature):
    """Of a model that says the same after every byte, so that one text is many draws."""
    model = filled(soft_cap=soft_cap, layers=1)
    with torch.no_grad():
        model.embed_tokens.weight[:] = model.embed_tokens.weight[0]
        for block in model.blocks():
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        model.lm_head.weight *= 3
        hidden = model(torch.tensor([opening(0)]), layout_of(np.array([1])))[0]
        logits = model.lm_head.weight[CHOICES] @ hidden
    if soft_cap:
        logits = soft_cap * torch.tanh(logits / soft_cap)
    wanted = (logits / temperature).softmax(0).double().numpy()
    draws: list[int] = []
    for seed in range(100):  # a text may end
        draws += continued(model, b"", 1000 - len(draws), 40, temperature, seed)
        if len(draws) == 1000:
            break
    bytes_only = wanted[2:] / wanted[2:].sum()
    expected = len(draws) * bytes_only
    counted = np.bincount(draws, minlength=256)
    often = expected >= 5
    chi2 = ((counted[often] - expected[often]) ** 2 / expected[often]).sum()
    assert len(draws) == 1000
    assert often.sum() > 20
    assert chi2 < often.sum() + 5 * np.sqrt(2 * often.sum())


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


def test_a_vocabulary_without_all_bytes_is_refused():
    with pytest.raises(InputError, match=r"319 symbols.* first 320"):
        next(continued(filled(rows=319), b"", 1, 40))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_valid_text_comes_back_in_whole_characters(text):
    parts = list(characters(text.encode()))
    assert "".join(parts) == text
    assert len(parts) == len(text)


@given(st.binary())
def test_any_bytes_come_back_as_their_escapes(data):
    assert "".join(characters(data)) == data.decode("utf-8", "backslashreplace")
