"""Chunked losses are the plain ones; typed softmax is the full softmax with every other symbol masked."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from byteproxy.model import loss
from byteproxy.model.loss import Entries, local_targets, summed_loss, typed_rows
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, targets_of
from byteproxy.vocab import FIRST_SYMBOL, SPECIALS, Vocab

VOCAB = Vocab((50, 30))


def entries(generator, positions, heads, rows, count):
    position = torch.randint(positions, (count,), generator=generator).sort().values
    head = torch.randint(heads, (count,), generator=generator)
    row = torch.randint(rows, (count,), generator=generator)
    return Entries(position, head, row, torch.rand(count, generator=generator) + 0.1)


def plainly(hidden, rows, found, soft_cap):
    """One logit row at a time."""
    nats = []
    for position, head, row, _ in zip(*found[:4], strict=True):
        logits = rows[head] @ hidden[position]
        if soft_cap:
            logits = soft_cap * torch.tanh(logits / soft_cap)
        nats.append(-logits.log_softmax(0)[row])
    nats = torch.stack(nats)
    return (nats * found.weight).sum(), nats


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    positions=st.integers(1, 70),
    heads=st.integers(1, 3),
    rows=st.integers(2, 40),
    count=st.integers(1, 90),
    chunk=st.sampled_from([1, 4, 16, 64]),
    logits=st.sampled_from([1, 100, 1000, 1 << 20]),
    soft_cap=st.sampled_from([0.0, 3.0]),
)
def test_sums_and_gradients_are_the_plain_ones(seed, positions, heads, rows, count, chunk, logits, soft_cap):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    table = torch.randn(heads, rows, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    found = entries(generator, positions, heads, rows, count)
    before = loss._SMALLEST, loss._LARGEST, loss.LOGITS
    loss._SMALLEST = loss._LARGEST = chunk
    loss.LOGITS = logits
    try:
        ours, nats = summed_loss(hidden, table, found, soft_cap)
        wanted, each = plainly(hidden, table, found, soft_cap)
        torch.testing.assert_close(nats.double(), each, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.double(), wanted, rtol=1e-5, atol=1e-4)
        mine = torch.autograd.grad(ours / 7, (hidden, table))
        theirs = torch.autograd.grad(wanted / 7, (hidden, table))
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    finally:
        loss._SMALLEST, loss._LARGEST, loss.LOGITS = before


class Largest(TorchDispatchMode):
    """The most numbers that any tensor made meanwhile holds."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else (out,):
            if isinstance(one, torch.Tensor):
                self.numbers = max(self.numbers, one.numel())
        return out


def test_memory_does_not_grow_with_positions_times_symbols():
    positions, rows = 20_000, 3000
    hidden = torch.randn(positions, 4, requires_grad=True)
    table = torch.randn(1, rows, 4, requires_grad=True)
    every = torch.arange(positions)
    found = Entries(every, torch.zeros_like(every), every % rows, torch.ones(positions))
    with Largest() as largest:
        summed_loss(hidden, table, found)[0].backward()
    assert largest.numbers <= loss.LOGITS < positions * rows / 10


def test_a_chunk_of_a_large_table_has_logits_as_large_as_its_gradient_and_no_more():
    positions, rows, width = 600, 9000, 128
    assert loss._sizes(rows, width, False) == (2 * width, 64)
    hidden = torch.randn(positions, width, requires_grad=True)
    table = torch.randn(1, rows, width, requires_grad=True)
    every = torch.arange(positions)
    found = Entries(every, torch.zeros_like(every), every % rows, torch.ones(positions))
    with Largest() as largest:
        summed_loss(hidden, table, found)[0].backward()
    assert loss.LOGITS < largest.numbers <= 2 * width * rows


def example(positions=300, seed=0):
    generator = torch.Generator().manual_seed(seed)
    config = ModelConfig(width=16, layers=1, heads=1, ffn=8)
    model = Transformer(config, VOCAB.size).double()
    torch.nn.init.normal_(model.lm_head.weight)
    hidden = torch.randn(positions, 16, generator=generator, dtype=torch.float64, requires_grad=True)
    representations = torch.randint(3, (positions,), generator=generator)
    targets = torch.empty(positions, dtype=torch.int64)
    for i, representation in enumerate(representations.tolist()):
        allowed = [*range(SPECIALS), *VOCAB.symbol_ids(representation)]
        targets[i] = allowed[int(torch.randint(len(allowed), (1,), generator=generator))]
    targets[::7] = -1
    return model, hidden, Positions(torch.zeros_like(targets), targets, representations)


def allowed_of(softmax):
    allowed = torch.zeros(3, VOCAB.size, dtype=torch.bool)
    allowed[:, :SPECIALS] = True
    for representation in range(3):
        ids = VOCAB.symbol_ids(representation)
        allowed[representation, ids.start : ids.stop] = True
    return allowed | (softmax == "shared")


def masked_full_softmax(model, hidden, shown, softmax):
    logits = (hidden @ model.lm_head.weight.T).masked_fill(~allowed_of(softmax)[shown.representations_N], float("-inf"))
    nats = F.cross_entropy(logits, shown.targets_N.clamp_min(0), reduction="none") * (shown.targets_N >= 0)
    return torch.stack([nats[shown.representations_N == r].sum() for r in range(3)])


@pytest.mark.parametrize("softmax", ["typed", "shared"])
def test_losses_are_those_of_the_masked_full_softmax(softmax):
    model, hidden, shown = example()
    model.config = ModelConfig(width=16, layers=1, heads=1, ffn=8, softmax=softmax)
    found = model.losses(hidden, targets_of(model.config, shown, VOCAB, Objective(compressed_weight=0.3), 0.0))
    wanted = masked_full_softmax(model, hidden, shown, softmax)
    ours = torch.stack((found.nats[0, 0], found.nats[1, 1], found.nats[2, 1]))
    torch.testing.assert_close(ours, wanted.detach(), rtol=1e-5, atol=1e-4)
    weights = torch.tensor([1.0, 0.3, 0.3])
    mine = torch.autograd.grad(found.total / 9, (hidden, model.lm_head.weight))
    theirs = torch.autograd.grad((wanted * weights).sum() / 9, (hidden, model.lm_head.weight))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("softmax", ["typed", "shared"])
def test_raw_positions_pay_for_compressed_symbols_only_where_the_softmax_is_shared(softmax):
    model, hidden, shown = example()
    model.config = ModelConfig(width=16, layers=1, heads=1, ffn=8, softmax=softmax)
    before = model.losses(hidden, targets_of(model.config, shown, VOCAB, Objective(), 0.0)).nats
    with torch.no_grad():
        model.lm_head.weight[FIRST_SYMBOL:] += 100
    after = model.losses(hidden, targets_of(model.config, shown, VOCAB, Objective(), 0.0)).nats
    assert (after[0, 0] == before[0, 0]) == (softmax == "typed")
    assert after[1, 1] != before[1, 1]


@pytest.mark.parametrize("representation", [0, 1, 2])
def test_a_typed_softmax_chooses_among_specials_and_its_own_symbols(representation):
    ids = VOCAB.symbol_ids(representation)
    rows = [one for part in typed_rows(representation, VOCAB) for one in part]
    assert rows == [*range(SPECIALS), *ids]
    assert local_targets(torch.tensor(rows), representation, VOCAB).tolist() == list(range(len(rows)))


def test_a_target_of_another_representation_is_refused():
    model, hidden, shown = example()
    wrong = shown.targets_N.clone()
    wrong[shown.representations_N == 0] = FIRST_SYMBOL
    with pytest.raises(IndexError, match="no special and no byte"):
        model.losses(hidden, targets_of(model.config, shown._replace(targets_N=wrong), VOCAB, Objective(), 0.0))
    with pytest.raises(IndexError, match="no symbol of representation 1"):
        local_targets(torch.tensor([70]), 1, VOCAB)


def test_no_targets_no_loss():
    model, hidden, shown = example()
    nothing = model.losses(
        hidden, targets_of(model.config, shown._replace(targets_N=torch.full((300,), -1)), VOCAB, Objective(), 0.0)
    )
    assert float(nothing.total) == 0
    assert not nothing.counts.any()
