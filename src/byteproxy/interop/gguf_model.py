"""A Llama, Mistral, Qwen2 or Qwen3 in a GGUF file of llama.cpp, as a `ModelConfig` of ours and a model in float32.

Quantized weights are taken as what they stand for: what quantizing lost stays lost. llama.cpp turns neighbouring pairs
of a head's numbers in a `llama`, where Hugging Face's halves of a head are turned, so the rows of queries and keys are
put back in order there. How Llama 3.1 slows its rotation down stands in a GGUF file as a factor for each frequency;
the few numbers that these come from are found again, and held against them.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from byteproxy.errors import InputError
from byteproxy.gguf_file import GgufFile, gguf_package
from byteproxy.interop.stock import Stock
from byteproxy.interop.weights import EMBEDDING, HEAD, Stored, ensure_modest, model_with
from byteproxy.model.attention.packed import frequencies
from byteproxy.model.model_config import Biases, ModelConfig, RopeScaling
from byteproxy.model.network import Transformer

ROPE_FACTORS = "rope_freqs.weight"
_ARCHITECTURES = {"llama": False, "qwen2": False, "qwen3": True}
"""Whether queries and keys are normed, by what llama.cpp calls an architecture. A Mistral is a `llama` there."""
_NEAR = 1e-4


def gguf_stock(file: GgufFile) -> Stock:
    """What the file says of its model.

    Raises InputError naming what our model has not, or what the file lacks.
    """
    kind = file.get("general.architecture")
    if kind not in _ARCHITECTURES:
        raise InputError(f"its architecture is {kind!r}: give one of {', '.join(_ARCHITECTURES)}")

    def said(name: str, default: Any = None) -> Any:
        value = file.get(f"{kind}.{name}", default)
        if value is None:
            raise InputError(f"it does not say {kind}.{name}: take another file of the model")
        return value

    if said("expert_count", 0):
        raise InputError(f"it is a mixture of {said('expert_count')} experts, which byteproxy's model has not")
    width, heads = said("embedding_length"), said("attention.head_count")
    if isinstance(heads, list):
        raise InputError("its layers differ in their heads, which byteproxy's model has not")
    head_dim = said("attention.key_length", width // heads)
    unfit = [
        f"{kind}.{name} is {said(name, wanted)}, not {wanted}"
        for name, wanted in (("attention.value_length", head_dim), ("rope.dimension_count", head_dim))
        if said(name, wanted) != wanted
    ]
    context = said("context_length")
    positions = min(context, said("attention.sliding_window", 0) or context)  # within a window all is seen
    scaling, wrong = _linear(said("rope.scaling.type", "none"), said("rope.scaling.factor", 0.0))
    if unfit := unfit + wrong:
        raise InputError(f"it asks for what byteproxy's model has not: {'; '.join(unfit)}")
    shape = ModelConfig(
        width=width,
        layers=said("block_count"),
        heads=heads,
        key_value_heads=said("attention.head_count_kv", heads),
        head_dim=None if head_dim * heads == width else head_dim,
        ffn=said("feed_forward_length"),
        rope_theta=_decimal(said("rope.freq_base", 10_000.0)),
        rope_scaling=scaling,
        norm_epsilon=_decimal(said("attention.layer_norm_rms_epsilon")),
        qk_norm=_ARCHITECTURES[kind],
        attention_biases=_biases(file),
    )
    if ROPE_FACTORS in file.shapes:
        shape = with_factors(shape, file.tensor(ROPE_FACTORS))
    table = file.shapes.get("token_embd.weight", (0,))
    return Stock(shape, int(table[0]), positions, "output.weight" not in file.shapes)


def gguf_model(file: GgufFile, stock: Stock) -> Transformer:
    """The model in float32.

    Raises InputError naming tensors that are missing, too many or of another shape, before any is read, and where it is
    larger than this machine's memory.
    """
    ensure_modest(stock, file.path.stat().st_size, "header")
    named = {theirs: ours for ours, theirs in gguf_names(file.get("general.architecture"), stock.shape).items()}
    stored = {
        named.get(name, name): Stored(shape, _reading(file, name, stock.shape))
        for name, shape in file.shapes.items()
        if name != ROPE_FACTORS
    }
    return model_with(stock, stored, stock.shape, "header")


def gguf_names(architecture: str, shape: ModelConfig) -> dict[str, str]:
    """What GGUF calls each tensor of a stock model."""
    gguf = gguf_package()
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], shape.layers)
    parts = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
    weights = [*parts, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"]
    weights += ["self_attn.q_norm", "self_attn.k_norm"] if shape.qk_norm else []
    keys = [f"{one}.weight" for one in weights] + [f"{one}.bias" for one in parts]
    names = [EMBEDDING, HEAD, "model.norm.weight"]
    names += [f"model.layers.{layer}.{key}" for layer in range(shape.layers) for key in keys]
    found = {name: known.get_name(name, (".weight", ".bias")) for name in names}
    return {name: theirs for name, theirs in found.items() if theirs is not None}


def neighbouring(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a head as 0, half, 1, half + 1, ...: [heads * width, ...] in and out."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def in_halves(rows: np.ndarray, heads: int) -> np.ndarray:
    """What `neighbouring` turned, as it was."""
    return rows.reshape(heads, -1, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def turned_heads(name: str, shape: ModelConfig) -> int:
    """How many heads' rows a tensor has that a `llama` has in another order in GGUF; 0: none."""
    part = name.removesuffix(".weight").removesuffix(".bias").rpartition(".")[2]
    return {"attn_q": shape.heads, "attn_k": shape.kv_heads}.get(part, 0)


def _reading(file: GgufFile, name: str, shape: ModelConfig) -> Any:
    heads = turned_heads(name, shape) if file.get("general.architecture") == "llama" else 0

    def read() -> torch.Tensor:
        rows = file.tensor(name)
        return torch.from_numpy(np.array(in_halves(rows, heads) if heads else rows))

    return read


def _biases(file: GgufFile) -> Biases:
    if "blk.0.attn_q.bias" not in file.shapes:
        return "none"
    return "all" if "blk.0.attn_output.bias" in file.shapes else "qkv"


def _linear(kind: str, factor: float) -> tuple[RopeScaling, list[str]]:
    """How the rotation is scaled by one factor, and what is asked for beside that."""
    if kind not in ("none", "linear"):
        return RopeScaling(), [f"rope.scaling.type is {kind!r}, not 'linear'"]
    return RopeScaling("linear", _decimal(factor)) if kind == "linear" and factor else RopeScaling(), []


def _decimal(number: float) -> float:
    """The decimal number that one of 32 bits was before: 1e-5, and not 9.999999747378752e-06."""
    return float(f"{number:.7g}")


def rope_factors(shape: ModelConfig) -> np.ndarray:
    """By how much each frequency is slowed down, float32 [E/2]."""
    plain_E, scaled_E = (frequencies(one).numpy() for one in (_unscaled(shape), shape))
    slowed_E: np.ndarray = (plain_E / scaled_E).astype(np.float32)
    return slowed_E


def with_factors(shape: ModelConfig, factors_E: np.ndarray) -> ModelConfig:
    """The shape whose `rope_factors` these are; InputError where no scaling of the kind llama3 has them."""

    if not len(factors_E) or not np.isfinite(factors_E).all() or (factors_E <= 0).any():
        raise InputError(f"its {ROPE_FACTORS} are no factors: copy the file again")
    if np.allclose(factors_E, 1, atol=_NEAR):
        return shape
    for scaling in _scalings(shape, factors_E.astype(np.float64)):
        found = replace(shape, rope_scaling=scaling)
        if len(factors_E) * 2 == shape.head_width and np.allclose(rope_factors(found), factors_E, _NEAR, 0):
            return found
    raise InputError(
        f"its {ROPE_FACTORS} are not those of rope_type 'llama3', which byteproxy's model has: take the model as "
        "transformers has it"
    )


def _scalings(shape: ModelConfig, factors_E: np.ndarray) -> list[RopeScaling]:
    """What may have made these factors: the published numbers, and those that fit where a line is needed."""
    factor = float(np.round(factors_E.max(), 3))
    found = [RopeScaling("llama3", factor)] if factor > 1 else []
    between = (factors_E > 1 + _NEAR) & (factors_E < factor - _NEAR)
    if between.sum() < 2:
        return found
    # What is kept of a frequency is a line in it, from 0 at the low factor to 1 at the high one; only the ratios of
    # these to the original positions matter.
    kept = ((1 / factors_E - 1 / factor) / (1 - 1 / factor))[between]
    turns = 8192 * frequencies(_unscaled(shape)).numpy()[between] / (2 * math.pi)
    slope, begin = np.polyfit(turns, kept, 1)
    low, high = -begin / slope, (1 - begin) / slope
    if 0 < low < high:
        found.append(RopeScaling("llama3", factor, float(low), float(high), 8192))
    return found


def _unscaled(shape: ModelConfig) -> ModelConfig:

    return replace(shape, rope_scaling=RopeScaling())
