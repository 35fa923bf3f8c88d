"""An export as one GGUF file, which llama.cpp and what builds on it load: weights and the tokenizer of raw bytes.

The layout is that of GGUF 3: a header, typed key-value pairs, a list of tensors, their data. The architecture is
`llama`, or `qwen3` with QK-norm. llama.cpp turns neighbouring pairs of a head's numbers in a `llama`, where Hugging
Face's halves of a head are turned, so rows of the query and key matrices are reordered there; a `qwen3` is turned in
halves by both.

The tokenizer is a `gpt2` one without merges, id = byte + 64. Specials are control tokens, which llama.cpp looks for in
a text only if it is asked to (`parse_special`). The pre-tokenizer is called `qwen2`: without merges it makes no
difference to ids, and under that name decoding doesn't drop blanks before punctuation. A special's logit can't be
barred in the file, so a sampler may draw one; the two that end a text are marked as ends.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load

from byteproxy.interop.stock import CONFIG, WEIGHTS
from byteproxy.interop.tokenizer import SPECIAL_NAMES
from byteproxy.views.bpe import byte_characters
from byteproxy.vocab import BYTES, EOS, PAD, RAW, SPECIALS, closing, opening

GGUF = "model.gguf"
_ALIGNMENT = 32
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_NORMAL, _CONTROL = 1, 3
_F32 = 0
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_file(stock: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """The content of the GGUF file, float32, by its name.

    stock: what `llama.stock_files` gave, with the 320 rows of specials and bytes. name: what tools call the model.
    Costs the weights' memory twice.
    """
    config = json.loads(stock[CONFIG])
    tensors = _tensors(load(stock[WEIGHTS]), config)
    pairs = [*_shape(config, name), *_tokenizer()]
    head = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(pairs)), *pairs]
    offset = 0
    for key, tensor in tensors.items():
        lengths = tensor.shape[::-1]  # the fastest first
        head.append(_text(key) + struct.pack(f"<I{len(lengths)}QIQ", len(lengths), *lengths, _F32, offset))
        offset += tensor.nbytes + -tensor.nbytes % _ALIGNMENT
    content = b"".join(head)
    parts = [content, bytes(-len(content) % _ALIGNMENT)]
    for tensor in tensors.values():
        parts += [tensor.tobytes(), bytes(-tensor.nbytes % _ALIGNMENT)]
    return {GGUF: b"".join(parts)}


def _tensors(weights: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every tensor by GGUF's name, little-endian float32."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors = {}
    for key, tensor in weights.items():
        said = key.removesuffix(".weight")
        layer = ""
        if said.startswith("model.layers."):
            number, said = said.removeprefix("model.layers.").split(".", 1)
            layer = f"blk.{number}."
        name = _NAMES[said]
        if name in heads and config["model_type"] == "llama":
            tensor = _pairs_beside_each_other(tensor, heads[name])
        tensors[f"{layer}{name}.weight"] = np.ascontiguousarray(tensor, dtype="<f4")
    return tensors


def _pairs_beside_each_other(matrix: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head as 0, half, 1, half + 1, ...: [heads * width, D] in and out."""
    return matrix.reshape(heads, 2, -1, matrix.shape[1]).swapaxes(1, 2).reshape(matrix.shape)


def _shape(config: Mapping[str, Any], name: str) -> list[bytes]:
    kind = str(config["model_type"])
    counts = {
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "block_count": config["num_hidden_layers"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.key_length": config["head_dim"],
        "attention.value_length": config["head_dim"],
        "rope.dimension_count": config["head_dim"],
        "vocab_size": config["vocab_size"],
    }
    return [
        _string("general.architecture", kind),
        _string("general.name", name),
        _number("general.file_type", _F32),
        *(_number(f"{kind}.{key}", count) for key, count in counts.items()),
        _real(f"{kind}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"]),
        _real(f"{kind}.rope.freq_base", config["rope_theta"]),
    ]


def _tokenizer() -> list[bytes]:
    tokens = [*SPECIAL_NAMES, *byte_characters()]
    kinds = [_CONTROL] * SPECIALS + [_NORMAL] * BYTES
    return [
        _string("tokenizer.ggml.model", "gpt2"),
        _string("tokenizer.ggml.pre", "qwen2"),
        _array("tokenizer.ggml.tokens", _STRING, [_text(token) for token in tokens]),
        _array("tokenizer.ggml.token_type", _INT32, [struct.pack("<i", kind) for kind in kinds]),
        _array("tokenizer.ggml.merges", _STRING, []),  # llama.cpp refuses a file without the key
        _number("tokenizer.ggml.bos_token_id", opening(RAW)),
        _number("tokenizer.ggml.eos_token_id", closing(RAW)),
        _number("tokenizer.ggml.eot_token_id", EOS),  # a second end
        _number("tokenizer.ggml.padding_token_id", PAD),
        _flag("tokenizer.ggml.add_bos_token", True),
        _flag("tokenizer.ggml.add_eos_token", False),
        _flag("tokenizer.ggml.add_space_prefix", False),
    ]


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _string(key: str, value: str) -> bytes:
    return _text(key) + struct.pack("<I", _STRING) + _text(value)


def _number(key: str, value: int) -> bytes:
    return _text(key) + struct.pack("<II", _UINT32, value)


def _real(key: str, value: float) -> bytes:
    return _text(key) + struct.pack("<If", _FLOAT32, value)


def _flag(key: str, value: bool) -> bytes:
    return _text(key) + struct.pack("<I?", _BOOL, value)


def _array(key: str, kind: int, values: Sequence[bytes]) -> bytes:
    return _text(key) + struct.pack("<IIQ", _ARRAY, kind, len(values)) + b"".join(values)
