"""Every symbol of a view is scored exactly once, and costs what a slow loop over single predictions says."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.evaluate.bpb import view_bpb, view_byte_bits
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.views.base import Encoded
from byteproxy.vocab import FIRST_SYMBOL, SPECIALS, Vocab, opening

VOCAB = Vocab((100,))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=16, layers=2, heads=2, ffn=24), VOCAB.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


class Toy:
    """Symbols of up to `longest` bytes, by a rule of their own; with `halves`, each after one without a span."""

    name, aligned = "toy", True

    def __init__(self, longest=7, halves=False):
        self.longest, self.halves = longest, halves
        self.alphabet_size = 100

    def encode(self, document):
        symbols, spans, at = [], [], 0
        while at < len(document):
            span = min(1 + document[at] % self.longest, len(document) - at)
            if self.halves:
                symbols.append(99)
                spans.append(0)
            symbols.append(sum(document[at : at + span]) % 99)
            spans.append(span)
            at += span
        return Encoded(np.array(symbols, np.uint16), np.array(spans, np.uint32))


TEXTS = [b"def f(x):\n    return x + 1\n", b"", b"\xff", bytes(range(45)), b"z" * 50]


def slow_view_bits(model, view, text, window, stride):
    """One prediction at a time: each symbol in the window that scores the last byte of its unit, read up to it."""
    symbols, spans = view.encode(text)
    begins, total = np.cumsum(spans) - spans, 0.0
    dense = copy.copy(model)
    dense.backend = "dense"
    for place, symbol in enumerate(symbols.tolist()):
        unit = next(at for at in range(place, len(spans)) if spans[at])
        unit_end = int(begins[unit] + spans[unit])
        start, end = 0, min(window, len(text))
        while end < unit_end:
            start += stride
            end = min(start + window, len(text))
        context = [at for at in range(place) if begins[at] >= start]
        # What precedes a scored symbol in its own window but began before it is there as well, if it is scored there.
        scored_from = 0 if start == 0 else start - stride + window
        context += [at for at in range(place) if at not in context and unit_of_ends(begins, spans, at) > scored_from]
        read = [opening(1), *(FIRST_SYMBOL + int(symbols[at]) for at in sorted(context))]
        spelled = [[opening(1)], *([64 + b for b in text[begins[at] :][: spans[at]]] for at in sorted(context))]
        layout = layout_of(np.array([len(read)]))

        expansion = None
        if model.config.composed:
            ends = torch.tensor(np.cumsum([len(one) for one in spelled]))
            expansion = ByteExpansion(torch.tensor([one for ids in spelled for one in ids]), ends, ends)
        hidden = dense.hidden(torch.tensor(read), layout, expansion)[-1]
        logits = (model.lm_head.weight @ hidden).detach().double()
        if cap := model.config.soft_cap:
            logits = cap * torch.tanh(logits / cap)
        logits[SPECIALS:FIRST_SYMBOL] = -math.inf
        total -= float(logits.log_softmax(0)[FIRST_SYMBOL + symbol]) / math.log(2)
    return total


def unit_of_ends(begins, spans, at):
    """Where the unit of a symbol ends."""
    unit = next(one for one in range(at, len(spans)) if spans[one])
    return int(begins[unit] + spans[unit])


@pytest.mark.parametrize(
    ("window", "stride", "inputs"), [(8, 8, "symbols"), (12, 5, "symbols"), (12, 5, "positions"), (30, 20, "mean")]
)
def test_bits_of_a_view_are_those_of_a_slow_loop(monkeypatch, window, stride, inputs):
    monkeypatch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", 40)
    torch.manual_seed(1)
    config = ModelConfig(width=16, layers=2, heads=2, ffn=24, inputs=inputs, soft_cap=3.0)
    rows = FIRST_SYMBOL if config.composed else VOCAB.size
    model = Transformer(config, rows, output_vocab=VOCAB.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    # Symbols of up to 7 bytes; some longer than a window; and, where symbols are read, such without bytes.
    views = [Toy(), Toy(40)] if config.composed else [Toy(), Toy(40), Toy(halves=True)]
    for view in views:
        scored = view_bpb(model, VOCAB, 1, view, TEXTS, window, stride)
        assert scored.bytes.tolist() == [len(text) for text in TEXTS]
        for bits, text in zip(scored.bits, TEXTS, strict=True):
            assert bits == pytest.approx(slow_view_bits(model, view, text, window, stride), rel=1e-4)


@settings(max_examples=100)
@given(text=st.binary(max_size=150), window=st.integers(1, 40), share=st.floats(0.01, 1), longest=st.integers(1, 60))
def test_every_symbol_is_scored_once(text, window, share, longest):
    """A model that knows nothing pays the same for each."""
    blank = Transformer(ModelConfig(width=8, layers=1, heads=1, ffn=8), VOCAB.size)
    for view in (Toy(longest), Toy(longest, halves=True)):
        scored = view_bpb(blank, VOCAB, 1, view, [b"abc", text], window, max(1, int(window * share)))
        counts = [len(view.encode(one).symbols) for one in (b"abc", text)]
        assert scored.bits == pytest.approx(np.array(counts) * math.log2(164), rel=1e-5)


@settings(max_examples=100)
@given(text=st.binary(max_size=150), window=st.integers(1, 40), share=st.floats(0.01, 1), longest=st.integers(1, 60))
def test_bits_of_bytes_are_an_even_share_of_their_units(text, window, share, longest):
    """In closed form for a model that knows nothing: a unit's symbols over its bytes."""
    blank = Transformer(ModelConfig(width=8, layers=1, heads=1, ffn=8), VOCAB.size)
    stride = max(1, int(window * share))
    for halves in (False, True):
        view = Toy(longest, halves)
        spans = view.encode(text).span_bytes
        expected = np.repeat((1 + halves) * math.log2(164) / spans[spans > 0], spans[spans > 0])
        found, none = view_byte_bits(blank, VOCAB, 1, view, [text, b""], window, stride)
        assert (found.shape, none.shape) == ((len(text),), (0,))
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(9, 4), (30, 20)])
def test_bits_of_bytes_sum_to_those_of_the_text(model, window, stride):
    for view in (Toy(), Toy(40), Toy(halves=True)):
        spread = view_byte_bits(model, VOCAB, 1, view, TEXTS, window, stride)
        summed = view_bpb(model, VOCAB, 1, view, TEXTS, window, stride).bits
        assert [one.sum() for one in spread] == pytest.approx(summed)
