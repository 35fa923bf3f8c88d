import json

import numpy as np
import pytest
import torch

from byteproxy.errors import InputError
from byteproxy.export.llama import export_llama, load_llama
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer
from byteproxy.vocab import FIRST_SYMBOL, Vocab

CONFIG = ModelConfig(width=48, layers=3, heads=4, key_value_heads=2, ffn=80, rope_theta=500.0, norm_epsilon=1e-4)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Transformer(CONFIG, Vocab((1000,)).size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def folder(model, tmp_path):
    export_llama(model, 512, tmp_path / "model")
    return tmp_path / "model"


def raw_logits(model, symbols):
    hidden = model(symbols, layout_of(np.array([len(symbols)])))
    return hidden @ model.lm_head.weight[:FIRST_SYMBOL].T


def test_transformers_loads_it_and_computes_the_same(model, folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    symbols = torch.cat((torch.tensor([12]), torch.randint(64, 320, (200,))))
    with torch.no_grad():
        torch.testing.assert_close(theirs(symbols[None]).logits[0], raw_logits(model, symbols), rtol=1e-4, atol=1e-4)


def test_it_comes_back(model, folder):
    loaded, context = load_llama(folder)
    assert context == 512
    assert loaded.config == CONFIG
    symbols = torch.randint(64, 320, (50,))
    torch.testing.assert_close(raw_logits(loaded, symbols), raw_logits(model, symbols), rtol=0, atol=0)


def test_no_row_of_any_compressor_is_left(folder):
    loaded, _ = load_llama(folder)
    assert loaded.embed_tokens.weight.shape[0] == loaded.lm_head.weight.shape[0] == 320
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_a_damaged_folder_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no model"):
        load_llama(tmp_path / "nothing")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="no model"):
        load_llama(folder)
    (folder / "model.safetensors").write_bytes(weights)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(InputError, match="no model"):
        load_llama(folder)
