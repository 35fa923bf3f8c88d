"""What a model reads beside its own rows, against plain sums; and tables of n-grams that are scaled."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from byteproxy.mixture.hints import NO_HINT, HintedView, RowHints
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.hints import HintTokens, TokenHints
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.views.longest_token import longest_tokens
from byteproxy.vocab import FIRST_SYMBOL, byte_ids, opening

SMALL = ModelConfig(width=32, layers=2, heads=2, ffn=48)
STRINGS = [b"a", b"b", b"ab", b"bab", b""]
FIRST = FIRST_SYMBOL + 7
TEXTS = (b"abab", b"xbab", b"a")
HINTED = ([0, 2, 0, 3], [None, 1, 0, 3], [0])  # "bab" needs its first byte to stand in the same text
LENGTHS = np.array([1 + len(text) for text in TEXTS])


def filled(**options):
    torch.manual_seed(0)
    model = Transformer(replace(SMALL, **options), FIRST + len(STRINGS))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


SYMBOLS = torch.from_numpy(np.concatenate([part for text in TEXTS for part in ([opening(0)], byte_ids(text))]))
IDS = np.array([FIRST + one if one is not None else NO_HINT for own in HINTED for one in (None, *own)])


def hints(scale=1.0):
    return TokenHints.of(RowHints(IDS, scale), "cpu")


def view():
    return HintedView(STRINGS, FIRST, longest_tokens(STRINGS))


@pytest.mark.parametrize("lora", [False, True])
def test_hinted_rows_are_added_by_their_scale(lora):
    model = filled()
    table = model.embed_tokens
    wanted = table.weight[SYMBOLS].clone()
    if lora:
        table.new_rows = torch.nn.Parameter(torch.randn(FIRST_SYMBOL, 32))
        wanted = table.new_rows[SYMBOLS].clone()
    for place, hint in enumerate(IDS.tolist()):
        if hint != NO_HINT:
            wanted[place] += 0.5 * table.weight[hint]
    torch.testing.assert_close(table(SYMBOLS, None, hints(0.5)), wanted)


def test_the_table_learns_by_both_of_its_lookups():
    model = filled()
    gradient = torch.randn(len(SYMBOLS), 32)
    table = model.embed_tokens(SYMBOLS, None, hints(0.5))
    (found,) = torch.autograd.grad(table, model.embed_tokens.weight, gradient)
    wanted = torch.zeros_like(found).index_add_(0, SYMBOLS, gradient)
    there = torch.from_numpy(IDS >= 0)
    wanted.index_add_(0, torch.from_numpy(IDS)[there], 0.5 * gradient[there])
    torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_a_model_whose_hints_stay_finds_them_itself_and_a_checkpoint_has_them():
    plain, staying, again = filled(), filled(), filled()
    layout = layout_of(LENGTHS)
    staying.hints = HintTokens.of(view(), 0.5)
    again.hints = HintTokens(len(STRINGS), sum(map(len, STRINGS)), 0.5)
    again.load_state_dict(staying.state_dict())
    wanted = plain.hidden(SYMBOLS, layout, None, hints(0.5))
    assert torch.equal(staying.hidden(SYMBOLS, layout), wanted)
    assert torch.equal(again.hidden(SYMBOLS, layout), wanted)
    assert not torch.allclose(plain.hidden(SYMBOLS, layout), wanted)
    assert torch.equal(plain.hidden(SYMBOLS, layout, None, hints(0.0)), plain.hidden(SYMBOLS, layout))


@pytest.mark.parametrize("composed", [False, True])
@torch.no_grad()
def test_tables_count_by_their_scale_and_settle_to_what_they_counted(composed):
    kind = {"inputs": "last"} if composed else {}
    model = filled(ngrams=(2, 3), ngram_rows=64, ngram_outputs=True, **kind)
    ends = torch.arange(1, len(SYMBOLS) + 1)
    read = SYMBOLS, layout_of(LENGTHS), ByteExpansion(SYMBOLS, ends, ends) if composed else None
    whole = model.hidden(*read)
    by_hand = filled(ngrams=(2, 3), ngram_rows=64, ngram_outputs=True, **kind)
    for tables in (by_hand.ngrams, by_hand.ngram_bias):
        tables.weight *= 0.25
    model.scale_ngrams(0.25)
    torch.testing.assert_close(model.hidden(*read), by_hand.hidden(*read))
    model.settle_ngrams()
    torch.testing.assert_close(model.hidden(*read), by_hand.hidden(*read))
    assert not torch.allclose(model.hidden(*read), whole, atol=1e-3)
    model.scale_ngrams(0.0)
    without = model.hidden(*read)
    model.settle_ngrams()
    assert torch.equal(model.hidden(*read), without)
    assert model.config == replace(SMALL, ngram_rows=64, **kind)
    assert not [name for name in model.state_dict() if "ngram" in name or "expansion" in name]
