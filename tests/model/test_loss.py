"""Typed softmax is the full softmax with every other symbol masked."""

import pytest
import torch
import torch.nn.functional as F

from byteproxy.model import loss
from byteproxy.model.loss import typed_bits, typed_loss
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, SPECIALS, Vocab

VOCAB = Vocab((50, 30))


def example(positions=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    head = torch.randn(VOCAB.size, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    representations = torch.randint(3, (positions,), generator=generator)
    targets = torch.empty(positions, dtype=torch.int64)
    for i, representation in enumerate(representations.tolist()):
        allowed = [*range(SPECIALS), *VOCAB.symbol_ids(representation)]
        targets[i] = allowed[int(torch.randint(len(allowed), (1,), generator=generator))]
    targets[::7] = -1
    return hidden, head, targets, representations


def masked_full_softmax(hidden, head, targets, representations):
    allowed = torch.zeros(3, VOCAB.size, dtype=torch.bool)
    allowed[:, :SPECIALS] = True
    for representation in range(3):
        ids = VOCAB.symbol_ids(representation)
        allowed[representation, ids.start : ids.stop] = True
    logits = (hidden @ head.T).masked_fill(~allowed[representations], float("-inf"))
    nats = F.cross_entropy(logits, targets.clamp_min(0), reduction="none") * (targets >= 0)
    return torch.stack([nats[representations == r].sum() for r in range(3)])


@pytest.mark.parametrize("chunk", [7, 1024])
def test_values_and_gradients_are_those_of_the_masked_full_softmax(monkeypatch, chunk):
    monkeypatch.setattr(loss, "CHUNK", chunk)
    hidden, head, targets, representations = example()
    ours = typed_loss(hidden, head, targets, representations, VOCAB)
    wanted = masked_full_softmax(hidden, head, targets, representations)
    torch.testing.assert_close(ours.double(), wanted, rtol=1e-5, atol=1e-4)
    weights = torch.tensor([1.0, 0.3, 2.0])
    mine = torch.autograd.grad((ours * weights).sum() / 9, (hidden, head))
    theirs = torch.autograd.grad((wanted * weights).sum() / 9, (hidden, head))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_raw_positions_do_not_pay_for_compressed_symbols():
    hidden, head, targets, representations = example()
    before = typed_loss(hidden, head, targets, representations, VOCAB)
    loud = head.detach().clone()
    loud[FIRST_SYMBOL:] += 100
    after = typed_loss(hidden, loud, targets, representations, VOCAB)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_bits_are_nats_over_ln_2():
    hidden, head, targets, representations = example()
    raw = ((representations == 0) & (targets >= 0)).nonzero()[:, 0]
    bits = typed_bits(hidden[raw], head, targets[raw], 0, VOCAB)
    nats = typed_loss(hidden, head, targets, representations, VOCAB)[0]
    assert float(bits.detach().sum()) * 0.6931471805599453 == pytest.approx(float(nats.detach()), rel=1e-5)


def test_a_target_of_another_representation_is_refused():
    hidden, head, targets, representations = example()
    targets[representations == 0] = FIRST_SYMBOL
    with pytest.raises(IndexError, match="no symbol of representation 0"):
        typed_loss(hidden, head, targets, representations, VOCAB)


def test_no_targets_no_loss():
    hidden, head, targets, representations = example()
    nothing = typed_loss(hidden, head, torch.full_like(targets, -1), representations, VOCAB)
    assert nothing.tolist() == [0, 0, 0]
    assert FIRST_BYTE == SPECIALS
