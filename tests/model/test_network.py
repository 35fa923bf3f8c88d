import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.attention.packed import Rows, rotation
from byteproxy.model.embedding import ByteExpansion, composed, ngram_rows
from byteproxy.model.model_config import MAX_BYTE_PLACES, ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import FIRST_SYMBOL

SMALL = ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, ffn=48)
OPTIONS = {
    "plain": {},
    "qk_norm": {"qk_norm": True},
    "soft_cap": {"soft_cap": 9.0},
    "value_embeddings": {"value_embeddings": True},
    "ngrams": {"ngrams": (2, 4), "ngram_rows": 512, "ngram_outputs": True},
    "biases": {"attention_biases": "all", "head_dim": 6, "qk_norm": True},
    "mean": {"inputs": "mean", "hashed_rows": 64},
    "positions": {"inputs": "positions"},
    "symbols_together": {"qk_norm": True, "value_embeddings": True, "ngrams": (3,)},
    "composed_together": {"qk_norm": True, "inputs": "positions", "hashed_rows": 64, "ngrams": (2, 3)},
}
UNITS = st.lists(st.lists(st.integers(0, FIRST_SYMBOL - 1), min_size=1, max_size=20), min_size=1, max_size=12)
ROWS = 1 << 22  # of a table in which two different strings hardly ever meet


def filled(rows=400, **options):
    torch.manual_seed(0)
    model = Transformer(replace(SMALL, **options), rows)
    for parameter in model.parameters():  # zero-initialised projections would hide the layers
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def model():
    return filled()


def expanded(units, lengths=None):
    """Positions that stand for these specials and bytes; every document is one segment."""
    ends = torch.tensor([len(unit) for unit in units]).cumsum(0)
    lengths = torch.tensor([len(units)] if lengths is None else lengths)
    last = torch.repeat_interleave(lengths.cumsum(0) - 1, lengths)
    return ByteExpansion(torch.tensor([symbol for unit in units for symbol in unit]), ends, ends[last])


def units_of(n):
    """A special, then units of 1 to 20 bytes."""
    return [[14], *(torch.randint(64, 320, (int(count),)).tolist() for count in torch.randint(1, 21, (n - 1,)))]


def inputs_of(model, symbols, places, expansion):
    """What the first layer reads."""
    return model.inputs(symbols, places, expansion, model._ngrams(symbols, places, expansion))


@torch.no_grad()
def read(model, units, lengths):
    """Hidden states of units; models without composed inputs get each unit's first id as a symbol."""
    symbols = torch.tensor([unit[0] for unit in units])
    expansion = expanded(units, lengths) if model.config.composed else None
    return model.hidden(symbols, layout_of(np.array(lengths)), expansion)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_symbol_changes_its_own_document_from_there_on_and_no_other(options):
    model = filled(**OPTIONS[options])
    lengths = [7, 40, 12, 3]
    units = [unit for length in lengths for unit in units_of(length)]
    before = read(model, units, lengths)
    for changed in (0, 3, 6, 20, 46, 50, 61):  # 6 and 46 stand just before another document
        other = [list(unit) for unit in units]
        at = -1 if model.config.composed else 0
        other[changed][at] = (other[changed][at] + 1) % 320
        if changed % 2:
            other[changed].append(99)  # another length moves all expansion behind it
        moved = (read(model, other, lengths) - before).abs().amax(1) > 0
        ends = np.cumsum(lengths)
        end = int(ends[np.searchsorted(ends, changed, side="right")])
        assert moved.nonzero().flatten().tolist() == list(range(changed, end))


@pytest.mark.parametrize("options", OPTIONS)
def test_a_document_reads_the_same_wherever_it_is_packed(options):
    model = filled(**OPTIONS[options])
    units, others = units_of(25), units_of(33)
    alone = read(model, units, [25])
    packed = read(model, [*others, *units, *units], [33, 25, 25])
    torch.testing.assert_close(packed[33:58], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(packed[58:], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inputs", ["mean", "positions", "last"])
def test_raw_positions_are_read_alike_with_their_expansion_and_without(inputs):
    """Training spells all positions, evaluation and generation none."""
    hashed = {} if inputs == "last" else {"hashed_rows": 64}
    model = filled(inputs=inputs, **hashed, ngrams=(2, 3), ngram_outputs=True, rope_positions="bytes")
    symbols = torch.randint(320, (40,))
    layout = layout_of(np.array([25, 15]))
    with torch.no_grad():
        expansion = expanded([[symbol] for symbol in symbols.tolist()], [25, 15])
        torch.testing.assert_close(
            model.hidden(symbols, layout, expansion), model.hidden(symbols, layout), rtol=1e-5, atol=1e-5
        )


def test_last_inputs_are_those_of_raw_text_with_positions_left_out():
    model = filled(inputs="last", rope_positions="bytes", ngrams=(2, 3), ngram_rows=64)
    lengths = [5, 7]
    units = [unit for length in lengths for unit in units_of(length)]
    expansion, places = expanded(units, lengths), layout_of(np.array(lengths)).positions_N
    raw = [[id] for unit in units for id in unit]
    sizes = [sum(map(len, units[:5])), sum(map(len, units[5:]))]
    kept = (torch.cumsum(torch.tensor([len(unit) for unit in units]), 0) - 1).tolist()
    assert len(kept) < len(raw)
    whole = inputs_of(model, torch.tensor(raw)[:, 0], layout_of(np.array(sizes)).positions_N, None)
    found = inputs_of(model, torch.tensor([unit[0] for unit in units]), places, expansion)
    torch.testing.assert_close(found, whole[kept])
    assert expansion.rope_positions(places).tolist() == layout_of(np.array(sizes)).positions_N[kept].tolist()


def test_places_in_bytes_turn_heads_by_the_text_before(monkeypatch):
    """Two models that differ in nothing else: one is told the places, in bytes, that the other finds."""
    in_bytes, told = filled(inputs="mean", rope_positions="bytes"), filled(inputs="mean")
    told.load_state_dict(in_bytes.state_dict())
    lengths = [5, 7]
    units = [unit for length in lengths for unit in units_of(length)]
    assert max(map(len, units)) > 1
    layout, expansion = layout_of(np.array(lengths)), expanded(units, lengths)
    places, number = [], 0
    for length in lengths:
        seen = 0
        for unit in units[number : number + length]:
            seen += len(unit)
            places.append(seen - 1)
        number += length
    assert expansion.rope_positions(layout.positions_N).tolist() == places
    symbols = torch.tensor([unit[0] for unit in units])
    found = in_bytes.hidden(symbols, layout, expansion)
    assert not torch.allclose(found, told.hidden(symbols, layout, expansion))
    monkeypatch.setattr(
        "byteproxy.model.network.rotation", lambda config, _, dtype: rotation(config, torch.tensor(places), dtype)
    )
    torch.testing.assert_close(found, told.hidden(symbols, layout, expansion))


@settings(max_examples=40)
@given(units=UNITS, places=st.booleans())
def test_composed_inputs_are_means_of_rows(units, places):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn((400, 5), generator=generator, dtype=torch.float64)
    scales = torch.randn((MAX_BYTE_PLACES, 5), generator=generator, dtype=torch.float64)
    scales[0] = 1  # what a byte by itself is read with
    slow = []
    for unit in units:
        row = torch.zeros(5, dtype=torch.float64)
        for place, symbol in enumerate(unit):
            row += table[symbol] * (scales[min(place, 15)] if places else 1)
        slow.append(row / len(unit))
    found = composed(table, expanded(units), scales[1:] if places else None, None)
    torch.testing.assert_close(found, torch.stack(slow), rtol=1e-12, atol=1e-12)


def hashed_rows_of(units, rows=ROWS):
    """Which row each unit adds, counted from 1; 0: none."""
    numbered = torch.arange(1, rows + 1, dtype=torch.float64)[:, None]
    return composed(torch.zeros(320, 1, dtype=torch.float64), expanded(units), None, numbered)[:, 0].long().tolist()


@settings(max_examples=40)
@given(units=UNITS)
def test_equal_bytes_have_one_hashed_row_and_single_ones_none(units):
    row_of: dict = {}
    for unit, row in zip(units * 2, hashed_rows_of(units * 2), strict=True):
        assert row_of.setdefault(tuple(unit), row) == row
        assert (row == 0) == (len(unit) == 1)
    assert hashed_rows_of(units, rows=1) == [int(len(unit) > 1) for unit in units]


def test_different_bytes_have_different_hashed_rows():
    """Order and length count, too."""
    units = [[a, b] for a in range(160, 180) for b in range(160, 180)]
    units += [[160] * count for count in range(3, 20)] + [[161, 160, 162], [162, 161, 160], [160, 161, 162]]
    assert len(set(hashed_rows_of(units))) == len(units)
    few = hashed_rows_of(units, rows=16)
    assert set(few) == set(range(1, 17))


def test_hashed_rows_are_added_to_the_mean():
    units = [[70], [71, 72], [73, 74, 75]]
    table, hashed = torch.randn(320, 5), torch.randn(1, 5)
    added = composed(table, expanded(units), None, hashed) - composed(table, expanded(units), None, None)
    torch.testing.assert_close(added, torch.stack([torch.zeros(5), hashed[0], hashed[0]]))


@settings(max_examples=60)
@given(
    documents=st.lists(st.lists(st.integers(64, 67), min_size=1, max_size=9), min_size=1, max_size=6),
    length=st.integers(2, 4),
)
def test_ngram_rows_follow_from_the_last_symbols_of_the_document_alone(documents, length):
    """And differ where these do: the row is a function of them, one to one in a table this large."""
    symbols = torch.tensor([symbol for document in documents for symbol in document])
    places = torch.tensor([place for document in documents for place in range(len(document))])
    rows = ngram_rows(symbols, torch.arange(len(symbols)), places, length, 1 << 61).tolist()
    last = [
        tuple(([0] * length + document[: place + 1])[-length:])
        for document in documents
        for place in range(len(document))
    ]
    assert len(set(zip(last, rows, strict=True))) == len(set(last)) == len(set(rows))
    few = ngram_rows(symbols, torch.arange(len(symbols)), places, length, 5)
    assert bool(((few >= 0) & (few < 5)).all())


@pytest.mark.parametrize("inputs", ["symbols", "mean"])
def test_ngrams_add_the_row_of_the_last_ids(inputs):
    """At composed positions the mean over those that end at each of the position's bytes."""
    model = filled(ngrams=(2, 3), ngram_rows=64, inputs=inputs)
    bare = filled(inputs=inputs)
    bare.embed_tokens.weight.data = model.embed_tokens.weight.data
    lengths = [4, 6]
    units = [unit for length in lengths for unit in units_of(length)]
    symbols = torch.tensor([unit[0] for unit in units])
    places = layout_of(np.array(lengths)).positions_N
    expansion = expanded(units, lengths) if inputs == "mean" else None
    added = inputs_of(model, symbols, places, expansion) - inputs_of(bare, symbols, places, expansion)
    wanted, number = [], 0
    for length in lengths:
        seen: list[int] = []
        for unit in units[number : number + length]:
            row, ids = torch.zeros(SMALL.width), unit if inputs == "mean" else unit[:1]
            for id in ids:
                seen.append(id)
                for size, table in zip((2, 3), model.ngrams.weight, strict=True):
                    padded = torch.tensor(([0] * size + seen)[-size:])
                    found = ngram_rows(padded, torch.tensor([size - 1]), torch.tensor([size]), size, 64)
                    row += table[found[0]] / len(ids)
            wanted.append(row)
        number += length
    torch.testing.assert_close(added, torch.stack(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inputs", ["symbols", "mean"])
def test_ngrams_at_the_output_add_the_row_at_each_positions_end(inputs):
    model = filled(ngrams=(2, 3), ngram_rows=64, inputs=inputs, ngram_outputs=True)
    lengths = [4, 6]
    units = [unit for length in lengths for unit in units_of(length)]
    symbols = torch.tensor([unit[0] for unit in units])
    layout = layout_of(np.array(lengths))
    expansion = expanded(units, lengths) if inputs == "mean" else None
    whole = model.hidden(symbols, layout, expansion)
    tables = model.ngram_bias.weight.detach().clone()
    model.ngram_bias.weight.data.zero_()
    added = whole - model.hidden(symbols, layout, expansion)
    wanted, number = [], 0
    for length in lengths:
        seen: list[int] = []
        for unit in units[number : number + length]:
            seen += unit if inputs == "mean" else unit[:1]
            row = torch.zeros(SMALL.width)
            for size, table in zip((2, 3), tables, strict=True):
                padded = torch.tensor(([0] * size + seen)[-size:])
                row += table[ngram_rows(padded, torch.tensor([size - 1]), torch.tensor([size]), size, 64)[0]]
            wanted.append(row)
        number += length
    torch.testing.assert_close(added, torch.stack(wanted), rtol=1e-4, atol=1e-4)


def test_value_embeddings_add_the_symbols_row_to_its_values():
    model = filled(value_embeddings=True)
    x, symbols = torch.randn(5, 32), torch.tensor([3, 399, 3, 7, 0])
    attention, seen = model.blocks()[0].self_attn, []

    def backend(q, k, v, layout):
        seen.append((q, k, v))
        return torch.zeros_like(q)

    layout = layout_of(np.array([5]))
    rows = Rows(symbols, *rotation(model.config, torch.arange(5), torch.float32), layout, backend, False)
    attention(x, rows)
    attention.value_table.data.mul_(2)
    attention(x, rows)
    (q, k, v), twice = seen
    added = (twice[2] - v).flatten(1)
    torch.testing.assert_close(added, attention.value_table[symbols] / 2, rtol=1e-4, atol=1e-5)
    assert torch.equal(twice[0], q)
    assert torch.equal(twice[1], k)


def test_with_qk_norm_the_scale_of_queries_and_keys_does_not_matter():
    for qk_norm in (True, False):
        model = filled(qk_norm=qk_norm, norm_epsilon=1e-12)
        symbols, layout = torch.randint(400, (30,)), layout_of(np.array([20, 10]))
        before = model.hidden(symbols, layout)
        for block in model.blocks():
            block.self_attn.q_proj.weight.data.mul_(3)
            block.self_attn.k_proj.weight.data.mul_(0.2)
        assert torch.allclose(model.hidden(symbols, layout), before, rtol=1e-4, atol=1e-4) == qk_norm


@pytest.mark.parametrize("options", OPTIONS)
def test_training_forward_is_the_dense_one(options):
    model = filled(**OPTIONS[options])
    lengths = [20, 33, 7]
    units = [unit for length in lengths for unit in units_of(length)]
    fast = read(model, units, lengths)
    model.backend = "dense"
    torch.testing.assert_close(fast, read(model, units, lengths), rtol=1e-4, atol=1e-5)


def test_order_matters_to_the_rotation(model):
    symbols = torch.tensor([5, 9, 9, 5, 7])
    ends = [model.hidden(s, layout_of(np.array([5])))[-1] for s in (symbols, symbols[[1, 0, 2, 3, 4]])]
    assert (ends[0] - ends[1]).abs().max() > 1e-4


@pytest.mark.parametrize("options", OPTIONS)
def test_bfloat16_follows_float32(options):
    model = filled(**OPTIONS[options])
    units = units_of(60)
    exact = read(model, units, [60])
    model.dtype = torch.bfloat16
    rough = read(model, units, [60])
    assert rough.dtype == torch.bfloat16
    assert (rough.float() - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"heads": 5}, "model.width"),
        ({"heads": 4, "key_value_heads": 3}, "key_value_heads"),
        ({"layers": 0}, "layers"),
        ({"ngrams": (1, 2)}, "model.ngrams"),
        ({"ngrams": (2, 2)}, "model.ngrams"),
        ({"byte_head_ngrams": (1, 2), "byte_heads": 2}, "model.byte_head_ngrams"),
        ({"byte_head_ngrams": (2,)}, "model.byte_heads"),
        ({"ngram_outputs": True}, "model.ngrams is empty"),
        ({"rope_positions": "bytes"}, "model.inputs"),
        ({"inputs": "last", "hashed_rows": 5}, "model.hashed_rows"),
        ({"rope_positions": "lines", "inputs": "mean"}, "model.rope_positions"),
        ({"hashed_rows": 8}, "model.hashed_rows"),
        ({"inputs": "sum"}, "model.inputs"),
        ({"soft_cap": -1.0}, "model.soft_cap"),
        ({"soft_cap": math.nan}, "model.soft_cap"),
    ],
)
def test_impossible_shapes_are_refused_by_name(wrong, field):
    with pytest.raises(InputError, match=field):
        ModelConfig(**{"width": 32, "heads": 4, "ffn": 48, **wrong})


def test_matrix_parameters_are_those_of_the_layers():
    model = Transformer(SMALL, 400)
    inside = sum(p.numel() for p in model.layers.parameters() if p.dim() == 2)
    assert SMALL.matrix_parameters == inside


@pytest.mark.parametrize("options", ["plain", "qk_norm", "value_embeddings", "ngrams", "symbols_together", "biases"])
def test_raw_parameters_are_those_without_a_compressor(options):
    model = filled(rows=FIRST_SYMBOL, **OPTIONS[options])
    assert model.config.raw_parameters() == sum(parameter.numel() for parameter in model.parameters())
