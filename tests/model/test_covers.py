"""Causal teachers: all histories with at most one symbol off the view's own way, against a search through all."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.mixture.both_forms import BothForms
from byteproxy.mixture.loader import Rows
from byteproxy.model import blocks
from byteproxy.model.attention.layout import Kept, layout_of
from byteproxy.model.covers import covers_of
from byteproxy.model.distillation import Distilled, TeacherStates, taught_causally
from byteproxy.model.lora import adapt
from byteproxy.model.lora_config import LoraConfig
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.next_byte import NextByte
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, targets_of
from byteproxy.train.teachers import both_forms_of
from byteproxy.views.prefix_tree import ROOT, prefix_tree
from byteproxy.vocab import EOS, FIRST_BYTE, FIRST_SYMBOL, RAW, SPECIALS, Vocab, closing, opening

# Symbols that overlap, that are there twice, without text, and that the longest match never writes.
STRINGS = [b"a", b"b", b"c", b"ab", b"ba", b"abab", b"", b"aba", b"ab", b"cc", b"bcab"]
VOCAB = Vocab((3, len(STRINGS)))
FIRST = VOCAB.first_id(2)
TREE = prefix_tree(STRINGS)


def longest(text):
    found = []
    while text:
        fits = [one for one, string in enumerate(STRINGS) if string and text.startswith(string)]
        found.append(max(fits, key=lambda one: (len(STRINGS[one]), -one)))
        text = text[len(STRINGS[found[-1]]) :]
    return found


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=16, layers=2, heads=2, key_value_heads=1, ffn=24), VOCAB.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def rows_of(texts, skipped=0):
    """Each text as bytes, then as symbols; of the raw ones the first bytes are left out, as where a row begins."""
    symbols, kinds, lengths, found = [], [], [], []
    for text in texts:
        ids, raw = longest(text), len(symbols)
        symbols += [opening(RAW), *(FIRST_BYTE + byte for byte in text[skipped:]), closing(RAW), EOS]
        at = len(symbols)
        symbols += [opening(2), *(FIRST + one for one in ids), closing(2), EOS]
        kinds += [0] * (at - raw) + [2] * (len(symbols) - at)
        lengths += [at - raw, len(symbols) - at]
        pairs = [(at + place, before) for place, one in enumerate(ids) for before in range(len(STRINGS[one]))]
        pairs.append((at + len(ids), 0))
        found += [(raw + byte, *pair) for byte, pair in enumerate(pairs[skipped:])]
    targets = np.array([*symbols[1:], -1])
    targets[np.cumsum(lengths) - 1] = -1
    both = BothForms(*np.array(found).T)
    return Rows(np.array(symbols), targets, np.array(kinds, np.int8), np.array(lengths), None, both)


@torch.no_grad()
def following(model, history):
    read = torch.tensor([opening(2), *(FIRST + symbol for symbol in history)])
    hidden = model.hidden(read, layout_of(np.array([len(read)])))[-1]
    rows = [*range(SPECIALS), *VOCAB.symbol_ids(2)]
    return (model.lm_head.weight[rows] @ hidden).double().softmax(0).numpy()


def told_by_search(model, text, own, history=(), weight=1.0, off=0):
    """Masses of the next byte and the end after a text, and of what goes on with two symbols off the own way."""
    prob, found, left = following(model, history), np.zeros(FIRST_SYMBOL), 0.0
    for symbol, string in enumerate(STRINGS):
        if len(string) > len(text) and string.startswith(text):
            found[FIRST_BYTE + string[len(text)]] += weight * prob[SPECIALS + symbol]
    if not text:
        found[closing(RAW)] += weight * prob[closing(2)]
    for symbol, string in enumerate(STRINGS if text else []):
        if string and text.startswith(string):
            now = off if off == 0 and own[len(history)] == symbol else off + 1
            if now > 1:
                left += weight * prob[SPECIALS + symbol] * (string == text)
                continue
            rest, more = text[len(string) :], (*history, symbol)
            deeper = told_by_search(model, rest, own, more, weight * prob[SPECIALS + symbol], now)
            found, left = found + deeper[0], left + deeper[1]
    return found, left


def read(model, rows, after):
    """Hidden states of rows, and what they kept for branches."""
    layout = layout_of(rows.lengths)
    kept = Kept(layout, after, model.config.layers)
    return model.hidden(torch.from_numpy(rows.symbols), replace(layout, kept=kept)).detach(), kept


TREES = [NextByte.typed(prefix_tree([b"x", b"y", b"z"]), 1), NextByte.typed(TREE, 2)]


def taught(model, rows, least=0.0):
    trees = TREES
    both = both_forms_of(rows, trees, "cpu", VOCAB, True)
    node = trees[1].node_in(torch.from_numpy(rows.targets)[both.symbol_Q] - FIRST, both.before_Q)
    weight, contexts = torch.ones(len(node)), both.contexts[1]
    hidden, kept = read(model, rows, contexts.after)
    states = partial(model.branch_states, kept)
    students = Distilled(both.raw_Q, both.symbol_Q, node, both.raw_Q, weight, trees[1], contexts, least, states)
    ids = [*range(SPECIALS), *VOCAB.symbol_ids(2)]
    symbol_rows = model.lm_head.weight[ids].detach().to(hidden.dtype)
    parts = list(taught_causally(TeacherStates(hidden, symbol_rows), students, contexts, 0.0))
    return torch.cat([one for _, one, _ in parts]), torch.cat([left for _, _, left in parts])


TEXTS = st.text("abc", min_size=1, max_size=7).map(str.encode)


@settings(max_examples=25)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3))
def test_bytes_are_taught_by_all_histories_with_one_symbol_off_the_way(model, texts):
    found, left = taught(model, rows_of(texts))
    at = 0
    for text in texts:
        for end in range(len(text) + 1):
            wanted, dropped = told_by_search(model, text[:end], longest(text))
            np.testing.assert_allclose(found[at], wanted / wanted.sum(), rtol=1e-3, atol=1e-6)
            np.testing.assert_allclose(left[at], dropped / (dropped + wanted.sum()), rtol=1e-3, atol=1e-5)
            at += 1
    assert at == len(found)


def test_texts_of_two_bytes_are_taught_their_exact_marginals(model):
    """Nothing is left out there that goes on: two symbols off the way end at the text's own end."""
    for text in (b"ab", b"ba", b"cc"):
        found, left = taught(model, rows_of([text]))
        own = longest(text)
        for end in range(2):
            wanted, _ = told_by_search(model, text[:end], own)
            np.testing.assert_allclose(found[end], wanted / wanted.sum(), rtol=1e-3, atol=1e-6)
        assert left[:2].tolist() == [0, 0]


def test_raw_text_that_begins_inside_a_symbol_is_taught_from_the_next_one_on(model):
    text = b"ababca"
    found, _ = taught(model, rows_of([text], skipped=1))
    assert found.sum(1).tolist() == pytest.approx([0, 0, 0, 1, 1, 1])
    whole, _ = taught(model, rows_of([text]))
    assert torch.allclose(found[3], whole[4]) is False  # less is known of how it was segmented


def test_branches_are_all_symbols_that_the_text_allows_and_the_view_did_not_write():
    rows = rows_of([b"abab", b"c"])
    found = covers_of(TREE, *rows.both, rows.targets, FIRST)
    assert [STRINGS[symbol] for symbol in found.own_C[found.own_C >= 0]] == [b"abab", b"c"]
    assert found.first_C.tolist() == [0, 0, 2, 2]
    assert found.parent_X.tolist() == [0] * 4
    assert sorted(STRINGS[symbol] for symbol in found.symbol_X) == [b"a", b"ab", b"ab", b"aba"]
    assert (np.diff(found.context_E) >= 0).all()
    assert found.student_E[found.context_E == 0].tolist() == [0, 1, 2, 3, 4]
    assert found.node_E[found.context_E == 0].tolist() == [TREE.find(b"abab"[:end]) for end in range(5)]
    assert [found.node_E[found.context_E == one].tolist()[0] for one in range(8)] == [ROOT] * 8


@settings(max_examples=10)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), threshold=st.floats(1e-6, 1))
def test_what_light_branches_would_tell_counts_as_left_out(model, texts, threshold):
    """Two distributions differ by no more than the shares of what either lacks, and those are told."""
    whole, left = taught(model, rows_of(texts))
    found, dropped = taught(model, rows_of(texts), threshold)
    apart = (found - whole).abs().sum(1) / 2
    assert (apart <= dropped + 1e-5).all()
    assert (dropped >= left - 1e-5).all()


def test_branches_that_weigh_less_than_the_threshold_are_not_read(model, monkeypatch):
    asked, branch_states = [], Transformer.branch_states
    monkeypatch.setattr(
        Transformer, "branch_states", lambda *given: asked.append(len(given[2])) or branch_states(*given)
    )
    for threshold in (0.0, 1e-9, 0.3, 1e9):
        taught(model, rows_of([b"ababca", b"bcabab"]), threshold)
    assert asked[0] == asked[1] > asked[2] > 0
    assert len(asked) == 3


@pytest.mark.parametrize("shape", [{"heads": 4, "key_value_heads": 2, "qk_norm": True}, {"value_embeddings": True}])
@settings(max_examples=10)
@given(lengths=st.lists(st.integers(1, 300), min_size=1, max_size=5), data=st.data())
def test_branches_of_documents_of_any_lengths_are_read_as_in_their_own_history(shape, lengths, data):
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=16, layers=2, ffn=24, **{"heads": 2, **shape}), VOCAB.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    symbols = np.random.default_rng(0).integers(VOCAB.size, size=sum(lengths))
    rows = Rows(symbols, symbols, symbols, np.array(lengths))
    after = np.array(data.draw(st.lists(st.integers(0, sum(lengths) - 1), min_size=1, max_size=400)))
    new = symbols[after] // 2
    states = model.branch_states(read(model, rows, after)[1], after, new)
    ends = np.cumsum(lengths)
    for one in range(0, len(after), 1 + len(after) // 5):
        begin = int((ends - lengths)[np.searchsorted(ends, after[one], side="right")])
        history = torch.tensor([*symbols[begin : after[one] + 1].tolist(), int(new[one])])
        with torch.no_grad():
            wanted = model.hidden(history, layout_of(np.array([len(history)])))[-1]
        torch.testing.assert_close(states[one], wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("adapted", [False, True], ids=["plain", "lora"])
def test_branches_see_their_own_history_only(model, adapted):
    if adapted:
        model = deepcopy(model)
        adapt(model, LoraConfig(2))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    rows = rows_of([b"ababca", b"cc", b"bcabab"])
    after, new = np.array([20, 9, 10, 9, 28]), np.array([FIRST, FIRST + 3, FIRST + 1, FIRST + 4, FIRST + 2])
    states = model.branch_states(read(model, rows, after)[1], after, new)
    ends = np.cumsum(rows.lengths)
    for one, at, symbol in zip(states, after.tolist(), new.tolist(), strict=True):
        begin = int((ends - rows.lengths)[np.searchsorted(ends, at, side="right")])
        history = torch.tensor([*rows.symbols[begin : at + 1].tolist(), symbol])
        with torch.no_grad():
            torch.testing.assert_close(
                one, model.hidden(history, layout_of(np.array([len(history)])))[-1], rtol=1e-4, atol=1e-5
            )


def gradients(model, rows, **weights):
    """What rows cost, and the gradient of that, raw positions alone."""
    both = both_forms_of(rows, TREES, "cpu", VOCAB, True)
    shown = (torch.from_numpy(one) for one in (rows.symbols, rows.targets, rows.representations.astype(np.int64)))
    objective = Objective(compressed_weight=0.0, distill_form="causal", **weights)
    targets = targets_of(model.config, Positions(*shown, None, both), VOCAB, objective, 0.0)
    total = model(Batch(torch.from_numpy(rows.symbols), layout_of(rows.lengths), targets)).total
    given = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    zeros = map(torch.zeros_like, model.parameters())
    return [total.detach(), *(one if own is None else own for own, one in zip(given, zeros, strict=True))]


@pytest.mark.parametrize("threshold", [0.0, 0.1])
def test_students_learn_and_teachers_stay_as_they_are(model, threshold):
    """The gradient is that of cross-entropies with distributions that are given."""
    rows, weights = rows_of([b"ababca", b"cc", b"bcabab"]), {"distill": 0.5, "distill_threshold": threshold}
    apart = [one - other for one, other in zip(gradients(model, rows, **weights), gradients(model, rows), strict=True)]
    hidden = model.hidden(torch.from_numpy(rows.symbols), layout_of(rows.lengths))[rows.both.raw]
    log_prob = (hidden @ model.lm_head.weight[:FIRST_SYMBOL].T).log_softmax(-1)
    wanted = -0.5 * (taught(model, rows, threshold)[0] * log_prob).sum()
    found = torch.autograd.grad(wanted, list(model.parameters()), allow_unused=True)
    for one, other in zip(apart, (wanted.detach(), *found), strict=True):
        torch.testing.assert_close(one, torch.zeros_like(one) if other is None else other, rtol=1e-3, atol=2e-4)


def test_in_bfloat16_teachers_say_about_the_same(model):
    rows, half = rows_of([b"ababca", b"cc", b"bcabab"]), deepcopy(model)
    half.dtype = torch.bfloat16
    (whole, left), (found, dropped) = taught(model, rows), taught(half, rows)
    assert found.dtype == torch.float32
    assert (found - whole).abs().sum(1).max() < 0.1
    torch.testing.assert_close(dropped, left, rtol=0, atol=0.05)
    torch.testing.assert_close(found.sum(1), torch.ones(len(found)))


def test_compiled_steps_are_the_same_and_one_graph_serves_any_number_of_branches(model, monkeypatch):
    """Dynamo alone: which kernels are made of its graphs is no matter of branches."""
    texts = [one for one in map(bytes, product(b"abc", repeat=6)) if len(longest(one)) == 4]
    steps = [rows_of(texts[at :: len(texts) // 3][:3]) for at in (0, 3, 1)]
    model, (positions,) = deepcopy(model), {len(rows.symbols) for rows in steps}
    branches = [len(both_forms_of(rows, TREES, "cpu", VOCAB, True).contexts[1].after) for rows in steps]
    assert len(set(branches)) > 1
    weights = {"distill": 1.0, "distill_threshold": 0.01}
    wanted = [gradients(model, rows, **weights) for rows in steps]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(blocks._layer, dynamic=False, backend="eager")
    monkeypatch.setattr(blocks, "_compiled", {blocks._layer: compiled}.__getitem__)
    model.compile_for(positions)
    graphs = []
    for rows, plain in zip(steps, wanted, strict=True):
        with torch._dynamo.config.patch(nested_graph_breaks=True):
            found = gradients(model, rows, **weights)
        for one, other in zip(found, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert graphs == [graphs[0]] * 3
    assert 0 < graphs[0] <= 4
