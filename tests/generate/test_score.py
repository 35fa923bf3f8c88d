"""Every byte is scored exactly once, whoever its neighbours are, and costs what a slow loop over predictions says."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.generate.score import byte_bits, score, windows_over
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import FIRST_SYMBOL, RAW, SPECIALS, closing, opening

ROWS = FIRST_SYMBOL + 100  # with a view's symbols, which are none of a raw position's choices
TEXTS = [b"def f(x):\n    return x + 1\n", b"", b"\xff", bytes(range(60))]
BATCHES = st.lists(st.binary(max_size=70), min_size=1, max_size=6)


def model_of(**options):
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=16, layers=2, heads=2, ffn=24, **options), ROWS)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


MODEL = model_of()


@settings(max_examples=300)
@given(
    lengths=st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1)), max_size=5),
    window=st.integers(1, 60),
    share=st.floats(0.01, 1),
)
def test_windows_score_every_unknown_byte_once_with_the_promised_context(lengths, window, share):
    stride = max(1, int(window * share))
    known = np.array([int(length * part) for length, part in lengths], np.int64)
    lengths = [length for length, _ in lengths]
    scored = [np.zeros(length, int) for length in lengths]
    for document, start, end, scored_from in zip(*windows_over(lengths, window, stride, known), strict=True):
        assert 0 <= start <= scored_from < end <= lengths[document]
        assert end - start <= window
        assert start == 0 or scored_from - start >= window - stride
        scored[document][scored_from:end] += 1
    for counts, first in zip(scored, known, strict=True):
        assert (counts[:first] == 0).all()
        assert (counts[first:] == 1).all()


def slow_bits(model, text, window, stride, end=False):
    """One prediction at a time: for each byte, the window that scores it, read up to that byte, full softmax masked."""
    ids = [SPECIALS + byte for byte in text] + [closing(RAW)] * end
    bits, start, stop = [], 0, min(window, len(ids))
    dense = copy.copy(model)
    dense.backend = "dense"
    for place, wanted in enumerate(ids):
        while place >= stop:
            start += stride
            stop = min(start + window, len(ids))
        symbols = torch.tensor([opening(RAW), *ids[start:place]])
        layout = layout_of(np.array([len(symbols)]))

        hidden = dense.hidden(symbols, layout)[-1]
        logits = (model.lm_head.weight @ hidden).detach().double()
        if cap := model.config.soft_cap:
            logits = cap * torch.tanh(logits / cap)
        bits.append(-float(logits[:FIRST_SYMBOL].log_softmax(0)[wanted]) / math.log(2))
    return np.array(bits)


@pytest.mark.parametrize("soft_cap", [0.0, 0.5])
@pytest.mark.parametrize(("window", "stride"), [(8, 8), (8, 3), (16, 1), (100, None)])
def test_bits_are_those_of_a_slow_loop(monkeypatch, window, stride, soft_cap):
    monkeypatch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", 40)
    model = model_of(soft_cap=soft_cap)
    scored = score(model, TEXTS, window, stride)
    assert scored.bytes.tolist() == [len(text) for text in TEXTS]
    for end in (False, True):
        slow = [slow_bits(model, text, window, stride or 50, end) for text in TEXTS]
        for own, wanted in zip(byte_bits(model, TEXTS, window, stride, ends=end), slow, strict=True):
            np.testing.assert_allclose(own, wanted, rtol=1e-5, atol=1e-5)
        sums = [wanted.sum() for wanted in slow]
        np.testing.assert_allclose(score(model, TEXTS, window, stride, ends=end).bits, sums, rtol=1e-5)
    assert scored.bpb == pytest.approx(scored.bits.sum() / sum(map(len, TEXTS)))


@settings(max_examples=60)
@given(texts=BATCHES, order=st.randoms(use_true_random=False), together=st.sampled_from([1, 50, 8192]))
@example(texts=[b"", b"a", b"\xff\xfe" * 30], order=None, together=50)
def test_neither_order_nor_neighbours_change_a_texts_bits(texts, order, together):
    numbers = list(range(len(texts)))
    if order is not None:
        order.shuffle(numbers)
    alone = [byte_bits(MODEL, [text], 32, 8)[0] for text in texts]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", together)
        found = byte_bits(MODEL, [texts[number] for number in numbers], 32, 8)
    for number, own in zip(numbers, found, strict=True):
        assert own.shape == (len(texts[number]),)
        np.testing.assert_allclose(own, alone[number], rtol=1e-5, atol=1e-5)


@settings(max_examples=80)
@given(
    pairs=st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=50)), min_size=1, max_size=4),
    window=st.integers(1, 120),
    share=st.floats(0.01, 1),
)
@example(pairs=[(b"", b""), (b"x", b""), (b"", b"y")], window=120, share=0.5)
def test_a_continuation_costs_what_it_adds(pairs, window, share):
    """In one window and in many; the end belongs to the continuation."""
    stride = max(1, int(window * share))
    prompts, texts = ([pair[split] for pair in pairs] for split in (0, 1))
    after = score(MODEL, texts, window, stride, prompts, ends=True)
    before = score(MODEL, prompts, window, stride)
    whole = score(MODEL, [prompt + text for prompt, text in pairs], window, stride, ends=True)
    np.testing.assert_allclose(before.bits + after.bits, whole.bits, rtol=1e-5, atol=1e-4)
    assert after.bytes.tolist() == [len(text) for text in texts]


def test_a_prompt_is_read(monkeypatch):
    """Only as far as the windows reach that score what follows it."""
    one, other = (byte_bits(MODEL, [b"xyz"], 64, prompts=[prompt])[0] for prompt in (b"ab", b"ba"))
    assert np.abs(one - other).max() > 0.01
    read = []
    monkeypatch.setattr(MODEL, "hidden", lambda *given: read.append(given[0]) or Transformer.hidden(MODEL, *given))
    score(MODEL, [b"xyz"], 16, 8, [b"a" * 1000])
    assert sum(map(len, read)) == 11  # from 992 on


@pytest.mark.parametrize("prompts", [None, [b"ab", b"c", b""]])
def test_a_model_that_knows_nothing_pays_for_320_rows(prompts):
    blank = Transformer(MODEL.config, ROWS)  # its head starts at zero
    texts = [b"x" * 1000, b"", b"\x80"]
    scored = score(blank, texts, 64, 32, prompts)
    np.testing.assert_allclose(scored.bits, np.array([1000, 0, 1]) * math.log2(320), rtol=1e-5)
    assert scored.bpb == pytest.approx(math.log2(320), rel=1e-5)


def test_no_texts_at_all():
    scored = score(MODEL, [], 16)
    assert (scored.bits.shape, scored.bytes.shape) == ((0,), (0,))
    assert byte_bits(MODEL, [], 16, ends=True) == []


def test_progress_ends_at_all_that_is_scored():
    seen = []
    score(MODEL, [b"abc" * 50, b"d"], 16, 8, [b"", b"ef"], True, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (153, 153)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(InputError, match="stride is 5 and window 4"):
        score(MODEL, [b"x" * 10], 4, 5)
    with pytest.raises(InputError, match="1 prompts for 2 texts"):
        score(MODEL, [b"x", b"y"], 4, prompts=[b""])


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(1, 400), min_size=1, max_size=40), window=st.sampled_from([64, 100, 512]))
@example(lengths=[161] * 9, window=512)
@example(lengths=[17, 33, 65, 129, 257, 321], window=512)
def test_attention_pads_under_a_tenth(lengths, window):
    laid = []

    def seen(symbols_N, layout, expansion):
        laid.append(layout)
        return torch.zeros(len(symbols_N), MODEL.config.width)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", 2000)
        patch.setattr(MODEL, "hidden", seen)
        score(MODEL, [bytes(length) for length in lengths], window)
    computed = sum(bucket.documents * bucket.length for layout in laid for bucket in layout.buckets)
    assert computed < sum(sum(layout.lengths) for layout in laid) / 0.9
