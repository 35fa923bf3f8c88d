"""The GGUF file against two readers of it: the gguf library and llama.cpp itself (`make llama`)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.export import llama_cpp

from byteproxy.export.gguf import GGUF, gguf_file
from byteproxy.export.llama import stock_files
from byteproxy.export.tokenizer import SPECIAL_NAMES
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer

LLAMA = ModelConfig(width=64, layers=3, heads=4, key_value_heads=2, ffn=96, rope_theta=500.0, norm_epsilon=1e-4)
TEXTS = ["def main(", "\u00e9t\u00e9 \U0001f600 \u4e2d", "a <raw> b </raw> <eos> !", "", " a  ?\r\n\tb 's ."]


def ids(text):
    return [12, *(64 + byte for byte in text.encode())]


def logits(model, symbols):
    """The model without a cache: float32 [320]."""
    with torch.no_grad():
        hidden = model(torch.tensor(symbols), layout_of(np.array([len(symbols)])))
        return (hidden @ model.lm_head.weight[:320].T)[-1].numpy()


@pytest.fixture(scope="module", params=[False, True], ids=["llama", "qwen3"])
def written(request, tmp_path_factory):
    torch.manual_seed(0)
    model = Transformer(replace(LLAMA, qk_norm=request.param), 1320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    path = tmp_path_factory.mktemp("gguf") / GGUF
    path.write_bytes(gguf_file(stock_files(model, 255), "toy")[GGUF])
    return model, path


def test_the_library_reads_every_tensor_and_field(written):
    gguf = pytest.importorskip("gguf")
    model, path = written
    reader = gguf.GGUFReader(path)
    kind = "qwen3" if model.config.qk_norm else "llama"
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert said["general.architecture"] == kind
    assert said[f"{kind}.context_length"] == 256
    assert said[f"{kind}.rope.freq_base"] == 500.0
    assert said["tokenizer.ggml.tokens"][:64] == list(SPECIAL_NAMES)
    assert said["tokenizer.ggml.token_type"] == [3] * 64 + [1] * 256
    found = {tensor.name: tensor for tensor in reader.tensors}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[kind.upper()], 3)
    for name, tensor in model.state_dict().items():
        theirs = names.get_name(name if name == "lm_head.weight" else f"model.{name}", (".weight",))
        ours = tensor[:320] if name in ("lm_head.weight", "embed_tokens.weight") else tensor
        data = found.pop(theirs).data
        if kind == "llama" and ("q_proj" in name or "k_proj" in name):
            ours, data = np.sort(ours, axis=0), np.sort(data, axis=0)  # the order is llama.cpp's to judge
        np.testing.assert_array_equal(data, ours)
    assert not found


@pytest.fixture(scope="module")
def theirs(written):
    if not llama_cpp.FOLDER:
        pytest.skip("LLAMA_CPP names no folder with llama.cpp's libraries: make llama")
    return llama_cpp.Model(written[1], 256)


@pytest.mark.parametrize("text", TEXTS)
def test_llama_cpp_reads_a_text_as_its_bytes_and_gives_it_back(theirs, text):
    assert theirs.tokenize(text.encode()) == ids(text)
    assert theirs.tokenize(text.encode(), add_special=False) == ids(text)[1:]
    assert theirs.text(ids(text)[1:]) == text.encode()


def test_llama_cpp_takes_a_special_for_one_only_if_asked(theirs):
    assert theirs.tokenize(b"<raw>a", add_special=False, parse_special=True) == [12, 64 + ord("a")]
    assert theirs.ends() == [2, 13]


@pytest.mark.parametrize("text", TEXTS)
def test_llama_cpp_has_our_logits_and_writes_our_bytes(written, theirs, text):
    model, _ = written
    symbols, got = ids(text), theirs.logits(ids(text))
    for _ in range(60):
        ours = logits(model, symbols)
        worst = np.abs(got - ours).max() / np.abs(ours).max()
        assert worst < 1e-4
        best = int(64 + ours[64:].argmax())
        assert 64 + got[64:].argmax() == best
        symbols.append(best)
        got = theirs.logits([best], fresh=False)
