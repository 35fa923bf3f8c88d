"""What transformers' `save_pretrained` writes, read by us, and written again for transformers."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from byteproxy.errors import InputError
from byteproxy.generate.decoder import Decoder
from byteproxy.interop import weights
from byteproxy.interop.llama import export_llama, load_llama
from byteproxy.model.attention.layout import layout_of

transformers = pytest.importorskip("transformers")

SIZES = {
    "vocab_size": 150,  # any vocabulary, smaller than ours
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "rms_norm_eps": 1e-4,
    "max_position_embeddings": 300,
}
KINDS = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
}
ROPE = {"rope_type": "default", "rope_theta": 700.0}
LINEAR = {"rope_type": "linear", "rope_theta": 700.0, "factor": 2.5}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 700.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


def stock(kind, **changes):
    torch.manual_seed(0)
    make_config, make = KINDS[kind]
    own = {"sliding_window": None} if kind == "mistral" else {}
    model = make(make_config(**{**SIZES, "rope_parameters": ROPE, **own, **changes})).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def assert_same_logits(theirs, ours, positions=100):
    symbols = torch.randint(len(ours.lm_head.weight), (positions,))
    with torch.no_grad():
        wanted = theirs(symbols[None]).logits[0]
        found = ours.hidden(symbols, layout_of(np.array([len(symbols)]))) @ ours.lm_head.weight.T
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("mistral", {}),
        ("qwen2", {}),
        ("qwen3", {}),
        ("llama", {"num_key_value_heads": 4, "vocab_size": 500}),
        ("qwen3", {"num_key_value_heads": 1}),
        *((kind, {"tie_word_embeddings": True}) for kind in KINDS),
        *((kind, {"head_dim": 20}) for kind in KINDS),
        *((kind, {"rope_parameters": rope}) for kind in KINDS for rope in (LINEAR, LLAMA3)),
        ("llama", {"attention_bias": True, "head_dim": 6}),
        ("qwen3", {"attention_bias": True, "head_dim": 16}),
        ("mistral", {"sliding_window": 300}),
        ("qwen2", {"head_dim": 16, "tie_word_embeddings": True, "rope_parameters": LLAMA3, "num_key_value_heads": 4}),
        ("llama", {"rope_parameters": {**LLAMA3, "low_freq_factor": 2.0, "high_freq_factor": 2.5, "factor": 3.0}}),
    ],
)
def test_there_and_back(kind, changes, tmp_path):
    theirs = stock(kind, **changes)
    theirs.save_pretrained(tmp_path / "theirs")
    ours, context = load_llama(tmp_path / "theirs")
    assert context == 299
    assert_same_logits(theirs, ours)
    export_llama(ours, context, tmp_path / "ours", rows=None)
    again, said = KINDS[kind][1].from_pretrained(tmp_path / "ours", dtype=torch.float32, output_loading_info=True)
    assert not any(said[wrong] for wrong in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert again.config.rope_parameters == changes.get("rope_parameters", ROPE)
    assert again.config.architectures == theirs.config.architectures
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert_same_logits(again, load_llama(tmp_path / "ours")[0])
    assert load_llama(tmp_path / "ours")[0].config == ours.config


def test_a_mistral_with_a_window_is_one_of_that_context(tmp_path):
    """Within its window it sees all that stands before; at the symbol behind it, no longer."""
    theirs = stock("mistral", sliding_window=40, attn_implementation="eager")
    theirs.save_pretrained(tmp_path)
    ours, context = load_llama(tmp_path)
    assert context == 39
    assert_same_logits(theirs, ours, 40)
    with pytest.raises(AssertionError):
        assert_same_logits(theirs, ours, 41)


@pytest.mark.parametrize("kind", KINDS)
def test_it_decodes_as_it_reads(kind, tmp_path):
    """By the compiled engine and by the modules: biases, heads of another width and a slower rotation are in both."""
    theirs = stock(kind, head_dim=20, rope_parameters=LLAMA3, attention_bias=True)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_llama(tmp_path)
    symbols = torch.randint(len(ours.lm_head.weight), (90,))
    with torch.no_grad():
        wanted = theirs(symbols[None]).logits[0]
        for engine in ("auto", "torch"):
            decoder = Decoder(ours, 1, 100, engine)
            parts = [decoder.read_one(0, part.numpy()) for part in symbols.split((50, 1, 1, 38))]
            torch.testing.assert_close(torch.cat(parts) @ ours.lm_head.weight.T, wanted, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model of each kind."""
    folder = tmp_path_factory.mktemp("saved")
    models = {kind: stock(kind) for kind in KINDS}
    for kind, model in models.items():
        model.save_pretrained(folder / kind)
    return folder, models


def rewritten(folder, to, drop=(), **changes):
    """The same model with another config.json."""
    config = {**json.loads((folder / "config.json").read_text()), **changes}
    to.mkdir(exist_ok=True)
    (to / "config.json").write_text(json.dumps({name: value for name, value in config.items() if name not in drop}))
    (to / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    return to


@pytest.mark.parametrize("kind", KINDS)
def test_configs_of_older_versions(kind, saved, tmp_path):
    """They write rope_theta by itself, scaling under another name, and leave some of the others out."""
    folder, models = saved
    older = rewritten(
        folder / kind, tmp_path, ("rope_parameters", "dtype", "attention_dropout"), rope_theta=700.0, rope_scaling=None
    )
    assert_same_logits(models[kind], load_llama(older)[0])
    assert load_llama(rewritten(folder / kind, tmp_path, ("rope_parameters",)))[0].config.rope_theta == 10_000.0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_absent_is_what_the_class_takes_for_it(kind, saved, tmp_path):
    names = ("rms_norm_eps", "num_key_value_heads", "rope_parameters", "max_position_embeddings", "head_dim")
    sizes = {"hidden_size": 256, "num_attention_heads": 2 if kind == "qwen3" else 32, "vocab_size": 20}
    defaults = KINDS[kind][0]()
    config = {name: value for name, value in {**SIZES, **sizes}.items() if name not in names}
    if kind == "qwen3":  # 32 key-value heads are its default, whatever the heads
        config["num_key_value_heads"] = 2
    theirs = KINDS[kind][1](KINDS[kind][0](**config)).eval()
    theirs.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": kind}))
    ours, context = load_llama(tmp_path)
    assert ours.config.norm_epsilon == defaults.rms_norm_eps
    window = defaults.sliding_window if kind == "mistral" else None
    assert context == (window or defaults.max_position_embeddings) - 1
    assert_same_logits(theirs, ours)


def test_sharded_files(saved, tmp_path):
    model = saved[1]["qwen3"]
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 3
    assert_same_logits(model, load_llama(tmp_path)[0])
    index = tmp_path / "model.safetensors.index.json"
    said = json.loads(index.read_text())
    index.write_text(json.dumps({"weight_map": {**said["weight_map"], "x": "../x.safetensors"}}))
    with pytest.raises(InputError, match=r"\.\./x\.safetensors"):
        load_llama(tmp_path)
    next(tmp_path.glob("model-00002-of-*")).unlink()
    index.write_text(json.dumps(said))
    with pytest.raises(InputError, match="model-00002-of"):
        load_llama(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_of_16_bits_become_float32(dtype, tmp_path):
    stock("llama").to(dtype).save_pretrained(tmp_path)
    ours, _ = load_llama(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert_same_logits(transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), ours)


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("llama", {"head_dim": 16}, r"layers\.0\.self_attn\.k_proj\.weight is \[24, 48\], not \[32, 48\]"),
        ("llama", {"attention_bias": True}, r"layers\.0\.self_attn\.k_proj\.bias is missing"),
        ("llama", {"mlp_bias": True}, "mlp_bias is True"),
        ("llama", {"hidden_act": "gelu", "attention_dropout": 0.1}, r"hidden_act is 'gelu'.*attention_dropout is 0\.1"),
        ("qwen3", {"rope_parameters": {**LINEAR, "rope_type": "yarn"}}, "rope_parameters .*yarn"),
        ("llama", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling .*dynamic.* not .*'llama3'"),
        ("llama", {"rope_scaling": {"type": "linear"}}, "'linear' and lacks factor"),
        ("llama", {"rope_scaling": {"type": "llama3", "factor": 8.0}}, "lacks low_freq_factor, high_freq_factor"),
        ("llama", {"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0}}, "low_frequency_factor 4.0 is not below"),
        ("mistral", {"model_type": "mixtral", "num_local_experts": 8}, "model_type is 'mixtral', a mixture of experts"),
        ("qwen2", {"model_type": "qwen2_moe", "num_experts": 8}, "model_type is 'qwen2_moe', a mixture of experts"),
        ("qwen2", {"use_sliding_window": True}, "use_sliding_window is True"),
        ("llama", {"rope_parameters": {"full_attention": ROPE}}, "rope_parameters"),
        (
            "llama",
            {"rope_parameters": {**ROPE, "partial_rotary_factor": 0.5}},
            r"rope_parameters\.partial_rotary_factor",
        ),
        ("llama", {"partial_rotary_factor": 0.5}, r"partial_rotary_factor is 0\.5"),
        ("llama", {"rope_theta": 9.0}, r"rope_theta is said twice, 9\.0 and 700\.0"),
        ("qwen3", {"use_sliding_window": True}, "use_sliding_window is True"),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types has sliding_attention"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config"),
        ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "architectures"),
        ("llama", {"model_type": "gemma"}, "model_type is 'gemma': give one of llama, mistral, qwen2, qwen3"),
        ("qwen3", {"model_type": "llama", "architectures": None}, r"q_norm\.weight has no place"),
        ("llama", {"num_attention_heads": 16, "num_key_value_heads": 16, "head_dim": 3}, "even width"),
    ],
)
def test_what_we_cannot_represent_is_refused_by_name(kind, changes, named, saved, tmp_path):
    with pytest.raises(InputError, match=named):
        load_llama(rewritten(saved[0] / kind, tmp_path, **changes))


def test_qwen3_without_head_dim_has_heads_of_128(saved, tmp_path):
    with pytest.raises(InputError, match=r"k_proj\.weight is \[24, 48\], not \[256, 48\]"):
        load_llama(rewritten(saved[0] / "qwen3", tmp_path, ("head_dim",)))


def test_what_is_missing_is_named(saved, tmp_path):
    with pytest.raises(InputError, match="lacks hidden_size, vocab_size"):
        load_llama(rewritten(saved[0] / "llama", tmp_path, ("hidden_size", "vocab_size")))


def test_weights_that_do_not_fit_are_refused_by_name(saved, tmp_path):
    tensors = load_file(saved[0] / "llama" / "model.safetensors")
    folder = rewritten(saved[0] / "llama", tmp_path)
    bias = "model.layers.0.self_attn.q_proj.bias"
    for wrong, named in (
        ({bias: torch.zeros(48)}, rf"{bias} has no place"),
        ({"model.norm.weight": torch.zeros(47)}, r"model\.norm\.weight is \[47\], not \[48\]"),
        ({"model.norm.weight": torch.zeros(48, dtype=torch.int8)}, r"model\.norm\.weight is I8, not floating point"),
    ):
        save_file({**tensors, **wrong}, folder / "model.safetensors")
        with pytest.raises(InputError, match=named):
            load_llama(folder)
    save_file({**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(6)}, folder / "model.safetensors")
    assert_same_logits(saved[1]["llama"], load_llama(folder)[0])
    rewritten(saved[0] / "llama", tmp_path, tie_word_embeddings=True)
    with pytest.raises(InputError, match="tie_word_embeddings is true"):
        load_llama(folder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vocab_size": 1 << 40}, "parameters, and its weights"),
        ({"intermediate_size": 1 << 20}, "parameters, and its weights"),
        ({"num_hidden_layers": 4096}, "parameters, and its weights"),
        ({"hidden_size": 10**30}, "a whole number of 31 digits"),
        ({"rope_theta": [[]]}, "holds no model"),
    ],
)
def test_a_model_larger_than_its_weights_is_refused_before_it_is_made(changes, said, saved, tmp_path):
    with pytest.raises(InputError, match=said):
        load_llama(rewritten(saved[0] / "llama", tmp_path, **changes))


def test_files_that_never_end_or_nest_without_end_are_refused(saved, tmp_path):
    folder = rewritten(saved[0] / "llama", tmp_path)
    (folder / "config.json").write_text('{"a":' * 10**5)
    with pytest.raises(InputError, match="nested deeper"):
        load_llama(folder)
    folder = rewritten(saved[0] / "llama", tmp_path)
    for name in ("model.safetensors", "config.json"):
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        with pytest.raises(InputError, match=r"link out of its folder|no regular file|have 0 bytes|weights 0 bytes"):
            load_llama(folder)


def test_a_model_larger_than_memory_is_refused_before_anything_is_read(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "machine_bytes", lambda: 200_000)
    monkeypatch.setattr(weights, "safe_open", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(InputError, match=r"parameters take 0\.\d MB in float32, and this machine has 0\.2 MB"):
        load_llama(saved[0] / "llama")
