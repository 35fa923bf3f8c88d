"""Masses of next bytes are sums over the vocabulary, down to the smallest, and what belongs to no byte is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.model import next_byte
from byteproxy.model.next_byte import NextByte, conditional
from byteproxy.views.prefix_tree import prefix_tree
from byteproxy.vocab import FIRST_BYTE, SPECIALS, closing

STRINGS = st.lists(st.text("abc", max_size=5).map(str.encode), min_size=1, max_size=30)


def joint_by_loops(strings, prob, prefix, end):
    """In longdouble: the mass of each byte after a prefix, by the column of the softmax of bytes."""
    found = np.zeros(320, np.longdouble)
    for token, string in enumerate(strings):
        if len(string) > len(prefix) and string.startswith(prefix):
            found[FIRST_BYTE + string[len(prefix)]] += prob[SPECIALS + token]
    found[closing(0)] = prob[end] if not prefix else 0
    return found


def probabilities(logits):
    exact = np.exp(logits.astype(np.longdouble) - logits.max(0))
    return exact / exact.sum(0)


@settings(max_examples=60)
@given(strings=STRINGS, seed=st.integers(0, 10**6), spread=st.sampled_from([1.0, 20.0]), double=st.booleans())
def test_masses_of_next_bytes_are_sums_over_tokens(strings, seed, spread, double):
    rng = np.random.default_rng(seed)
    logits = rng.uniform(-spread, spread, (SPECIALS + len(strings), 3)).astype(np.float64 if double else np.float32)
    tree = prefix_tree(strings)
    ours = NextByte.typed(tree, 2)
    prob_RT = torch.from_numpy(logits).softmax(0)
    prefixes = sorted({string[:end] for string in strings for end in range(len(string) + 1)} | {b""})
    asked = [(position, prefix) for position in range(3) for prefix in prefixes]
    position_Q = torch.tensor([position for position, _ in asked])
    node_Q = torch.tensor([tree.find(prefix) for _, prefix in asked])
    joint_QB = ours.joint(ours.masses(prob_RT), position_Q, node_Q)
    exact = probabilities(logits)
    for row, (position, prefix) in zip(joint_QB.numpy(), asked, strict=True):
        wanted = joint_by_loops(strings, exact[:, position], prefix, closing(2))
        np.testing.assert_allclose(row, wanted.astype(np.float64), rtol=1e-12 if double else 2e-5, atol=0)
    text = [SPECIALS + token for token, string in enumerate(strings) if string]
    kept = exact[[*text, closing(2)]].sum(0)
    np.testing.assert_allclose(ours.lost(prob_RT), (1 - kept).astype(np.float64), rtol=1e-4, atol=1e-6)
    told = conditional(joint_QB).sum(-1)
    torch.testing.assert_close(told, (joint_QB.sum(-1) > 0).to(told.dtype))


def test_masses_of_1e_30_are_as_exact_as_large_ones():
    """What cumulative sums in float32, or in float64, could not tell: a prefix of 1e-30 beside one of nearly 1."""
    strings = [b"a", b"b", b"ba", b"bab", b"bac", b"bb", b"c"]
    logits = np.full((SPECIALS + len(strings), 1), -200, np.float32)
    logits[SPECIALS:, 0] = [0, -70.5, -69.3, -68.8, -70.1, -71.0, -1]
    tree = prefix_tree(strings)
    ours = NextByte.typed(tree, 1)
    prob_RT = torch.from_numpy(logits).softmax(0)
    node_Q = torch.tensor([tree.find(b"b"), tree.find(b"ba")])
    told_QB = conditional(ours.joint(ours.masses(prob_RT), torch.zeros(2, dtype=torch.int64), node_Q))
    for prefix, row in zip([b"b", b"ba"], told_QB.numpy(), strict=True):
        wanted = joint_by_loops(strings, probabilities(logits)[:, 0], prefix, closing(1))
        assert 1e-31 < wanted.sum() < 1e-29
        np.testing.assert_allclose(row, (wanted / wanted.sum()).astype(np.float64), rtol=1e-5)


def test_where_no_mass_is_left_nothing_is_told():
    tree = prefix_tree([b"a", b"ab", b"c"])
    ours = NextByte.typed(tree, 1)
    prob_RT = torch.zeros(SPECIALS + 3, 1)
    prob_RT[SPECIALS + 2] = 1
    node_Q = torch.tensor([tree.find(b"a"), tree.find(b"ab")])  # too small a mass, and no longer token at all
    joint_QB = ours.joint(ours.masses(prob_RT), torch.zeros(2, dtype=torch.int64), node_Q)
    assert conditional(joint_QB).sum() == 0


@pytest.mark.parametrize("masses", [1, 10**9])
def test_positions_are_taken_some_at_a_time(masses, monkeypatch):
    monkeypatch.setattr(next_byte, "MASSES", masses)
    ours = NextByte.typed(prefix_tree([b"a", b"ab"]), 1)
    parts = [list(range(5000))[one] for one in ours.chunks(5000)]
    assert [at for part in parts for at in part] == list(range(5000))
    assert max(map(len, parts)) == (16 if masses == 1 else 1024)


class TinyModel:
    """Probabilities of the end and of tokens after any history, drawn by a hash of it."""

    def __init__(self, strings, seed):
        self.strings, self.seed, self.tree = strings, seed, prefix_tree(strings)
        self.next_byte = NextByte.typed(self.tree, 1)

    def following(self, history):
        logits = np.random.default_rng([self.seed, *history]).normal(0, 2, 1 + len(self.strings))
        logits[1:][[not string for string in self.strings]] = -np.inf
        prob = np.zeros(SPECIALS + len(self.strings))
        prob[[closing(1), *range(SPECIALS, len(prob))]] = np.exp(logits) / np.exp(logits).sum()
        return prob

    def mass(self, text, history=()):
        """The probability that text goes on so: the sum over all covers."""
        if not text:
            return 1.0
        prob, total = self.following(history)[SPECIALS:], 0.0
        for token, string in enumerate(self.strings):
            if string and string.startswith(text):
                total += prob[token]
            elif string and text.startswith(string):
                total += prob[token] * self.mass(text[len(string) :], (*history, token))
        return total

    def segmentations(self, text, history=(), weight=1.0):
        """All that may be known of how text was segmented so far: whole tokens, bytes of a longer one, probability."""
        prob = self.following(history)[SPECIALS:]
        longer = [len(string) > len(text) and string.startswith(text) for string in self.strings]
        yield history, text, weight if not text else weight * prob[longer].sum()
        for token, string in enumerate(self.strings):
            if string and text.startswith(string):
                yield from self.segmentations(text[len(string) :], (*history, token), weight * prob[token])

    def told(self, history, prefix):
        """What a teacher that knows the segmentation says of the next byte."""
        prob_RT = torch.from_numpy(self.following(history))[:, None]
        zero, node = torch.tensor([0]), torch.tensor([self.tree.find(prefix)])
        return conditional(self.next_byte.joint(self.next_byte.masses(prob_RT), zero, node))[0].numpy()


TINY = st.lists(st.text("ab", max_size=3).map(str.encode), min_size=1, max_size=5).map(lambda more: [b"a", b"b", *more])


@settings(max_examples=30)
@given(strings=TINY, seed=st.integers(0, 10**6), text=st.text("ab", max_size=5).map(str.encode))
def test_given_the_segmentation_the_next_byte_is_right_on_average(strings, seed, text):
    """The mean over all segmentations of the text so far, each by its probability, is the exact marginal."""
    model = TinyModel(strings, seed)
    known = [one for one in model.segmentations(text) if one[2] > 0]
    np.testing.assert_allclose(sum(weight for _, _, weight in known), model.mass(text))
    mean = sum(weight * model.told(history, prefix) for history, prefix, weight in known) / model.mass(text)
    wanted = [model.mass(text + bytes([byte])) / model.mass(text) for byte in b"ab"]
    np.testing.assert_allclose(mean[[FIRST_BYTE + ord("a"), FIRST_BYTE + ord("b")]], wanted)
    np.testing.assert_allclose(mean[closing(0)], 1 - sum(wanted), atol=1e-12)


class Uniform(TinyModel):
    """The end and all tokens are equally likely, always."""

    def following(self, history):
        prob = np.zeros(SPECIALS + len(self.strings))
        prob[[closing(1), *range(SPECIALS, len(prob))]] = 1 / (1 + len(self.strings))
        return prob


def test_longer_tokens_only_are_right_inside_a_token_and_wrong_at_its_end():
    """After "a" comes "b" for sure if "ab" was begun, else by 1/4: 5/8, while longer tokens alone would say 1."""
    model = Uniform([b"a", b"b", b"ab"], 0)
    known = list(model.segmentations(b"a"))
    columns = [FIRST_BYTE + ord("a"), FIRST_BYTE + ord("b"), closing(0)]
    right = sum(weight * model.told(history, prefix) for history, prefix, weight in known) / model.mass(b"a")
    wrong = sum(weight * model.told((), b"a") for _, _, weight in known) / model.mass(b"a")
    np.testing.assert_allclose(right[columns], [0.25, 0.625, 0.125])
    np.testing.assert_allclose(wrong[columns], [0, 1, 0])
