"""Typing errors and cut prompts: what is drawn, and that what it costs is what the model says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.toy_corpus import toy_documents

from byteproxy.errors import InputError
from byteproxy.evaluate.robustness import (
    AHEAD,
    LEAST_PROMPT,
    cut_prompts,
    cuts,
    mistyped,
    raw_cost,
    token_cost,
    typing_errors,
)
from byteproxy.generate.score import byte_bits
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import SPECIALS, Vocab, opening

TEXTS = [document.text for document in toy_documents(8)]
WINDOW = 160


@pytest.fixture(scope="module")
def view():
    return BpeView.train(TEXTS, 300)


@pytest.fixture(scope="module")
def model(view):
    torch.manual_seed(0)
    made = Transformer(ModelConfig(width=16, layers=1, heads=1, ffn=16), Vocab((view.alphabet_size,)).size)
    with torch.no_grad():
        made.lm_head.weight.normal_()
    return made.eval()


@given(st.binary(max_size=200), st.integers(0, 5))
def test_errors_change_letters_only_and_are_counted(text, seed):
    assert mistyped(text, 0.0, seed) == (text, 0)
    found = mistyped(text, 1.0, seed)
    assert found == mistyped(text, 1.0, seed)
    assert [one for one in found.text if not bytes([one]).isalpha()] == [
        one for one in text if not bytes([one]).isalpha()
    ]
    letters = sum(bytes([one]).isalpha() for one in text)
    assert letters / 2 <= found.errors <= letters
    assert abs(len(found.text) - len(text)) <= found.errors
    assert letters or found.text == text


def test_a_rate_is_a_share():
    with pytest.raises(InputError, match="rate is 2"):
        mistyped(b"x", 2, 0)
    text = b"word " * 2000
    assert mistyped(text, 0.02, 0).errors == pytest.approx(160, abs=60)


def test_prompts_end_inside_tokens_and_what_follows_ends_with_one(view):
    found = cuts(view, TEXTS, WINDOW)
    assert len(found) > 10
    for one in found:
        assert one.prompt + one.text == one.whole_prompt + one.whole_text
        assert len(one.prompt + one.text) <= WINDOW
        assert len(one.whole_prompt) >= LEAST_PROMPT
        assert len(one.text) >= AHEAD
        assert len(one.prompt) - len(one.whole_prompt) >= 1
        source = next(text for text in TEXTS if one.prompt + one.text in text)
        ends = set(np.cumsum(view.encode(source).span_bytes).tolist())
        at = source.index(one.prompt + one.text)
        assert at + len(one.whole_prompt) in ends
        assert at + len(one.prompt) not in ends
        assert at + len(one.prompt + one.text) in ends
    assert cuts(view, TEXTS, WINDOW) == found
    assert cuts(view, [b"short"], WINDOW) == []


def test_bytes_after_a_cut_cost_what_they_cost_anywhere(model, view):
    """A reader of bytes doesn't notice where a prompt ends."""
    found = cuts(view, TEXTS, WINDOW)
    cost = raw_cost(model, WINDOW, WINDOW)
    costs = cost([one.text for one in found], [one.prompt for one in found])
    whole = byte_bits(model, [one.prompt + one.text for one in found], WINDOW, WINDOW)
    wanted = [bits[len(one.prompt) :].sum() for bits, one in zip(whole, found, strict=True)]
    np.testing.assert_allclose(costs, wanted, rtol=1e-5)


def test_tokens_after_a_prompt_are_scored_by_the_softmax_of_tokens(model, view):
    vocab = Vocab((view.alphabet_size,))
    found = cuts(view, TEXTS, WINDOW)[:3]
    costs = token_cost(model, vocab, 1, view, WINDOW, WINDOW)(
        [one.text for one in found], [one.prompt for one in found]
    )
    allowed = [*range(SPECIALS), *vocab.symbol_ids(1)]
    for one, cost in zip(found, costs, strict=True):
        known, after = (view.encode(text).symbols.astype(np.int64) for text in (one.prompt, one.text))
        ids = torch.from_numpy(np.concatenate([[opening(1)], vocab.first_id(1) + np.concatenate([known, after])]))
        with torch.no_grad():
            hidden = model.hidden(ids[:-1], layout_of(np.array([len(ids) - 1])))
            log_probs = (hidden @ model.lm_head.weight[allowed].T).log_softmax(-1)
        rows = ids[1:] - vocab.first_id(1) + SPECIALS
        bits = -log_probs[torch.arange(len(rows)), rows] / np.log(2)
        assert cost == pytest.approx(float(bits[len(known) :].sum()), rel=1e-4)


def test_figures_are_of_all_texts(model, view):
    for cost in (raw_cost(model, WINDOW, 60), token_cost(model, Vocab((view.alphabet_size,)), 1, view, WINDOW, 60)):
        found = typing_errors(cost, TEXTS, 0.1)
        assert found.errors > 0
        sizes = sum(map(len, TEXTS))
        assert found.clean_bpb == pytest.approx(cost(TEXTS, [b""] * len(TEXTS)).sum() / sizes)
        same = typing_errors(cost, TEXTS, 0.0)
        assert (same.errors, same.bits_per_error, same.mistyped_bpb) == (0, 0.0, same.clean_bpb)
        prompts = cut_prompts(cost, cuts(view, TEXTS, WINDOW))
        assert prompts.prompts == len(cuts(view, TEXTS, WINDOW))
        assert prompts.cut_bpb > 0
        assert prompts.whole_bpb > 0
    assert cut_prompts(cost, []).prompts == 0
