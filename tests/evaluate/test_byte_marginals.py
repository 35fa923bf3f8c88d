"""Byte marginals are sums over all token sequences, or bounds of them, on vocabularies small enough to try them all."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb
from byteproxy.evaluate.byte_marginals import Beam, TokenModel, marginal_bits
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.views.base import Encoded
from byteproxy.vocab import FIRST_SYMBOL, Vocab, opening

EVERYTHING = Beam(10**9, 0.0)
# "ab" and "ba" overlap, "aba" is never written by the longest match of "abab", one is there twice, one has no text.
STRINGS = [b"a", b"b", b"c", b"ab", b"ba", b"abab", b"", b"aba", b"ab", b"cc", b"bcab"]
VOCAB = Vocab((len(STRINGS),))


class Longest:
    """Tokens by longest match, the first of equal ones."""

    name, aligned, lossless, alphabet_size, strings = "longest", True, True, len(STRINGS), STRINGS

    def encode(self, document):
        symbols, at = [], 0
        while at < len(document):
            fits = [one for one, string in enumerate(STRINGS) if string and document.startswith(string, at)]
            symbols.append(max(fits, key=lambda one: (len(STRINGS[one]), -one)))
            at += len(STRINGS[symbols[-1]])
        return Encoded(np.array(symbols, np.uint16), np.array([len(STRINGS[one]) for one in symbols], np.uint32))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=16, layers=2, heads=2, key_value_heads=1, ffn=24), VOCAB.size, torch.float64)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model.double().eval()


@cache
@torch.no_grad()
def following(model, history):
    """Probabilities of specials and tokens after a history, by a pass over all of it."""
    read = torch.tensor([opening(1), *(FIRST_SYMBOL + token for token in history)])
    hidden = model.hidden(read, layout_of(np.array([len(read)])))[-1]
    weight = torch.cat((model.lm_head.weight[:64], model.lm_head.weight[FIRST_SYMBOL:]))
    return (weight @ hidden).softmax(0).numpy()


def mass(model, text, history=(), own=None, levels=10**9):
    """The probability that text goes on so after a history: the sum over all covers.

    own: the tokenizer's own tokens to come, None once the history has left them. levels: tokens that it may have then.
    """
    if not text:
        return 1.0
    total = 0.0
    for token, string in enumerate(STRINGS):
        prob = following(model, history)[64 + token]
        if string and string.startswith(text):
            total += prob
        elif string and text.startswith(string):
            on = own is not None and own[0] == token
            if on or levels > 0:
                after = (*history, token)
                total += prob * mass(model, text[len(string) :], after, own[1:] if on else None, levels - (not on))
    return total


TEXTS = st.text("abc", min_size=1, max_size=9).map(str.encode)


@settings(max_examples=25)
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_marginals_are_sums_over_all_covers(model, texts):
    found = marginal_bits(TokenModel.of_run(model, VOCAB, 1, Longest()), texts, 100, beam=EVERYTHING)
    wanted = [-np.log2(mass(model, text)) for text in texts]
    for name in ("bits", "most", "least"):
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=1e-9)
    assert not found.dropped.any()
    assert found.bytes.tolist() == [len(text) for text in texts]


@settings(max_examples=25)
@given(text=TEXTS, width=st.integers(1, 3), share=st.sampled_from([0.0, 0.1, 0.5]))
def test_what_is_dropped_is_bounded(model, text, width, share):
    found = marginal_bits(TokenModel.of_run(model, VOCAB, 1, Longest()), [text], 100, beam=Beam(width, share))
    exact = -np.log2(mass(model, text))
    assert found.least[0] <= exact + 1e-9
    assert exact <= found.most[0] + 1e-9
    np.testing.assert_allclose(found.bits + found.dropped, found.most)
    assert found.most[0] <= found.tokens[0] + 1e-9


@settings(max_examples=20)
@given(text=TEXTS, levels=st.integers(0, 2))
def test_levels_limit_how_long_a_history_may_be_off_the_tokenizers_way(model, text, levels):
    beam = Beam(10**9, 0.0, levels)
    found = marginal_bits(TokenModel.of_run(model, VOCAB, 1, Longest()), [text], 100, beam=beam)
    own = tuple(Longest().encode(text).symbols.tolist())
    np.testing.assert_allclose(found.most, -np.log2(mass(model, text, (), own, levels)), rtol=1e-9)


def test_long_texts_are_read_in_windows_of_whole_tokens(model):
    text = b"abcababaabbcabccab"
    found = marginal_bits(TokenModel.of_run(model, VOCAB, 1, Longest()), [b"ab", text], 8, 4, EVERYTHING)
    encoded = Longest().encode(text)
    begins = [0, *np.cumsum(encoded.span_bytes).tolist()]
    wanted, scored = 0.0, 0
    for start, end in [(0, 8), (4, 12), (8, 16), (12, 18)]:
        first = min(next(one for one in begins if one >= start), scored)
        last = max(one for one in begins if one <= end)
        if last > scored:
            wanted += np.log2(mass(model, text[first:scored])) - np.log2(mass(model, text[first:last]))
            scored = last
    assert scored == len(text)
    np.testing.assert_allclose(found.bits[1], wanted, rtol=1e-9)
    np.testing.assert_allclose(found.bits[0], -np.log2(mass(model, b"ab")), rtol=1e-9)


def test_the_tokenizers_own_bits_are_those_of_its_view(model):
    texts = [b"abababcab", b"", b"ccabbcabaaaab", b"c"]
    found = marginal_bits(TokenModel.of_run(model, VOCAB, 1, Longest()), texts, 8, 4)
    np.testing.assert_allclose(found.tokens, view_bpb(model, VOCAB, 1, Longest(), texts, 8, 4).bits, rtol=1e-6)
    assert (found.specials < found.tokens).sum() == 3
    assert found.bpb()["tokens"] == found.tokens.sum() / 23
    own = Longest().encode(b"c").symbols.tolist()
    lost = 1 - following(model, ())[[13 + 2, *(64 + one for one in range(len(STRINGS)) if STRINGS[one])]].sum()
    assert len(own) == 1
    np.testing.assert_allclose(found.specials[3], -np.log2(1 - lost), rtol=1e-9)


def test_a_published_model_is_read_with_its_own_ids(model):
    """The same weights with rows for its tokens and two specials only."""
    ids = [opening(1), opening(1) + 1, *range(FIRST_SYMBOL, VOCAB.size - 1)]
    stock = Transformer(model.config, len(ids), torch.float64).double()
    weights = dict(model.state_dict())
    stock.load_state_dict(
        {name: one[ids] if name in ("embed_tokens.weight", "lm_head.weight") else one for name, one in weights.items()}
    )

    class Numbered(Longest):
        strings, alphabet_size = [b"", b"", *STRINGS], 2 + len(STRINGS)

        def encode(self, document):
            symbols, spans = super().encode(document)
            return Encoded(symbols + 2, spans)

    class Published:
        path, found, said = "folder", Numbered(), (0, 1)

        def model(self):
            return stock

        def tokenizer(self):
            return self.found

        def ends(self):
            return self.said

    published = Published()
    tokens = TokenModel.of_published(published)
    assert tokens.id_V[-1] == -1  # the model was cut before the last token
    rows = [opening(1) + 1, *range(FIRST_SYMBOL, VOCAB.size - 1)]
    text = b"ca"
    probabilities = {}
    for history in [(), (2,)]:
        read = torch.tensor([opening(1), *(FIRST_SYMBOL + token for token in history)])
        hidden = model.hidden(read, layout_of(np.array([len(read)])))[-1]
        probabilities[history] = (model.lm_head.weight[[opening(1), *rows]] @ hidden).softmax(0).detach().numpy()
    begin_with_a = [2 + token for token in range(len(STRINGS) - 1) if STRINGS[token].startswith(b"a")]
    wanted = probabilities[()][2 + 2] * probabilities[(2,)][begin_with_a].sum()
    np.testing.assert_allclose(marginal_bits(tokens, [text], 100, beam=EVERYTHING).bits, -np.log2(wanted), rtol=1e-9)
    with pytest.raises(InputError, match=r"b'bcab', and the model has no token"):
        marginal_bits(tokens, [b"bcab"], 100)
    published.said = (None, None)
    with pytest.raises(InputError, match="folder names neither bos nor eos"):
        TokenModel.of_published(published)
    published.found = None
    with pytest.raises(InputError, match="folder has no tokenizer of its own"):
        TokenModel.of_published(published)


def test_what_can_not_be_marginalised_is_refused(model):
    class Lossy(Longest):
        lossless = False

    with pytest.raises(InputError, match="don't spell the text"):
        TokenModel.of_run(model, VOCAB, 1, Lossy())
    other = Transformer(ModelConfig(width=16, layers=1, heads=1, ffn=8, ngrams=(2,), ngram_rows=8), VOCAB.size)
    with pytest.raises(InputError, match="no n-grams"):
        TokenModel.of_run(other, VOCAB, 1, Longest())
    for wrong in ({"width": 0}, {"share": 1.0}, {"levels": -1}):
        with pytest.raises(InputError, match=f"beam.{next(iter(wrong))} is"):
            Beam(**wrong)
