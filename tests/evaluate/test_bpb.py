"""Every byte is scored exactly once, and costs what a slow loop over single predictions says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.evaluate import bpb
from byteproxy.evaluate.bpb import raw_bpb, windows_over
from byteproxy.model.attention import dense
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer
from byteproxy.vocab import SPECIALS, Vocab, opening

VOCAB = Vocab((100,))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=16, layers=2, heads=2, ffn=24), VOCAB.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@settings(max_examples=300)
@given(lengths=st.lists(st.integers(0, 200), max_size=5), window=st.integers(1, 60), share=st.floats(0.01, 1))
def test_windows_score_every_byte_once_with_the_promised_context(lengths, window, share):
    stride = max(1, int(window * share))
    scored = [np.zeros(length, int) for length in lengths]
    for document, start, end, scored_from in zip(*windows_over(lengths, window, stride), strict=True):
        assert 0 <= start <= scored_from < end <= lengths[document]
        assert end - start <= window
        assert scored_from == 0 or scored_from - start >= window - stride
        scored[document][scored_from:end] += 1
    assert all((counts == 1).all() for counts in scored)


def slow_bits(model, text, window, stride):
    """One prediction at a time: for each byte, the window that scores it, read up to that byte, full softmax masked."""
    total, start, end = 0.0, 0, min(window, len(text))
    for place in range(len(text)):
        while place >= end:
            start += stride
            end = min(start + window, len(text))
        symbols = torch.tensor([opening(0), *(64 + b for b in text[start:place])])
        layout = layout_of(np.array([len(symbols)]))

        def attend(_, q, k, v, layout=layout):
            return dense.attend(q, k, v, layout)

        hidden = model.hidden(symbols, layout.positions_N, attend)[-1]
        logits = (model.lm_head.weight @ hidden).detach().double()
        logits[SPECIALS + 256 :] = -math.inf
        total -= float(logits.log_softmax(0)[SPECIALS + text[place]]) / math.log(2)
    return total


@pytest.mark.parametrize(("window", "stride"), [(8, 8), (8, 3), (16, 1), (100, 50)])
def test_bits_are_those_of_a_slow_loop(model, monkeypatch, window, stride):
    monkeypatch.setattr(bpb, "BATCH", 40)
    texts = [b"def f(x):\n    return x + 1\n", b"", b"\xff", bytes(range(60))]
    scored = raw_bpb(model, VOCAB, texts, window, stride)
    assert scored.bytes.tolist() == [len(text) for text in texts]
    for bits, text in zip(scored.bits, texts, strict=True):
        assert bits == pytest.approx(slow_bits(model, text, window, stride), rel=1e-5)
    assert scored.bpb == pytest.approx(scored.bits.sum() / sum(map(len, texts)))


def test_a_model_that_knows_nothing_pays_for_320_rows(model):
    blank = Transformer(model.config, VOCAB.size)  # its head starts at zero
    assert raw_bpb(blank, VOCAB, [b"x" * 1000], 64, 32).bpb == pytest.approx(math.log2(320), rel=1e-5)


def test_progress_ends_at_all_bytes(model):
    seen = []
    raw_bpb(model, VOCAB, [b"abc" * 50, b"d"], 16, 8, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (151, 151)


def test_a_stride_beyond_the_window_would_skip_bytes():
    with pytest.raises(InputError, match="stride"):
        windows_over([10], 4, 5)
