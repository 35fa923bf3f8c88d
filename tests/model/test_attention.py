"""The backend that training uses against the dense oracle, on random layouts, values and gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.model.attention import dense, documents
from byteproxy.model.attention.layout import layout_of


def both(lengths, seed=0):
    layout = layout_of(np.array(lengths))
    generator = torch.Generator().manual_seed(seed)
    shape = (sum(lengths), 2, 6)
    qkv = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    gradient = torch.randn(shape, generator=generator, dtype=torch.float64)
    results = []
    for attend in (dense.attend, documents.attend):
        out = attend(*qkv, layout)
        results.append((out, *torch.autograd.grad(out, qkv, gradient)))
    return results


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 90), min_size=1, max_size=8))
def test_documents_agree_with_the_oracle(lengths):
    for oracle, ours in zip(*both(lengths), strict=True):
        torch.testing.assert_close(ours, oracle, rtol=1e-9, atol=1e-9)


def test_long_documents_agree_with_the_oracle(monkeypatch):
    monkeypatch.setattr(documents, "LONGEST_PRODUCT", 40)
    for oracle, ours in zip(*both([100, 3, 100, 41, 40]), strict=True):
        torch.testing.assert_close(ours, oracle, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("attend", [dense.attend, documents.attend])
def test_the_oracle_is_attention(attend):
    """One head of width 1, by hand: two documents, the second of two positions."""
    q = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    k = torch.tensor([5.0, 1.0, 0.0]).view(3, 1, 1)
    v = torch.tensor([7.0, 10.0, 20.0]).view(3, 1, 1)
    weight = np.exp([3.0 * 1.0, 3.0 * 0.0])
    wanted = [7.0, 10.0, float((weight * [10.0, 20.0]).sum() / weight.sum())]
    out = attend(q, k, v, layout_of(np.array([1, 2])))
    assert out.flatten().tolist() == pytest.approx(wanted)


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_layout_places_every_position_once(lengths):
    layout = layout_of(np.array(lengths))
    assert layout.positions_N.tolist() == [i for n in lengths for i in range(n)]
    assert sum(bucket.documents * bucket.length for bucket in layout.buckets) == len(layout.into_M)
    filled = layout.into_M[layout.into_M >= 0]
    assert sorted(filled.tolist()) == list(range(sum(lengths)))
    assert layout.into_M[layout.back_N].tolist() == list(range(sum(lengths)))
    padding = len(layout.into_M) - len(filled)
    assert padding <= 31 * len(lengths)
    assert all(bucket.documents.bit_count() == 1 and bucket.length % 32 == 0 for bucket in layout.buckets)
