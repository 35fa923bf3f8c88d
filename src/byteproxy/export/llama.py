"""A folder with a stock Llama of raw bytes: `config.json` and `model.safetensors`, and nothing of any compressor.

The rows of the compressed symbols are cut off both tables; typed softmax never gave them to raw positions, so logits on
raw bytes do not change. Parameter names and the meaning of each are those of Hugging Face's `LlamaForCausalLM`.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from byteproxy.errors import InputError
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer
from byteproxy.store.format import write_whole
from byteproxy.vocab import EOS, FIRST_SYMBOL, PAD, RAW, opening

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_TABLES = ("embed_tokens.weight", "lm_head.weight")


def export_llama(model: Transformer, context: int, folder: Path) -> None:
    """Write the raw-byte part of a model.

    context: bytes of text that the model was trained to see at once; one position more is needed for the sentinel.
    Raises InputError if the folder cannot be written.
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        kept = tensor[:FIRST_SYMBOL] if name in _TABLES else tensor
        tensors[name if name == "lm_head.weight" else f"model.{name}"] = kept.detach().float().contiguous().clone()
    shape = model.config
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "max_position_embeddings": context + 1,
        "vocab_size": FIRST_SYMBOL,
        "bos_token_id": opening(RAW),
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "torch_dtype": "float32",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / _WEIGHTS, lambda file: file.write(save(tensors, metadata={"format": "pt"})))
        write_whole(folder / _CONFIG, lambda file: file.write((json.dumps(config, indent=2) + "\n").encode()))
    except OSError as error:
        raise InputError(f"cannot write the model to {folder}: {error.strerror}") from error


def load_llama(folder: Path) -> tuple[Transformer, int]:
    """A model from such a folder in float32, and its context in bytes.

    Raises InputError if a file is missing, damaged or describes something else.
    """
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
        shape = ModelConfig(
            width=config["hidden_size"],
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            key_value_heads=config["num_key_value_heads"],
            ffn=config["intermediate_size"],
            rope_theta=config["rope_theta"],
            norm_epsilon=config["rms_norm_eps"],
        )
        model = Transformer(shape, config["vocab_size"], torch.float32)
        model.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items()})
        return model.eval(), config["max_position_embeddings"] - 1
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{folder} holds no model that can be read ({error}): give a folder that byteproxy wrote"
        ) from error
