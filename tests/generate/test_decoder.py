"""The hidden states of texts read in parts and side by side, against one forward pass over each of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.generate.cpu.packed import Packed
from byteproxy.generate.decoder import Decoder
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import byte_ids, opening

TEXT = b"def f(x):\n    return f(x) + f(x)\n"
OPTIONS = {
    "plain": {},
    "qk_norm": {"qk_norm": True},
    "soft_cap": {"soft_cap": 5.0},
    "value_embeddings": {"value_embeddings": True},
    "ngrams": {"ngrams": (2, 5, 3), "ngram_rows": 512, "ngram_outputs": True},
    "mean": {"inputs": "mean", "hashed_rows": 64},
    "positions": {"inputs": "positions", "hashed_rows": 64},
    "heads": {"byte_heads": 4, "symbol_heads": 2},
}
OPTIONS["all"] = {name: value for options in OPTIONS.values() for name, value in options.items()}


@pytest.fixture(params=["auto", "torch"])
def engine(request):
    return request.param


def filled(options, dtype=torch.float64):
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, ffn=48, **options), 400, dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.to(dtype)


def ids(text):
    return torch.cat((torch.tensor([opening(0)]), torch.from_numpy(byte_ids(text))))


def whole(model, symbols):
    return model.hidden(symbols, layout_of(np.array([len(symbols)])))


def same(one, other):
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_parts_are_read_as_the_whole(options, engine):
    model, symbols = filled(OPTIONS[options]), ids(TEXT)
    wanted = whole(model, symbols)
    for cuts in ([1] * len(symbols), [len(symbols)], [len(symbols) - 3, 1, 2], [2, 3, 1, len(symbols) - 6]):
        decoder = Decoder(model, 1, len(symbols), engine)
        same(torch.cat([decoder.read(part[None].numpy())[0] for part in symbols.split(cuts)]), wanted)
        assert decoder.filled == [len(symbols)]


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_documents_of_different_lengths_are_read_together(options, engine):
    """Some beginnings by themselves, then all at once; symbols are taken back, and one document leaves in between."""
    model = filled(OPTIONS[options])
    texts = [ids(TEXT), ids(TEXT[::-1]), ids(TEXT[5:] + TEXT[:5])]
    begun = [4, 9, 1]
    decoder = Decoder(model, 3, len(TEXT) + 1, engine)
    for number, (text, count) in enumerate(zip(texts, begun, strict=True)):
        same(decoder.read_one(number, text[:count].numpy()), whole(model, text)[:count])
    decoder.read(np.full((3, 5), 99))
    for number, count in enumerate(begun):
        decoder.take_back(number, count)
    new = torch.stack([text[count : count + 6] for text, count in zip(texts, begun, strict=True)])
    wanted = [whole(model, text)[count : count + 6] for text, count in zip(texts, begun, strict=True)]
    same(decoder.read(new.numpy()), torch.stack(wanted))
    assert decoder.drop(0) == 2
    left = [(texts[2], 7), (texts[1], 15)]
    new = torch.stack([text[count : count + 1] for text, count in left])
    same(decoder.read(new.numpy()), torch.stack([whole(model, text)[count : count + 1] for text, count in left]))


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_each_document_reads_as_many_as_it_likes(options, engine):
    """To the last position that there is room for, too."""
    model, text = filled(OPTIONS[options]), ids(TEXT)
    decoder, done = Decoder(model, 3, len(text), engine), [0, 0, 0]
    for counts in ([3, 1, 6], [1, 5, 1], [len(text) - 6, 2, 1], [1, 3, 9], [1, 1, 1]):
        if done[0] + counts[0] > len(text):
            decoder.drop(0)
            done, counts = [done[2], done[1]], counts[1:]
        parts = [text[begin : begin + count].numpy() for begin, count in zip(done, counts, strict=True)]
        found = decoder.read_each(parts)
        wanted = [whole(model, text)[begin : begin + count] for begin, count in zip(done, counts, strict=True)]
        same(found, torch.cat(wanted))
        done = [begin + count for begin, count in zip(done, counts, strict=True)]
        assert decoder.filled[: len(done)] == done


def test_no_more_fits_than_was_asked_for(engine):
    decoder = Decoder(filled({}, torch.float32), 1, 3, engine)
    with torch.no_grad():
        decoder.read(np.array([[12, 70]]))
        with pytest.raises(IndexError, match="4 positions do not fit into a cache of 3"):
            decoder.read(np.array([[71, 72]]))
    assert decoder.filled == [2]


@settings(max_examples=25)
@given(st.sampled_from([(1, 1, 2), (4, 2, 8), (6, 1, 10), (2, 2, 34)]), st.integers(1, 3), st.booleans(), st.data())
@torch.no_grad()
def test_on_a_cpu_a_position_has_the_same_bits_in_every_pass(shape, layers, everything, data):
    """One by one, several together, beside other documents, by several threads, of all shapes of heads."""
    heads, groups, width = shape
    options = {"qk_norm": True, "value_embeddings": True, "ngrams": (2, 4), "ngram_rows": 64} if everything else {}
    torch.manual_seed(0)
    config = ModelConfig(heads * width, layers, heads, groups, 40, **options)
    model = Transformer(config, 320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    counts = data.draw(st.lists(st.integers(1, 20), min_size=1, max_size=3))
    texts = np.random.default_rng(0).integers(64, 320, (len(counts), 40))
    alone, beside = (Packed(model, len(counts), 40) for _ in range(2))
    threads = data.draw(st.integers(1, 4))
    beside._threads = lambda: threads
    single = []
    for number in range(len(counts)):
        row_1N = texts[number : number + 1]
        single.append(torch.cat([alone.read(number, [at], [row_1N[0, at : at + 1]]) for at in range(40)]))
    for number, count in enumerate(counts):
        beside.read(number, [0], [texts[number, :count]])
    new = [data.draw(st.integers(1, 20)) for _ in counts]
    parts = [texts[row, count : count + own] for row, (count, own) in enumerate(zip(counts, new, strict=True))]
    found = beside.read(0, counts, parts).split(new)
    for row, count in enumerate(counts):
        assert torch.equal(found[row], single[row][count : count + new[row]])
        whole_N = whole(model, torch.from_numpy(texts[row]))
        torch.testing.assert_close(single[row], whole_N, rtol=1e-4, atol=1e-4)


def test_a_pass_has_threads_where_each_has_enough_to_do(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    small, large = (Transformer(ModelConfig(width, 2, 2, ffn=2 * width), 320) for width in (64, 512))
    assert Packed(small, 1, 8)._threads() == 1
    assert Packed(large, 1, 8)._threads() == 3
    large.dtype = torch.bfloat16
    assert Packed(large, 1, 8)._threads() == 3
    model, symbols = large.requires_grad_(False), ids(TEXT)
    model.dtype = torch.float32
    torch.testing.assert_close(Packed(model, 1, 64).read(0, [0], [symbols.numpy()]), whole(model, symbols))
