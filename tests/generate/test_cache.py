"""The logits of a text read in parts, against one forward pass over all of it."""

import numpy as np
import pytest
import torch

from byteproxy.generate.cache import Cache
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer
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


def filled(options, dtype=torch.float64):
    torch.manual_seed(0)
    model = Transformer(ModelConfig(width=32, layers=2, heads=4, key_value_heads=2, ffn=48, **options), 400, dtype)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.to(dtype)


@pytest.mark.parametrize("options", OPTIONS)
@torch.no_grad()
def test_parts_have_the_logits_of_the_whole(options):
    model = filled(OPTIONS[options])
    symbols = torch.cat((torch.tensor([opening(0)]), torch.from_numpy(byte_ids(TEXT))))
    whole = model(symbols, layout_of(np.array([len(symbols)]))) @ model.lm_head.weight.T
    for cuts in ([1] * len(symbols), [len(symbols)], [len(symbols) - 3, 1, 2], [2, 3, 1, len(symbols) - 6]):
        cache = Cache(model.config, len(symbols), model.dtype)
        parts = [cache.read(model, part) @ model.lm_head.weight.T for part in symbols.split(cuts)]
        torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-9, atol=1e-9)
        assert cache.filled == len(symbols)


def test_no_more_fits_than_was_asked_for():
    model = filled({}, torch.float32)
    cache = Cache(model.config, 3, model.dtype)
    cache.read(model, torch.tensor([12, 70]))
    with pytest.raises(IndexError, match="4 positions do not fit into a cache of 3"):
        cache.read(model, torch.tensor([71, 72]))
    assert cache.filled == 2
