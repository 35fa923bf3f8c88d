"""Every backend against the dense oracle on random layouts: values, and gradients where it has them."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.model.attention import backend, dense, documents, flex, sdpa, varlen
from byteproxy.model.attention.layout import layout_of, length_batches

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LENGTHS = st.lists(st.integers(1, 90), min_size=1, max_size=8)
IN_PLACE = [[32], [64] * 4, [32, 32, 64], [32, 96, 160], [256]]
on_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


def assert_like_the_oracle(
    attend, lengths, device=CPU, dtype=torch.float64, width=6, gradients=True, tolerance=1e-9, heads=(2, 2)
):
    """The oracle gets the same numbers, in float32 at least, and products in full. heads: queries', and keys'."""
    layout = layout_of(np.array(lengths), device)
    generator = torch.Generator().manual_seed(sum(lengths))
    counts = heads[0], heads[1], heads[1], heads[0]
    q, k, v, gradient = (
        torch.randn(sum(lengths), count, width, generator=generator, dtype=torch.float64) for count in counts
    )
    results = []
    for one, at, kind in ((dense.attend, CPU, torch.float64), (attend, device, dtype)):
        # Rounded to what the backend is given, for both.
        qkv = [x.to(dtype).to(at, kind).requires_grad_(gradients) for x in (q, k, v)]
        out = one(*qkv, layout_of(np.array(lengths)) if at == CPU else layout)
        assert out.dtype == kind
        found = [out, *torch.autograd.grad(out, qkv, gradient.to(at, kind))] if gradients else [out]
        results.append([x.detach().cpu().double() for x in found])
    for name, wanted, found in zip(("out", "dq", "dk", "dv"), *results, strict=False):
        torch.testing.assert_close(
            found, wanted, rtol=tolerance, atol=tolerance, msg=lambda said, name=name: name + said
        )


@settings(max_examples=40)
@given(
    lengths=LENGTHS,
    block=st.sampled_from([1, 3, 16, 128]),
    scores=st.sampled_from([1, 700, 5000, 1 << 20]),
    heads=st.sampled_from([(2, 2), (6, 2), (3, 1)]),
)
@example(lengths=[1], block=128, scores=1 << 20, heads=(6, 2))
@example(lengths=[90] * 7, block=16, scores=5000, heads=(6, 2))
@example(lengths=[300, 1, 140, 300], block=128, scores=1 << 20, heads=(6, 2))
@example(lengths=[300, 1, 140, 300], block=128, scores=1 << 15, heads=(6, 2))
def test_documents(lengths, block, scores, heads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "BLOCK", block)
        patch.setattr(documents, "SCORES", scores)
        assert_like_the_oracle(documents.attend, lengths, heads=heads)


@pytest.mark.parametrize("attend", [documents.attend, sdpa.attend])
def test_heads_that_share_keys_are_heads_of_their_own_with_the_same_keys(attend):
    layout, generator = layout_of(np.array([40, 7])), torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(47, count, 4, generator=generator) for count in (6, 2, 2))
    together = attend(q, k, v, layout)
    for head in range(6):
        own = slice(head // 3, head // 3 + 1)
        alone = attend(q[:, head : head + 1], k[:, own], v[:, own], layout)
        torch.testing.assert_close(together[:, head : head + 1], alone)


@pytest.mark.parametrize("lengths", IN_PLACE)
def test_documents_that_need_not_be_carried(lengths):
    layout = layout_of(np.array(lengths))
    assert layout.in_place
    assert layout.into_M.tolist() == list(range(sum(lengths)))
    assert_like_the_oracle(documents.attend, lengths)


@pytest.mark.parametrize("lengths", [[64, 32], [31], [32, 32, 32], [33, 31]])
def test_a_layout_is_in_place_only_if_it_changes_nothing(lengths):
    layout = layout_of(np.array(lengths))
    assert layout.in_place == (layout.into_M.tolist() == list(range(sum(lengths))))
    assert_like_the_oracle(documents.attend, lengths)


@settings(max_examples=25)
@given(lengths=LENGTHS)
@example(lengths=[1])
@example(lengths=[300, 1, 140])
def test_sdpa(lengths):
    assert_like_the_oracle(sdpa.attend, lengths)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("lengths", [[1], [5, 1, 200], [64, 32, 32], [300], [127, 1, 128, 129]])
def test_flex_forward(lengths):
    assert_like_the_oracle(flex.attend, lengths, gradients=False)


def test_flex_makes_its_mask_once_for_all_layers():
    layout = layout_of(np.array([5, 3]))
    assert flex._mask(layout) is flex._mask(layout)
    assert flex._mask(layout_of(np.array([4, 4]))) is not flex._mask(layout)


@on_cuda
@pytest.mark.parametrize("lengths", [[1], [5, 1, 200], [64, 32, 32], [300, 7], [127, 1, 128, 129]])
@pytest.mark.parametrize(
    ("attend", "dtype", "tolerance"),
    [
        (documents.attend, torch.float32, 1e-4),
        (sdpa.attend, torch.float32, 1e-4),
        (flex.attend, torch.float32, 1e-2),  # its kernels may multiply in TF32
        (flex.attend, torch.bfloat16, 5e-2),
        (varlen.attend, torch.bfloat16, 5e-2),
    ],
)
def test_on_cuda(attend, dtype, tolerance, lengths):
    assert_like_the_oracle(attend, lengths, CUDA, dtype, width=64, tolerance=tolerance)


@pytest.mark.parametrize("attend", [dense.attend, documents.attend, sdpa.attend])
def test_the_oracle_is_attention(attend):
    """One head of width 1, by hand: two documents, the second of two positions."""
    q = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    k = torch.tensor([5.0, 1.0, 0.0]).view(3, 1, 1)
    v = torch.tensor([7.0, 10.0, 20.0]).view(3, 1, 1)
    weight = np.exp([3.0 * 1.0, 3.0 * 0.0])
    wanted = [7.0, 10.0, float((weight * [10.0, 20.0]).sum() / weight.sum())]
    out = attend(q, k, v, layout_of(np.array([1, 2])))
    assert out.flatten().tolist() == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("name", "device", "dtype", "chosen"),
    [
        ("auto", CPU, torch.float32, documents),
        ("auto", CPU, torch.bfloat16, documents),
        ("auto", CUDA, torch.float32, documents),
        ("auto", CUDA, torch.bfloat16, varlen),
        ("documents", CUDA, torch.bfloat16, documents),
        ("sdpa", CPU, torch.float32, sdpa),
        ("dense", CPU, torch.float32, dense),
        ("flex", CUDA, torch.float32, flex),
        ("varlen", CUDA, torch.float16, varlen),
    ],
)
def test_backends_by_name(name, device, dtype, chosen):
    assert backend(name, device, dtype) is chosen.attend


@pytest.mark.parametrize(
    ("name", "device", "dtype", "said"),
    [
        ("varlen", CPU, torch.bfloat16, 'attention is "varlen", which trains on CUDA only'),
        ("flex", CPU, torch.float32, 'attention is "flex", which trains on CUDA only'),
        ("varlen", CUDA, torch.float32, 'attention is "varlen", which has no float32: give dtype'),
    ],
)
def test_backends_that_cannot_train_are_refused(name, device, dtype, said):
    with pytest.raises(InputError, match=said):
        backend(name, device, dtype)


@settings(max_examples=40)
@given(lengths=st.lists(st.integers(1, 200), min_size=1, max_size=12))
def test_layout_places_every_position_once(lengths):
    layout = layout_of(np.array(lengths))
    assert layout.positions_N.tolist() == [i for n in lengths for i in range(n)]
    assert layout.document_N.tolist() == [number for number, n in enumerate(lengths) for _ in range(n)]
    assert layout.bounds.tolist() == [sum(lengths[:number]) for number in range(len(lengths) + 1)]
    assert sum(bucket.documents * bucket.length for bucket in layout.buckets) == len(layout.into_M)
    filled = layout.into_M[layout.into_M >= 0]
    assert sorted(filled.tolist()) == list(range(sum(lengths)))
    assert layout.into_M[layout.back_N].tolist() == list(range(sum(lengths)))
    padding = len(layout.into_M) - len(filled)
    assert padding <= 31 * len(lengths)
    assert all(bucket.documents.bit_count() == 1 and bucket.length % 32 == 0 for bucket in layout.buckets)


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(1, 700), min_size=1, max_size=12))
@example(lengths=list(range(1, 700)))
def test_a_fine_layout_pads_each_document_under_a_tenth_to_few_lengths(lengths):
    layout, coarse = (layout_of(np.array(lengths), fine=fine) for fine in (True, False))
    assert sorted(layout.into_M[layout.into_M >= 0].tolist()) == list(range(sum(lengths)))
    assert layout.into_M[layout.back_N].tolist() == list(range(sum(lengths)))
    at, found = 0, {}
    for bucket in layout.buckets:
        slots = layout.into_M[at : (at := at + bucket.documents * bucket.length)].view(bucket.documents, bucket.length)
        for own in (slots >= 0).sum(1).tolist():
            assert own <= bucket.length < own / 0.9
            found[own] = bucket.length
    assert len(set(found.values())) <= 19 + 40 + len({bucket.length for bucket in coarse.buckets})
    if min(lengths) >= 320:
        assert layout.buckets == coarse.buckets


def test_a_fine_layout_is_attended_as_any():
    def fine(q, k, v, layout):
        return documents.attend(q, k, v, layout_of(np.array(layout.lengths), fine=True))

    for lengths in ([1, 17, 33], [90, 5, 20, 20], [130, 131, 200]):
        assert_like_the_oracle(fine, lengths)


@settings(max_examples=60)
@given(lengths=st.lists(st.integers(1, 50), max_size=30), positions=st.integers(1, 120))
def test_like_lengths_are_read_together(lengths, positions):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", positions)
        batches = length_batches(np.array(lengths, np.int64))
    order = [number for batch in batches for number in batch.tolist()]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[number] for number in order] == sorted(lengths)
    for batch in batches:
        own = [lengths[number] for number in batch]
        assert sum(own) < positions + max(own)
    assert len(batches) <= 1 + sum(lengths) // positions
