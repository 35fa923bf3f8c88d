"""An export as one GGUF file, which llama.cpp and what builds on it load: weights and the tokenizer of raw bytes.

The `gguf` package of llama.cpp writes the file. The architecture is `llama`, or `qwen3` with QK-norm. llama.cpp turns
neighbouring pairs of a head's numbers in a `llama`, where Hugging Face's halves of a head are turned, so rows of the
query and key matrices are reordered there; a `qwen3` is turned in halves by both.

The tokenizer is a `gpt2` one without merges, id = byte + 64. Specials are control tokens, which llama.cpp looks for in
a text only if it is asked to (`parse_special`). The pre-tokenizer is called `qwen2`: without merges it makes no
difference to ids, and under that name decoding doesn't drop blanks before punctuation. A special's logit can't be
barred in the file, so a sampler may draw one; the two that end a text are marked as ends.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load

from byteproxy.errors import InputError
from byteproxy.interop.export_folder import CONFIG, WEIGHTS
from byteproxy.interop.tokenizer import SPECIAL_NAMES
from byteproxy.views.bpe import byte_characters
from byteproxy.vocab import BYTES, EOS, PAD, RAW, SPECIALS, closing, opening

if TYPE_CHECKING:
    from gguf import GGUFWriter

GGUF = "model.gguf"


def gguf_package() -> ModuleType:
    """The package that writes the file; InputError where it isn't installed."""
    try:
        import gguf
    except ImportError as error:
        raise InputError("a GGUF file needs the package gguf: pip install 'byteproxy[gguf]'") from error
    return gguf


def write_gguf(path: Path, stock: Mapping[str, bytes], name: str) -> None:
    """Write a new GGUF file, float32, in place: whoever calls sees to it that it appears whole.

    stock: what `llama.stock_files` gave, with the 320 rows of specials and bytes. name: what tools call the model.
    Costs the weights' memory once more.
    """
    config = json.loads(stock[CONFIG])
    writer = _writer(path, config["model_type"])
    try:
        writer.add_name(name)
        writer.add_file_type(gguf_package().LlamaFileType.ALL_F32)
        _add_shape(writer, config)
        _add_tokenizer(writer)
        for key, tensor in _tensors(load(stock[WEIGHTS]), config).items():
            writer.add_tensor(key, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _writer(path: Path, architecture: str) -> "GGUFWriter":
    gguf = gguf_package()
    kinds = gguf.GGUFValueType

    class Writer(gguf.GGUFWriter):  # type: ignore[name-defined]
        """Writes an empty array too: llama.cpp refuses a file without merges, and the package an array of none."""

        def _pack_val(self, val: Any, vtype: Any, add_vtype: bool, sub_type: Any = None) -> bytes:
            if vtype == kinds.ARRAY and not len(val):
                return struct.pack("<IIQ", kinds.ARRAY, kinds.STRING, 0)
            packed: bytes = super()._pack_val(val, vtype, add_vtype, sub_type)
            return packed

    return Writer(path, architecture)


def _tensors(weights: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every tensor by GGUF's name, float32."""
    gguf = gguf_package()
    kind = str(config["model_type"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[kind.upper()], config["num_hidden_layers"])
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for key, tensor in sorted(weights.items()):  # safetensors gives them in any order
        name = names.get_name(key, (".weight",))
        part = name.removesuffix(".weight").rpartition(".")[2]
        if part in heads and kind == "llama":
            tensor = _pairs_beside_each_other(tensor, heads[part])
        tensors[name] = np.ascontiguousarray(tensor, dtype=np.float32)
    return tensors


def _pairs_beside_each_other(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head as 0, half, 1, half + 1, ...: [heads * width, D] in and out."""
    return matrix.reshape(heads, 2, -1, matrix.shape[1]).swapaxes(1, 2).reshape(matrix.shape)


def _add_shape(writer: "GGUFWriter", config: Mapping[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])


def _add_tokenizer(writer: "GGUFWriter") -> None:
    gguf = gguf_package()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*SPECIAL_NAMES, *byte_characters()])
    writer.add_token_types([gguf.TokenType.CONTROL] * SPECIALS + [gguf.TokenType.NORMAL] * BYTES)
    writer.add_key_value(gguf.Keys.Tokenizer.MERGES, [], gguf.GGUFValueType.ARRAY)
    writer.add_bos_token_id(opening(RAW))
    writer.add_eos_token_id(closing(RAW))
    writer.add_eot_token_id(EOS)  # a second end
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
