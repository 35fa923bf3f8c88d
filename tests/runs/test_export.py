"""A trained run as other tools load it, against the run itself."""

import json
import shutil
import socket
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file
from tests.toy_corpus import toy_store
from tests.train.resealed import reseal

from byteproxy.errors import InputError
from byteproxy.evaluate.validation import validate_with
from byteproxy.generate.choice import Sampling
from byteproxy.generate.writer import Writer
from byteproxy.interop.card import Origin
from byteproxy.interop.llama import load_llama
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.runs.load import load
from byteproxy.train.run_config import read_run_recipe
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

transformers = pytest.importorskip("transformers")

CONFIG = TrainConfig(
    stop="60 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=48, layers=2, heads=3, ffn=96, byte_heads=3, byte_head_ngrams=(2, 11), ngram_rows=64),
    shape=Shape(8, 256, 120),
    validation=Validation(2000, 500),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    store, _ = toy_store(folder / "c")
    config = replace(CONFIG, corpus=str(folder / "c"))
    trainer = Trainer(config, store, folder / "run")
    trainer.run(validate_with(config, store))
    shutil.rmtree(folder / "c")  # an export needs none
    return trainer


@pytest.fixture(scope="module")
def exported(trained):
    out = trained.folder.with_name("out")
    return out, load(trained.folder).export(out)


def test_without_the_package_gguf_the_command_that_installs_it_is_said(trained, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(InputError, match=r"pip install 'byteproxy\[gguf\]'"):
        load(trained.folder).export(tmp_path / "out", gguf=True)
    assert not list(tmp_path.iterdir())


def offline(*_):
    raise AssertionError("loading an export asks a network for something")


@pytest.fixture(scope="module")
def stock(exported):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", offline)
        model = transformers.AutoModelForCausalLM.from_pretrained(exported[0], dtype=torch.float32)
        return model, transformers.AutoTokenizer.from_pretrained(exported[0])


TEXT = "def path_name(value):\n    name = path + 7\n\u00e9 <raw> \U0001f600"


def test_logits_are_the_runs(trained, stock):
    model, tokenizer = stock
    assert isinstance(model, transformers.LlamaForCausalLM)
    symbols = tokenizer(TEXT, return_tensors="pt").input_ids
    ours = trained.model.eval()
    with torch.no_grad():
        wanted = ours.hidden(symbols[0], layout_of(np.array([symbols.shape[1]]))) @ ours.lm_head.weight[:320].T
        torch.testing.assert_close(model(symbols).logits[0], wanted, rtol=1e-4, atol=1e-4)
    assert wanted.std() > 0.5  # a model that has learned, not the one that training began with


def test_generate_and_pipeline_write_what_we_write(trained, exported, stock):
    model, tokenizer = stock
    prompt = "def path_name(value):\n    name ="
    (written,) = Writer(trained.model.eval(), 120).write([prompt.encode()], 60)
    wanted = written.text.decode()
    assert len(wanted) > 20
    read = tokenizer(prompt, return_tensors="pt")
    ids = model.generate(**read, max_new_tokens=60, do_sample=False)[0]
    assert tokenizer.decode(ids, skip_special_tokens=True) == prompt + wanted
    pipe = transformers.pipeline("text-generation", model=str(exported[0]), dtype=torch.float32)
    (said,) = pipe(prompt, max_new_tokens=60, do_sample=False)
    assert said["generated_text"] == prompt + wanted


def test_a_text_ends_at_either_end_and_no_other_special_is_written(stock):
    model, _ = stock
    config = model.generation_config
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id) == (12, [2, 13], 0)
    assert sorted([*config.suppress_tokens, 2, 13]) == list(range(64))


def test_byte_heads_come_back_and_other_tools_do_not_see_them(trained, exported):
    loaded, context = load_llama(exported[0])
    assert context == 120
    assert loaded.config == replace(CONFIG.model, key_value_heads=3)
    for name in ("byte_heads", "head_ngram_bias"):
        assert torch.equal(getattr(loaded, name).weight, getattr(trained.model, name).weight)
        assert getattr(loaded, name).weight.abs().sum() > 0
    assert loaded.symbol_heads is None
    _, said = transformers.LlamaForCausalLM.from_pretrained(exported[0], output_loading_info=True)
    assert not any(said[wrong] for wrong in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_it_is_loaded_as_the_run_is(trained, exported):
    """One kind of object: it writes and scores the same, and knows the same past, less the names of folders."""
    run, out = load(trained.folder), load(exported[0])
    assert (run.kind, out.kind) == ("run", "export")
    assert run.context == out.context
    assert run.tokenizer is out.tokenizer is None
    prompts = ["def main(", b"\xff"]
    assert run.generate(prompts, 20, Sampling(0)) == out.generate(prompts, 20, Sampling(0))
    np.testing.assert_allclose(run.score(prompts).bits, out.score(prompts).bits, rtol=1e-5)
    assert run.score("def main(").bpb == pytest.approx(float(run.score(prompts).bits[0]) / 9)
    assert out.run is None
    assert (run.lineage.fingerprint, run.lineage.views) == (out.lineage.fingerprint, ("bpe-300",))
    assert run.lineage.corpus == trained.config.corpus
    assert out.lineage.corpus == ""


def test_what_is_of_no_format_is_refused_with_the_way_out(trained, tmp_path):
    written = (trained.folder / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(written.partition("\n")[2])
    with pytest.raises(InputError, match=r"names no format.* by `byteproxy train .*config\.toml --out DIR`"):
        load(tmp_path)
    (tmp_path / "config.toml").write_text(written.replace("format = 1", "format = 2"))
    with pytest.raises(InputError, match="is of format 2"):
        load(tmp_path)
    assert read_run_recipe(tmp_path / "config.toml") == trained.config


def test_byte_heads_of_another_model_are_refused(exported, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(exported[0], folder)
    (folder / "byteproxy.json").unlink()
    heads = {"byte_heads": torch.zeros(2, 320, 48)}
    for tensors in (
        {"byte_heads": torch.zeros(2, 320, 47)},
        {"heads": torch.zeros(2, 320, 48)},
        heads | {"byte_head_ngrams.2": torch.zeros(9, 47)},
        heads | {"byte_head_ngrams.2": torch.zeros(9, 48), "byte_head_ngrams.3": torch.zeros(8, 48)},
        heads | {"byte_head_ngrams": torch.zeros(9, 48)},
        heads | {"byte_head_ngrams.x": torch.zeros(9, 48)},
    ):
        save_file(tensors, folder / "byte_heads.safetensors")
        with pytest.raises(InputError, match=r"byte_heads\.safetensors has .*, not byte_heads \[heads, 320, 48\]"):
            load_llama(folder)


def test_figures_add_up(trained, exported):
    out, figures = exported
    model, _ = load_llama(out)
    kept = sum(parameter.numel() for parameter in model.parameters())
    assert figures["parameters"] + figures["byte_head_parameters"] == kept
    assert figures["parameters_that_disappeared"] == 2 * 300 * 48  # both tables' rows of the 300 symbols
    assert figures["parameters_of_the_run"] - kept == figures["parameters_that_disappeared"]
    assert figures["files"] == {
        path.name: path.stat().st_size for path in out.iterdir() if path.name != "byteproxy.json"
    }
    lines = [json.loads(line) for line in (trained.folder / "metrics.jsonl").read_text().splitlines()]
    assert figures["raw_bpb"] == next(line["raw_bpb"] for line in lines if "raw_bpb" in line)
    card = (out / "README.md").read_text()
    assert f"| {figures['raw_bpb']:.4f} |" in card
    assert f"{figures['text_bytes']['bpe-300']:,}" in card
    assert f"{figures['parameters_that_disappeared']:,}" in card
    assert "on raw bytes and text compressed by the view `bpe-300`" in card
    assert str(trained.folder.parent) not in card


def test_without_symbols_and_heads_nothing_disappears_and_no_file_of_heads_is_there(tmp_path):
    store, _ = toy_store(tmp_path / "c")
    plain = replace(CONFIG.model, byte_heads=1, byte_head_ngrams=(), qk_norm=True)
    changes = {"stop": "2 steps", "views": (), "mixture": Mixture("bytes")}
    config = replace(CONFIG, model=plain, corpus=str(tmp_path / "c"), **changes)
    Trainer(config, store, tmp_path / "run").run()
    figures = load(tmp_path / "run").export(tmp_path / "out")
    assert figures["parameters_that_disappeared"] == figures["byte_head_parameters"] == 0
    assert figures["raw_bpb"] is None
    card = (tmp_path / "out" / "README.md").read_text()
    assert "bits per byte" not in card
    assert "proxy" not in card.replace("byteproxy", ""), "nothing compressed was shown"
    assert "license" not in card
    assert not (tmp_path / "out" / "byte_heads.safetensors").exists()
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert isinstance(model, transformers.Qwen3ForCausalLM)


def test_a_run_that_is_none_or_not_whole_is_refused(trained, tmp_path):
    with pytest.raises(InputError, match="holds no model"):
        load(tmp_path)
    (tmp_path / "config.toml").write_text((trained.folder / "config.toml").read_text())
    with pytest.raises(InputError, match="no checkpoint yet"):
        load(tmp_path)
    shutil.copytree(trained.folder / "checkpoints", tmp_path / "checkpoints")
    told = (tmp_path / "config.toml").read_text()
    for before, after in (
        ("heads = 3", "heads = 2"),
        ("learning_rate = ", "learning_rate = 1"),
        ("seed = ", "seed = 1"),
    ):
        assert before in told
        (tmp_path / "config.toml").write_text(told.replace(before, after, 1))
        with pytest.raises(InputError, match="not that of its checkpoint"):
            load(tmp_path)
    (tmp_path / "config.toml").write_text(told)
    for path in sorted((tmp_path / "checkpoints/step-000060").iterdir()):
        if path.name == "checksums.json":
            continue
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(InputError, match="cannot be read"):
            load(tmp_path)
        path.unlink()
        with pytest.raises(InputError, match=r"cannot be read|no checkpoint yet"):
            load(tmp_path)
        path.write_bytes(whole)
    assert load(tmp_path).run.step == 60


def test_a_run_of_a_version_with_fewer_options_is_read(trained, tmp_path):
    shutil.copytree(trained.folder, tmp_path / "run")
    checkpoint = tmp_path / "run/checkpoints/step-000060"
    state = json.loads((checkpoint / "state.json").read_text())
    lines = state["config"].splitlines()
    older = "\n".join(line for line in lines if not line.startswith(("soft_cap", "tensorboard")))
    assert len(older) < len(state["config"]) - 20
    (checkpoint / "state.json").write_text(json.dumps({**state, "config": older}))
    reseal(checkpoint)
    assert load(tmp_path / "run").run.config == load(trained.folder).run.config


def test_what_no_stock_model_has_is_refused_by_name_and_nothing_written(trained, tmp_path):
    loaded = load(trained.folder)
    capped = Transformer(replace(loaded.model.config, soft_cap=15.0), 620)
    with pytest.raises(InputError, match=r"model\.soft_cap,"):
        replace(loaded, model=capped).export(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_card_says_what_its_maker_says(trained, tmp_path):
    origin = Origin("apache-2.0", ("some/data", "a: b"), ("en", "code"), "some/base")
    load(trained.folder).export(tmp_path / "out", origin=origin)
    _, metadata, body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    held = yaml.safe_load(metadata)
    assert held["license"] == "apache-2.0"
    assert held["datasets"] == ["some/data", "a: b"]
    assert held["language"] == ["en", "code"]
    assert held["base_model"] == "some/base"
    assert held["library_name"] == "transformers"
    assert held["tags"] == ["byte-level", "proxy-compression"]
    assert "proxy compression" in body
