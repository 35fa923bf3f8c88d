"""Counts of a model: the same however they are asked for, and those of its own probabilities."""

import numpy as np
import pytest
import torch
from tests.neural.models import random_model
from tests.views.neural_oracle import Rereading, first_window

from byteproxy.errors import InputError
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.neural.predictor import ModelPredictor
from byteproxy.views.coder import Code
from byteproxy.views.neural_tree import expanded
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL, byte_ids, opening

PREDICTOR = ModelPredictor(random_model())


def test_counts_are_the_models_probabilities():
    prefixes = [b"", b"a", b"def f(", bytes(range(60)), b""]
    counts = PREDICTOR.counts(prefixes)
    assert (counts.sum(1) == 1 << 16).all()
    model = random_model()
    for prefix, row in zip(prefixes, counts, strict=True):
        ids = torch.tensor([opening(0), *byte_ids(prefix).tolist()])
        with torch.no_grad():
            hidden = model.hidden(ids, layout_of(np.array([len(ids)])))[-1]
            share = (model.lm_head.weight @ hidden)[FIRST_BYTE:].softmax(-1).numpy()
        assert np.abs(row / (1 << 16) - share).max() < 0.006  # what rounding gives to the likeliest byte
        assert row.argmax() == share.argmax()
    assert PREDICTOR.counts([]).shape == (0, 256)


def test_counts_do_not_depend_on_company():
    rng = np.random.default_rng(0)
    prefixes = [rng.bytes(int(size)) for size in rng.integers(0, 64, 300)]
    together = PREDICTOR.counts(prefixes)
    for at in range(0, 300, 7):
        assert np.array_equal(PREDICTOR.counts([prefixes[at]])[0], together[at])


def test_growing_is_reading_again():
    """Key-value caches by level, blocks in any order, dropped rows: the tree is that of whole prefixes."""
    for seed, code in ((0, Code(12)), (3, Code(13, 12))):
        predictor = ModelPredictor(random_model(seed, spread=1.0), code.precision)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("byteproxy.views.neural_tree.BLOCK_NODES", 100)
            grown = expanded(predictor, code)
        reread = expanded(Rereading(predictor), code)
        assert grown.depth.max() > 3
        for one, other in zip(grown, reread, strict=True):
            assert np.array_equal(one, other)
        strings = grown.strings()
        symbols = dict(zip(strings, grown.symbol.tolist(), strict=True))
        for string in strings[:: len(strings) // 20]:
            assert first_window(string, predictor, code) == (symbols[string], len(string))


def test_bytes_give_the_predictor_back():
    content = PREDICTOR.to_bytes()
    assert {PREDICTOR.to_bytes() for _ in range(20)} == {content}, "safetensors writes a header in any order"
    again = ModelPredictor.from_bytes(content)
    assert again.fingerprint == PREDICTOR.fingerprint
    assert np.array_equal(again.counts([b"abc"]), PREDICTOR.counts([b"abc"]))
    assert ModelPredictor(random_model(), 12).fingerprint != PREDICTOR.fingerprint
    assert ModelPredictor(random_model(1)).fingerprint != PREDICTOR.fingerprint
    with pytest.raises(InputError, match="cut off or damaged"):
        ModelPredictor.from_bytes(PREDICTOR.to_bytes()[:-5])


def test_only_rows_of_bytes_and_specials_are_kept():
    wide = Transformer(ModelConfig(width=32, layers=1, heads=2, ffn=64, byte_heads=3), FIRST_SYMBOL + 50)
    predictor = ModelPredictor(wide)
    assert predictor.counts([b"x"]).shape == (1, 256)
    for name in ("embed_tokens.weight", "lm_head.weight"):
        assert predictor.model(torch.float32).state_dict()[name].shape[0] == FIRST_SYMBOL


def test_models_that_a_tree_cannot_follow():
    config = ModelConfig(width=32, layers=1, heads=2, ffn=64, ngrams=(2,))
    with pytest.raises(InputError, match="use a plain one"):
        ModelPredictor(Transformer(config, FIRST_SYMBOL))
