"""The pass over a corpus against one document at a time, one byte after the other."""

import numpy as np
import pytest
import torch
from tests.neural.models import random_model
from tests.neural.padding import padding

from byteproxy.model.attention.layout import layout_of
from byteproxy.neural import entropies as module
from byteproxy.neural.entropies import entropies
from byteproxy.vocab import FIRST_BYTE, byte_ids, opening

DICE = np.random.default_rng(0)
DOCUMENTS = [DICE.bytes(size) for size in (0, 1, 2, 30, 31, 32, 33, 41, 64, 100)]


def slow(model, document, context):
    """Byte i from what stands before it in the window that begins at the last multiple of half a context."""
    half, bits = context // 2, []
    for at in range(len(document)):
        begin = max(at // half - 1, 0) * half
        ids = torch.tensor([opening(0), *byte_ids(document[begin:at]).tolist()])
        with torch.no_grad():
            hidden = model.hidden(ids, layout_of(np.array([len(ids)])))[-1]
            share = (model.lm_head.weight @ hidden)[FIRST_BYTE:].softmax(-1)
        bits.append(float(-(share * share.log2()).sum()))
    return bits


@pytest.mark.parametrize("together", [1, 100, 1 << 14])
def test_it_is_what_each_byte_is_alone(monkeypatch, together):
    monkeypatch.setattr(module, "CONTEXT", 32)
    monkeypatch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", together)
    model = random_model()
    reports = []
    found = entropies(model, DOCUMENTS, lambda done, total, note="": reports.append((done, total)))
    for document, bits in zip(DOCUMENTS, found, strict=True):
        assert bits.dtype == np.float16
        assert bits == pytest.approx(slow(model, document, 32), abs=1e-4, rel=2**-11)
    assert reports[-1] == (sum(map(len, DOCUMENTS)), sum(map(len, DOCUMENTS)))


def test_little_is_padded():
    sizes = np.random.default_rng(1).geometric(1 / 3000, 200)
    assert padding([bytes(int(size)) for size in sizes]) < 0.1
    assert padding([]) == 0
