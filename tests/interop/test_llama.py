"""What we write, against transformers' own classes; `test_stock` reads what these write."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from byteproxy.errors import InputError
from byteproxy.interop.llama import export_llama, load_llama
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.embedding import ByteExpansion
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import FIRST_SYMBOL

LLAMA = ModelConfig(width=48, layers=3, heads=4, key_value_heads=2, ffn=80, rope_theta=500.0, norm_epsilon=1e-4)
QWEN3 = replace(LLAMA, qk_norm=True)
COMPRESSED = {"inputs": "positions", "hashed_rows": 64, "byte_heads": 3, "symbol_heads": 2}


def filled(config, rows=1320, output_vocab=None):
    torch.manual_seed(0)
    model = Transformer(config, rows, output_vocab=output_vocab)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def raw_logits(model, symbols):
    with torch.no_grad():
        return model.hidden(symbols, layout_of(np.array([len(symbols)]))) @ model.lm_head.weight[:FIRST_SYMBOL].T


def raw_symbols(n):
    return torch.cat((torch.tensor([12]), torch.randint(64, 320, (n,))))


@pytest.fixture(scope="module")
def model():
    return filled(LLAMA)


@pytest.fixture
def folder(model, tmp_path):
    export_llama(model, 512, tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("config", [LLAMA, QWEN3, replace(QWEN3, key_value_heads=None), replace(LLAMA, **COMPRESSED)])
def test_transformers_loads_it_and_computes_the_same(config, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = filled(config)
    export_llama(model, 512, tmp_path)
    stock = transformers.Qwen3ForCausalLM if config.qk_norm else transformers.LlamaForCausalLM
    theirs, said = stock.from_pretrained(tmp_path, dtype=torch.float32, output_loading_info=True)
    assert not any(said[wrong] for wrong in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert theirs.config.max_position_embeddings == 513
    assert (theirs.config.bos_token_id, theirs.config.eos_token_id, theirs.config.pad_token_id) == (12, 2, 0)
    symbols = raw_symbols(200)
    with torch.no_grad():
        torch.testing.assert_close(theirs(symbols[None]).logits[0], raw_logits(model, symbols), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", [LLAMA, QWEN3])
def test_it_comes_back_bit_for_bit(config, tmp_path):
    model = filled(config, FIRST_SYMBOL)
    export_llama(model, 512, tmp_path / "once")
    loaded, context = load_llama(tmp_path / "once")
    assert context == 512
    assert loaded.config == config
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
    export_llama(loaded, context, tmp_path / "twice")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()


@pytest.mark.parametrize("inputs", ["mean", "positions"])
def test_what_compressed_text_took_is_left_behind(inputs, tmp_path):
    """And raw text, spelled out as in training, has the same logits without it."""
    model = filled(replace(LLAMA, **COMPRESSED | {"inputs": inputs}), FIRST_SYMBOL, output_vocab=1320)
    export_llama(model, 512, tmp_path)
    loaded, _ = load_llama(tmp_path)
    assert loaded.config == LLAMA
    assert loaded.embed_tokens.weight.shape[0] == loaded.lm_head.weight.shape[0] == 320
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    symbols = raw_symbols(50)
    assert torch.equal(raw_logits(loaded, symbols), raw_logits(model, symbols))
    ends = torch.arange(1, 52)
    with torch.no_grad():
        trained = model.hidden(
            symbols, layout_of(np.array([51])), ByteExpansion(symbols, ends, torch.full_like(ends, 51))
        )
        torch.testing.assert_close(trained, loaded.hidden(symbols, layout_of(np.array([51]))), rtol=1e-5, atol=1e-5)


def test_all_rows_are_kept_if_asked_for(tmp_path):
    model = filled(LLAMA, 400)
    export_llama(model, 512, tmp_path, rows=None)
    loaded, _ = load_llama(tmp_path)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)
    assert torch.equal(loaded.embed_tokens.weight, model.embed_tokens.weight)
    assert json.loads((tmp_path / "config.json").read_text())["bos_token_id"] is None
    with pytest.raises(InputError, match="reads 320 symbols and predicts 400"):
        export_llama(filled(LLAMA, 320, output_vocab=400), 512, tmp_path, rows=None)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"soft_cap": 15.0}, r"model\.soft_cap,"),
        ({"value_embeddings": True}, r"model\.value_embeddings,"),
        ({"ngrams": (2, 3)}, r"model\.ngrams,"),
        ({"ngrams": (2,), "soft_cap": 15.0, "qk_norm": True}, r"model\.soft_cap, model\.ngrams,"),
    ],
)
def test_what_no_stock_model_has_is_refused_by_name(options, named, tmp_path):
    with pytest.raises(InputError, match=named + ".* train one without"):
        export_llama(filled(replace(LLAMA, **options)), 512, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_damaged_folder_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="no model"):
        load_llama(tmp_path / "nothing")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(InputError, match="no model"):
        load_llama(folder)
    (folder / "model.safetensors").write_bytes(weights)
    config = json.loads((folder / "config.json").read_text())
    for wrong, named in (
        ({"num_hidden_layers": 2}, r"model\.layers\.2\.\S+ has no place"),
        ({"num_hidden_layers": 4}, r"model\.layers\.3\.\S+ is missing"),
        ({"vocab_size": 321}, r"lm_head\.weight is \[320, 48\], not \[321, 48\]"),
        ({"hidden_size": "48"}, "no model"),
        ({"num_attention_heads": 0, "head_dim": None}, r"model\.heads is 0"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **wrong}))
        with pytest.raises(InputError, match=named):
            load_llama(folder)
    (folder / "config.json").write_text("[1]")
    with pytest.raises(InputError, match="no model"):
        load_llama(folder)
