"""What the config.json of a stock Llama or Qwen3 says, and its weights, as a `ModelConfig` and tensors of ours.

A stock config can ask for more than our model has. Each such setting is refused by its name; one that changes no logit
(initial values, caching, which ids open and close a text) is not looked at. An absent setting has the stock class's
default.
"""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from byteproxy.errors import InputError
from byteproxy.files import inside, open_inside
from byteproxy.interop.export_folder import CONFIG, SHARDS, WEIGHTS
from byteproxy.model.model_config import ModelConfig
from byteproxy.parsing import read_json
from byteproxy.vocab import FIRST_SYMBOL

MAX_CONFIG = 1 << 24
_MAX_PER_BYTE = 8  # a parameter takes 2 bytes or more; which tensors lack is said later, by name
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
CLASSES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}

_NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_ABSENT: dict[str, dict[str, Any]] = {
    "llama": {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "num_key_value_heads": None, "head_dim": None},
    "qwen3": {"rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "num_key_value_heads": 32, "head_dim": 128},
}
_ROPE_THETA = 10_000.0
_ONLY: dict[str, tuple[object, ...]] = {  # the first is what to say; the others mean the same
    "hidden_act": ("silu", "swish"),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "attention_dropout": (0.0, None),
    "partial_rotary_factor": (1.0, None),
    "use_sliding_window": (False, None),
    "quantization_config": (None,),
}
_FLOATS = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


class Stock(NamedTuple):
    """rows: of both tables. positions: at most in one document. tied: the tables are one, stored once."""

    shape: ModelConfig
    rows: int
    positions: int
    tied: bool


def stock_config(config: dict[str, Any]) -> Stock:
    """What a config.json says.

    Raises InputError naming all that our model has no parameters for; ValueError or TypeError for values of no sense.
    """
    kind = config.get("model_type")
    if kind not in CLASSES:
        raise InputError(f"its model_type is {kind!r}: give one of {', '.join(CLASSES)}")
    if missing := [name for name in _NEEDED if name not in config]:
        raise InputError(f"its {CONFIG} lacks {', '.join(missing)}: give all of them")
    known = {**_ABSENT[kind], **config}
    unfit = [
        f"{name} is {known[name]!r}, not {only[0]!r}"
        for name, only in _ONLY.items()
        if name in known and known[name] not in only
    ]
    named = known.get("architectures") or [CLASSES[kind]]
    if CLASSES[kind] not in named:
        unfit.append(f"architectures is {named!r}, not {[CLASSES[kind]]!r}")
    if sliding := sorted(set(known.get("layer_types") or ()) - {"full_attention"}):
        unfit.append(f"layer_types has {', '.join(sliding)}, not full_attention only")
    width, heads = known["hidden_size"], known["num_attention_heads"]
    if known["head_dim"] is not None and known["head_dim"] * heads != width:
        unfit.append(f"head_dim is {known['head_dim']}, not hidden_size / num_attention_heads ({width} / {heads})")
    rope_theta, wrong = _rope(known)
    if unfit := unfit + wrong:
        raise InputError(f"its {CONFIG} asks for what byteproxy's model has not: {'; '.join(unfit)}")
    shape = ModelConfig(
        width=width,
        layers=known["num_hidden_layers"],
        heads=heads,
        key_value_heads=heads if known["num_key_value_heads"] is None else known["num_key_value_heads"],
        ffn=known["intermediate_size"],
        rope_theta=float(rope_theta),
        norm_epsilon=float(known["rms_norm_eps"]),
        qk_norm=kind == "qwen3",
    )
    return Stock(shape, known["vocab_size"], known["max_position_embeddings"], bool(known.get("tie_word_embeddings")))


def _rope(config: dict[str, Any]) -> tuple[float, list[str]]:
    """The base, and what is asked for beside it.

    transformers 5 writes `rope_parameters`; versions before it `rope_theta`, and `rope_scaling` where there is any.
    """
    unfit, bases = [], [config["rope_theta"]] if config.get("rope_theta") is not None else []
    for name in ("rope_parameters", "rope_scaling"):
        said = config.get(name) or {}
        kind = said.get("rope_type") or said.get("type") or "default"
        if kind != "default" or any(isinstance(value, dict) for value in said.values()):
            unfit.append(f"{name} is {said!r}, not of rope_type 'default'")
        if said.get("partial_rotary_factor") not in _ONLY["partial_rotary_factor"]:
            unfit.append(f"{name}.partial_rotary_factor is {said['partial_rotary_factor']!r}, not 1.0")
        if said.get("rope_theta") is not None:
            bases.append(said["rope_theta"])
    if len(set(bases)) > 1:
        unfit.append(f"rope_theta is said twice, {' and '.join(map(str, bases))}")
    return bases[0] if bases else _ROPE_THETA, unfit


def ensure_modest(folder: Path, stock: Stock) -> None:
    """InputError where a config describes a model that its weights can't be, before memory is taken for it."""
    tables = stock.rows * stock.shape.width * (1 if stock.tied else 2)
    parameters = tables + stock.shape.raw_parameters() - 2 * FIRST_SYMBOL * stock.shape.width
    stored = sum((folder / name).stat().st_size for name in weight_files(folder))
    if parameters > _MAX_PER_BYTE * stored + (1 << 20):
        raise InputError(
            f"its {CONFIG} has {parameters:,} parameters, and its weights have {stored:,} bytes: they differ"
        )


def stock_weights(folder: Path, stock: Stock, shapes: dict[str, torch.Size]) -> dict[str, torch.Tensor]:
    """The tensors of the folder's safetensors files in float32, under the stock names; a tied table stands twice.

    shapes: every name that there has to be, and its shape.
    Raises InputError naming the tensors that are missing, of another shape, not of floating point, or too many.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name in weight_files(folder):
        # Old files keep the frequencies of the rotation, which follow from rope_theta.
        found = tensors_in(folder, name)
        tensors |= {key: x for key, x in found.items() if not key.endswith(".rotary_emb.inv_freq")}
    if stock.tied and EMBEDDING in tensors:
        table = tensors[EMBEDDING]
        if not torch.equal(tensors.setdefault(HEAD, table), table):
            raise InputError(f"tie_word_embeddings is true, but {HEAD} is not {EMBEDDING}: say false, or leave one out")
    wrong = [f"{name} is missing" for name in shapes.keys() - tensors.keys()]
    for name, tensor in tensors.items():
        if name not in shapes:
            wrong.append(f"{name} has no place in the model")
        elif tensor.shape != shapes[name]:
            wrong.append(f"{name} is {list(tensor.shape)}, not {list(shapes[name])}")
        elif tensor.dtype not in _FLOATS:
            wrong.append(f"{name} is {tensor.dtype}, not floating point of 16 bits or more")
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(f"its weights are not those of its {CONFIG}: {'; '.join(sorted(wrong)[:5])}{more}")
    return {name: tensor.float() for name, tensor in tensors.items()}


def weight_files(folder: Path) -> list[str]:
    """Where the weights are: one file, or the shards that an index lists."""
    if (folder / WEIGHTS).exists() or not (folder / SHARDS).exists():
        return [WEIGHTS]
    names = sorted(set(read_json(folder / SHARDS)["weight_map"].values()))
    return [inside(folder, name, folder / SHARDS).name for name in names]


def tensors_in(folder: Path, name: object) -> dict[str, torch.Tensor]:
    """The tensors of one safetensors file of a folder; InputError or OSError where it is no plain file in it."""
    path = inside(folder, name, folder / SHARDS)
    open_inside(path).close()
    return load_file(path)
