"""What the config.json of a stock Llama, Mistral, Qwen2 or Qwen3 says, as a `ModelConfig` of ours.

A stock config can ask for more than our model has. Each such setting is refused by its name; one that changes no logit
(initial values, caching, which ids open and close a text) is not looked at. An absent setting has the stock class's
default.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.interop.export_folder import CONFIG
from byteproxy.model.model_config import Architecture, Biases, ModelConfig, RopeScaling
from byteproxy.vocab import FIRST_SYMBOL

MAX_CONFIG = 1 << 24
CLASSES: dict[str, str] = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
NAMES = "Llama, Mistral, Qwen2 or Qwen3"

_NEEDED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_ABSENT: dict[str, dict[str, Any]] = {
    "llama": {"max_position_embeddings": 2048, "num_key_value_heads": None, "head_dim": None},
    "mistral": {
        "max_position_embeddings": 131072,
        "num_key_value_heads": 8,
        "head_dim": None,
        "sliding_window": 4096,
    },
    "qwen2": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "head_dim": None},
    "qwen3": {"max_position_embeddings": 32768, "num_key_value_heads": 32, "head_dim": 128},
}
_ROPE_THETA = 10_000.0
_ONLY: dict[str, tuple[object, ...]] = {  # the first is what to say; the others mean the same
    "hidden_act": ("silu", "swish"),
    "mlp_bias": (False, None),
    "attention_dropout": (0.0, None),
    "partial_rotary_factor": (1.0, None),
    "use_sliding_window": (False, None),
    "quantization_config": (None,),
}
_LLAMA3 = {"low_freq_factor": "low_frequency_factor", "high_freq_factor": "high_frequency_factor"}


class Stock(NamedTuple):
    """What a published model is.

    rows: of both tables. positions: at most in one document; of a Mistral that looks back over a window, that window,
    as it looks at everything in texts that are no longer. tied: the tables are one, stored once.
    """

    shape: ModelConfig
    rows: int
    positions: int
    tied: bool

    @property
    def parameters(self) -> int:
        """Of the model, with two tables."""
        return self.shape.raw_parameters() + 2 * (self.rows - FIRST_SYMBOL) * self.shape.width


def stock_config(config: dict[str, Any]) -> Stock:
    """What a config.json says.

    Raises InputError naming all that our model has no parameters for; ValueError or TypeError for values of no sense.
    """
    kind = config.get("model_type")
    if kind not in CLASSES:
        experts = ", a mixture of experts" if any("experts" in name for name in config) else ""
        raise InputError(f"its model_type is {kind!r}{experts}: give one of {', '.join(CLASSES)}")
    if missing := [name for name in _NEEDED if name not in config]:
        raise InputError(f"its {CONFIG} lacks {', '.join(missing)}: give all of them")
    known = {"rms_norm_eps": 1e-6, **_ABSENT[kind], **config}
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
    window, positions = known.get("sliding_window"), known["max_position_embeddings"]
    if kind == "mistral" and window is not None:
        positions = min(positions, window)
    theta, scaling, wrong = _rope(known)
    if unfit := unfit + wrong:
        raise InputError(f"its {CONFIG} asks for what byteproxy's model has not: {'; '.join(unfit)}")
    width, heads, head_dim = known["hidden_size"], known["num_attention_heads"], known["head_dim"]
    shape = ModelConfig(
        width=width,
        layers=known["num_hidden_layers"],
        heads=heads,
        key_value_heads=heads if known["num_key_value_heads"] is None else known["num_key_value_heads"],
        head_dim=None if head_dim is None or head_dim * heads == width else head_dim,
        ffn=known["intermediate_size"],
        rope_theta=float(theta),
        rope_scaling=scaling,
        norm_epsilon=float(known["rms_norm_eps"]),
        qk_norm=kind == "qwen3",
        attention_biases=_biases(kind, known),
        architecture="mistral" if kind == "mistral" else "auto",
    )
    return Stock(shape, known["vocab_size"], positions, bool(known.get("tie_word_embeddings")))


def _biases(kind: str, config: dict[str, Any]) -> Biases:
    """Which biases the class has: a Qwen2 always the same, a Llama or a Qwen3 all or none, as the config says."""
    if kind == "qwen2":
        return "qkv"
    return "all" if kind in ("llama", "qwen3") and config.get("attention_bias") else "none"


def _rope(config: dict[str, Any]) -> tuple[float, RopeScaling, list[str]]:
    """The base, how it is scaled, and what is asked for beside it.

    transformers 5 writes `rope_parameters`; versions before it `rope_theta`, and `rope_scaling` where there is any.
    """
    unfit, bases = [], [config["rope_theta"]] if config.get("rope_theta") is not None else []
    scaling = RopeScaling()
    for name in ("rope_parameters", "rope_scaling"):
        said = config.get(name) or {}
        kind = said.get("rope_type") or said.get("type") or "default"
        if kind not in ("default", "linear", "llama3") or any(isinstance(value, dict) for value in said.values()):
            unfit.append(f"{name} is {said!r}, not of rope_type 'default', 'linear' or 'llama3'")
            continue
        if said.get("partial_rotary_factor") not in _ONLY["partial_rotary_factor"]:
            unfit.append(f"{name}.partial_rotary_factor is {said['partial_rotary_factor']!r}, not 1.0")
        if said.get("rope_theta") is not None:
            bases.append(said["rope_theta"])
        if kind != "default":
            scaling = _scaling(kind, said, name, config["max_position_embeddings"])
    if len(set(bases)) > 1:
        unfit.append(f"rope_theta is said twice, {' and '.join(map(str, bases))}")
    return bases[0] if bases else _ROPE_THETA, scaling, unfit


def _scaling(kind: str, said: dict[str, Any], name: str, positions: int) -> RopeScaling:
    needed = ("factor", *(_LLAMA3 if kind == "llama3" else ()))
    if missing := [one for one in needed if said.get(one) is None]:
        raise InputError(f"{name} is of rope_type {kind!r} and lacks {', '.join(missing)}: give all of them")
    if kind == "linear":
        return RopeScaling("linear", float(said["factor"]))
    more = {ours: float(said[theirs]) for theirs, ours in _LLAMA3.items()}
    original = said.get("original_max_position_embeddings") or positions
    return RopeScaling("llama3", float(said["factor"]), original_positions=int(original), **more)


def config_of(shape: ModelConfig, rows: int, positions: int, ids: Mapping[str, object]) -> dict[str, object]:
    """The config.json of a model, for `stock_config` and for transformers.

    shape: with a stock architecture. rows: of both tables, which are two. positions: at most in one document.
    ids: what else it says, of what ids mean.
    """
    kind = shape.stock_architecture
    assert kind is not None, "what no stock architecture has is refused before"
    config: dict[str, object] = {
        "architectures": [CLASSES[kind]],
        "model_type": kind,
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_width,
        "hidden_act": "silu",
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        **_stock_scaling(shape.rope_scaling),
        "max_position_embeddings": positions,
        "vocab_size": rows,
        **ids,
        "tie_word_embeddings": False,
    }
    if kind in ("llama", "qwen3"):
        config["attention_bias"] = shape.attention_biases == "all"
    return config | {"torch_dtype": "float32", **_OWN[kind]}


_OWN: dict[Architecture, dict[str, object]] = {
    "llama": {"mlp_bias": False},
    "mistral": {"sliding_window": None},
    "qwen2": {"use_sliding_window": False},
    "qwen3": {"use_sliding_window": False},
}
"""What only one architecture's config says."""


def _stock_scaling(scaling: RopeScaling) -> dict[str, object]:
    if scaling.kind == "none":
        return {}
    said: dict[str, object] = {"rope_type": scaling.kind, "factor": scaling.factor}
    if scaling.kind == "llama3":
        said |= {theirs: getattr(scaling, ours) for theirs, ours in _LLAMA3.items()}
        said["original_max_position_embeddings"] = scaling.original_positions
    return {"rope_scaling": said}
