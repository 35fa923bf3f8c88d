"""An export as one GGUF file, which llama.cpp and what builds on it load: weights and the tokenizer of raw bytes.

The `gguf` package of llama.cpp writes the file. The architecture is `llama`, of a Mistral too, `qwen2` or `qwen3`; the
rows of a `llama`'s queries and keys stand in llama.cpp's order, as `gguf_model` says. A rotation slowed down as in
Llama 3.1 is a tensor of factors, which llama.cpp knows in a `llama` only.

The tokenizer is a `gpt2` one without merges, id = byte + 64. Specials are control tokens, which llama.cpp looks for in
a text only if it is asked to (`parse_special`). The pre-tokenizer is called `qwen2`: without merges it makes no
difference to ids, and under that name decoding doesn't drop blanks before punctuation. A special's logit can't be
barred in the file, so a sampler may draw one; the two that end a text are marked as ends. With a chat format its eos is
the file's, `</raw>` its eot and `<eos>` its eom. llama.cpp knows further ends of chats by their names only, such as
`<|eot_id|>`.
"""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load

from byteproxy.errors import InputError
from byteproxy.gguf_file import gguf_package
from byteproxy.interop.chat import Chat
from byteproxy.interop.export_folder import CONFIG, WEIGHTS
from byteproxy.interop.gguf_model import ROPE_FACTORS, gguf_names, neighbouring, rope_factors, turned_heads
from byteproxy.interop.source_chat import CHAT_ENDS
from byteproxy.interop.stock import Stock, stock_config
from byteproxy.interop.tokenizer import names_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.views.bpe import byte_characters
from byteproxy.vocab import BYTES, EOS, PAD, RAW, SPECIALS, closing, opening

if TYPE_CHECKING:
    from gguf import GGUFWriter

GGUF = "model.gguf"


def write_gguf(path: Path, stock: Mapping[str, bytes], name: str, chat: Chat | None = None) -> None:
    """Write a new GGUF file, float32, in place: whoever calls sees to it that it appears whole.

    stock: what `llama.stock_files` gave, with the 320 rows of specials and bytes. name: what tools call the model.
    chat: of a model that is talked to.
    Costs the weights' memory once more. Raises InputError for what llama.cpp has not, see `ensure_known`.
    """
    found = stock_config(json.loads(stock[CONFIG]))
    ensure_known(found.shape)
    architecture = _architecture(found.shape)
    writer = _writer(path, architecture)
    try:
        writer.add_name(name)
        writer.add_file_type(gguf_package().LlamaFileType.ALL_F32)
        _add_shape(writer, found)
        _add_tokenizer(writer, chat)
        for key, tensor in _tensors(load(stock[WEIGHTS]), architecture, found.shape).items():
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


def ensure_known(shape: ModelConfig) -> None:
    """InputError where llama.cpp's model of the architecture lacks an option of this one."""
    architecture, scaling = _architecture(shape), shape.rope_scaling.kind
    if architecture != "llama" and scaling == "llama3":
        raise InputError(
            f'model.rope_scaling.kind is "llama3", which llama.cpp has in a llama and not in a {architecture}: export '
            "without a GGUF file"
        )
    if architecture == "qwen2" and shape.heads * shape.head_width != shape.width:
        raise InputError(
            "model.head_dim is not model.width / model.heads, which llama.cpp's qwen2 has not: export without a GGUF "
            "file"
        )
    if architecture == "qwen3" and shape.attention_biases != "none":
        raise InputError(
            "model.attention_biases and model.qk_norm are both on, which llama.cpp's qwen3 has not: export without a "
            "GGUF file"
        )


def _architecture(shape: ModelConfig) -> str:
    """What llama.cpp calls it: a Mistral is a `llama` there."""
    kind = str(shape.stock_architecture)
    return "llama" if kind == "mistral" else kind


def _tensors(weights: Mapping[str, np.ndarray], architecture: str, shape: ModelConfig) -> dict[str, np.ndarray]:
    """Every tensor by GGUF's name, float32."""
    names = gguf_names(architecture, shape)
    tensors = {}
    for key, tensor in sorted(weights.items()):  # safetensors gives them in any order
        name = names[key]
        heads = turned_heads(name, shape) if architecture == "llama" else 0
        tensors[name] = np.ascontiguousarray(neighbouring(tensor, heads) if heads else tensor, dtype=np.float32)
    if shape.rope_scaling.kind == "llama3":
        tensors[ROPE_FACTORS] = rope_factors(shape)
    return tensors


def _add_shape(writer: "GGUFWriter", stock: Stock) -> None:
    shape = stock.shape
    writer.add_context_length(stock.positions)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_width)
    writer.add_value_length(shape.head_width)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_vocab_size(stock.rows)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_freq_base(shape.rope_theta)
    if shape.rope_scaling.kind == "linear":
        writer.add_rope_scaling_type(gguf_package().RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(shape.rope_scaling.factor)


def _add_tokenizer(writer: "GGUFWriter", chat: Chat | None) -> None:
    gguf = gguf_package()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([*names_of(chat.sentinels if chat else {}), *byte_characters()])
    writer.add_token_types([gguf.TokenType.CONTROL] * SPECIALS + [gguf.TokenType.NORMAL] * BYTES)
    writer.add_key_value(gguf.Keys.Tokenizer.MERGES, [], gguf.GGUFValueType.ARRAY)
    writer.add_bos_token_id(opening(RAW))
    if chat and chat.ends:
        eos = chat.sentinels.get(chat.eos, chat.ends[0])
        writer.add_eos_token_id(eos)
        writer.add_eot_token_id(closing(RAW))
        writer.add_eom_token_id(EOS)
        writer.add_array(CHAT_ENDS, chat.ends)
    else:
        writer.add_eos_token_id(closing(RAW))
        writer.add_eot_token_id(EOS)  # a second end
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    if chat:
        writer.add_chat_template([{"name": one, "template": template} for one, template in chat.templates.items()])
