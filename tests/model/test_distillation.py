"""Raw positions are held to what the softmax of symbols says of their byte: against loops over the vocabulary."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.model import next_byte
from byteproxy.model.distillation import Distilled, TeacherStates, distilled_loss
from byteproxy.model.loss import capped
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.model.next_byte import NextByte
from byteproxy.model.objective import Objective, check_fit
from byteproxy.model.targets import BothForms, Positions, columns, targets_of
from byteproxy.views.prefix_tree import prefix_tree
from byteproxy.vocab import EOS, FIRST_BYTE, FIRST_SYMBOL, RAW, SPECIALS, Vocab, closing, opening

STRINGS = [b"a", b"b", b"ab", b"abb", b"", b"ba", b"ab", b"c"]
VOCAB = Vocab((3, len(STRINGS)))
TREE = prefix_tree(STRINGS)
PREFIXES = [b"", b"a", b"b", b"ab", b"abb"]  # after the last one nothing is longer


def taught_by_loops(logits, prefix):
    """The distribution of the next byte, or of the end, after a prefix: float64 [specials and bytes]."""
    prob, found = logits.double().softmax(0), torch.zeros(FIRST_SYMBOL, dtype=torch.float64)
    for token, string in enumerate(STRINGS):
        if string.startswith(prefix) and len(string) > len(prefix):
            found[FIRST_BYTE + string[len(prefix)]] += prob[SPECIALS + token]
    if not prefix:
        found[closing(RAW)] = prob[closing(2)]
    return found / found.sum() if found.sum() > 0 else found


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    students=st.integers(0, 40),
    masses=st.sampled_from([1, 1 << 22]),
    soft_cap=st.sampled_from([0.0, 2.0]),
)
def test_losses_and_gradients_are_the_plain_ones(seed, students, masses, soft_cap):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(60, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    byte_rows = torch.randn(FIRST_SYMBOL, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    symbol_rows = torch.randn(SPECIALS + len(STRINGS), 8, generator=generator, dtype=torch.float64, requires_grad=True)
    student = torch.randperm(60, generator=generator)[:students]
    teacher = torch.randint(60, (students,), generator=generator).sort().values
    prefixes = [PREFIXES[at] for at in torch.randint(len(PREFIXES), (students,), generator=generator).tolist()]
    row = torch.randint(FIRST_BYTE + 97, FIRST_BYTE + 99, (students,), generator=generator)
    weight = torch.rand(students, generator=generator)
    node = torch.tensor([TREE.find(prefix) for prefix in prefixes], dtype=torch.int64)
    before = next_byte.MASSES, next_byte._FEWEST
    next_byte.MASSES, next_byte._FEWEST = masses, 4
    try:
        found = Distilled(student, teacher, node, row, weight, NextByte.typed(TREE, 2))
        summed, nats = distilled_loss(hidden, byte_rows, TeacherStates(hidden, symbol_rows), found, soft_cap)
    finally:
        next_byte.MASSES, next_byte._FEWEST = before
    wanted = torch.zeros((), dtype=torch.float64)
    for at, prefix in enumerate(prefixes):
        logits = capped(symbol_rows @ hidden[teacher[at]], soft_cap).detach()
        taught = taught_by_loops(logits, prefix)
        own = capped(byte_rows @ hidden[student[at]], soft_cap).log_softmax(0)
        wanted = wanted - weight[at] * (taught * own).sum()
        torch.testing.assert_close(nats[at].double(), -(taught * own).sum().detach(), rtol=1e-5, atol=1e-5)
        costs = -taught[row[at]].clamp_min(1e-37).log() if taught.sum() > 0 else torch.zeros((), dtype=torch.float64)
        torch.testing.assert_close(nats[students + at].double(), costs, rtol=1e-5, atol=1e-4)
    if students == 0:
        assert summed == 0
        assert len(nats) == 0
        return
    torch.testing.assert_close(summed.double(), wanted, rtol=1e-5, atol=1e-4)
    mine = torch.autograd.grad(summed / 7, (hidden, byte_rows, symbol_rows), allow_unused=True)
    theirs = torch.autograd.grad(wanted / 7, (hidden, byte_rows))
    assert mine[2] is None  # the teacher is not taught
    for one, other in zip(mine[:2], theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


RAW_IDS = [opening(RAW), *(FIRST_BYTE + byte for byte in b"abbab"), closing(RAW), EOS]
SYMBOL_IDS = [opening(2), *(VOCAB.first_id(2) + token for token in (3, 6)), closing(2), EOS]
RAW_Q, SYMBOL_Q, BEFORE_Q = [0, 1, 2, 3, 4, 5], [8, 8, 8, 9, 9, 10], [0, 1, 2, 0, 1, 0]


def shown(both=True):
    """ "abbab" as bytes, then as "abb" and "ab"."""
    symbols = torch.tensor(RAW_IDS + SYMBOL_IDS)
    targets = torch.tensor([*RAW_IDS[1:], -1, *SYMBOL_IDS[1:], -1])
    representations = torch.tensor([0] * len(RAW_IDS) + [2] * len(SYMBOL_IDS))
    next_bytes = [NextByte.typed(prefix_tree([b"x", b"y", b"z"]), 1), NextByte.typed(TREE, 2)]
    found = BothForms(*map(torch.tensor, (RAW_Q, SYMBOL_Q, BEFORE_Q)), next_bytes) if both else None
    return Positions(symbols, targets, representations, None, found)


def test_each_raw_position_of_both_forms_is_taught_by_the_symbol_that_covers_its_byte():
    config, objective = ModelConfig(width=16, layers=1, heads=1, ffn=8), Objective(distill=0.5, raw_weight=2.0)
    torch.manual_seed(0)
    model = Transformer(config, VOCAB.size)
    torch.nn.init.normal_(model.lm_head.weight)
    hidden = torch.randn(len(RAW_IDS) + len(SYMBOL_IDS), 16)
    found = model.losses(hidden, targets_of(config, shown(), VOCAB, objective, 0.0))
    without = model.losses(hidden, targets_of(config, shown(), VOCAB, Objective(raw_weight=2.0), 0.0))
    ids = [*range(SPECIALS), *VOCAB.symbol_ids(2)]
    nats, costs = 0.0, 0.0
    for raw, symbol, prefix, byte in zip(RAW_Q, SYMBOL_Q, [b"", b"a", b"ab", b"", b"a", b""], b"abbab\0", strict=True):
        taught = taught_by_loops((model.lm_head.weight[ids] @ hidden[symbol]).detach(), prefix)
        own = (model.lm_head.weight[:FIRST_SYMBOL] @ hidden[raw]).double().log_softmax(0)
        nats -= float((taught * own).sum())
        costs -= float(taught[FIRST_BYTE + byte if byte else closing(RAW)].log())
    assert float(found.total - without.total) == pytest.approx(2.0 * 0.5 * nats, rel=1e-4)
    names = columns(config, objective)
    assert names[-2:] == ["distilled", "teacher"]
    assert found.nats[RAW, names.index("distilled")] == pytest.approx(nats, rel=1e-5)
    assert found.nats[RAW, names.index("teacher")] == pytest.approx(costs, rel=1e-5)
    assert found.counts[RAW, -2:].tolist() == [6, 6]
    assert torch.equal(found.nats[:, :-2], without.nats)


def test_where_no_passage_is_shown_in_both_forms_nothing_is_distilled():
    config, objective = ModelConfig(width=16, layers=1, heads=1, ffn=8), Objective(distill=1.0)
    model = Transformer(config, VOCAB.size)
    hidden = torch.randn(len(RAW_IDS) + len(SYMBOL_IDS), 16)
    nothing = torch.zeros(0, dtype=torch.int64)
    empty = shown()._replace(both=BothForms(nothing, nothing, nothing, shown().both.next_bytes))
    totals = [model.losses(hidden, targets_of(config, one, VOCAB, objective, 0.0)) for one in (shown(False), empty)]
    plain = model.losses(hidden, targets_of(config, shown(False), VOCAB, Objective(), 0.0))
    assert all(torch.equal(one.total, plain.total) and not one.counts[:, -2:].any() for one in totals)


def test_the_teacher_gets_no_gradient():
    config, objective = ModelConfig(width=16, layers=1, heads=1, ffn=8), Objective(distill=1.0, compressed_weight=0.0)
    model = Transformer(config, VOCAB.size)
    torch.nn.init.normal_(model.lm_head.weight)
    hidden = torch.randn(len(RAW_IDS) + len(SYMBOL_IDS), 16, requires_grad=True)
    model.losses(hidden, targets_of(config, shown(), VOCAB, objective, 0.0)).total.backward()
    assert hidden.grad[: len(RAW_IDS) - 1].abs().sum() > 0
    assert not hidden.grad[len(RAW_IDS) :].any()
    assert not model.lm_head.weight.grad[FIRST_SYMBOL:].any()
    logits = F.linear(hidden[RAW_Q].detach(), model.lm_head.weight[:FIRST_SYMBOL])
    assert logits.shape == (6, FIRST_SYMBOL)


@pytest.mark.parametrize(
    ("model", "objective"),
    [({"softmax": "shared"}, {}), ({"inputs": "mean"}, {}), ({}, {"symbols": 0.0, "bag": 1.0})],
)
def test_what_has_no_softmax_of_symbols_read_as_such_is_refused(model, objective):
    with pytest.raises(InputError, match=r"objective\.distill takes what the softmax of symbols says"):
        check_fit(ModelConfig(**model), Objective(**objective, distill=1.0))


def test_causal_teachers_read_no_n_grams():
    with pytest.raises(InputError, match='distill_form is "causal", which reads symbols that the text has not'):
        check_fit(ModelConfig(ngrams=(2,)), Objective(distill=1.0, distill_form="causal"))
    check_fit(ModelConfig(ngrams=(2,)), Objective(distill=1.0))
    with pytest.raises(InputError, match="distill_form is 'other': give one of segmented, causal"):
        Objective(distill_form="other")
