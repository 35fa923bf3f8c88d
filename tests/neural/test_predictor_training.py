"""Windows to train a predictor on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.neural.models import tiny
from tests.toy_corpus import toy_documents

from byteproxy.errors import InputError
from byteproxy.neural.predictor_training import LONG, MODELS, SHORT, trained, windows_of

__all__ = ["tiny"]  # a fixture

TEXTS = [document.text for document in toy_documents(30)]


@given(st.lists(st.binary(max_size=700), max_size=5), st.integers(0, 2**62))
def test_windows_are_the_texts_cut(texts, seed):
    found = list(windows_of(texts, seed))
    for number, text in enumerate(texts):
        own = [window for window in found if window.id.startswith(f"{number}:")]
        assert b"".join(window.text for window in own) == text
        assert all(window.text for window in own)
        assert all(len(window.text) in (SHORT, LONG) for window in own[1:-1])
        assert [int(window.id.partition(":")[2]) for window in own] == [
            sum(len(window.text) for window in own[:at]) for at in range(len(own))
        ]
    assert found == list(windows_of(texts, seed))


def test_half_of_the_text_is_in_short_windows_and_offsets_are_random():
    rng = np.random.default_rng(0)
    texts = [rng.bytes(20_000) for _ in range(60)]
    lengths = [[len(window.text) for window in windows_of([text], 0)] for text in texts]
    total = sum(map(sum, lengths))
    short = sum(length for one in lengths for length in one if length < LONG)
    assert 0.4 < short / total < 0.6
    assert len({one[0] for one in lengths}) > 25
    assert [window.text for window in windows_of(texts, 1)] != [window.text for window in windows_of(texts, 0)]


def test_every_size_has_the_parameters_that_it_says():
    for size, (model, _, _) in MODELS.items():
        assert round(model.raw_parameters() / 1e6) == int(size[:-1])
    assert MODELS["1m"][0].matrix_parameters >= 1e6


def test_training_learns_windows(tmp_path, tiny):
    predictor = trained(TEXTS, tmp_path, "1m", "40 steps", 0)
    counts = predictor.counts([b"", b"    retur"])
    assert counts[1].argmax() in b"n \n"
    often = b" \ne"
    assert counts[0][list(often)].min() > 3 * counts[0][list(b"\0\xffQ")].max()
    again = trained(TEXTS, tmp_path, "1m", "40 steps", 0)  # goes on at its last step, so does nothing
    assert again.fingerprint == predictor.fingerprint


def test_too_little_text(tmp_path):
    with pytest.raises(InputError, match="no window of 64 bytes"):
        trained([b"short", b"", b"x" * 40], tmp_path, "1m", "1 steps", 0)
