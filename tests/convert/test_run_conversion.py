"""A whole conversion of a tiny model: what it leaves, and that its model is a stock one of bytes."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from tests.convert.tiny import RECIPE, conversion, tiny_llama, write_text
from tests.toy_corpus import toy_documents

from byteproxy.convert.conversion import Samples, with_length
from byteproxy.convert.run_conversion import run_conversion
from byteproxy.convert.writing_speed import measured_speed
from byteproxy.errors import InputError
from byteproxy.generate.drafts import PassTimes
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.progress import quietly
from byteproxy.runs.lineage import recorded
from byteproxy.runs.load import load
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import Validation
from byteproxy.views.bpe import BpeView


@pytest.fixture(scope="module")
def finished(model, text, tmp_path_factory):
    out = tmp_path_factory.mktemp("conversion") / "out"
    return out, run_conversion(conversion(model, text), out)


def test_figures_are_whole_and_written(finished, model):
    out, results = finished
    assert json.loads((out / "results.json").read_text()) == results
    assert [point["step"] for point in results["curve"]] == [0, 4, 8]
    assert [point["positions"] for point in results["curve"]] == [0, 4 * 512, 8 * 512]
    assert results["curve"][0]["raw_bpb"] == results["before"]["raw_bpb"]
    assert results["curve"][-1]["token_bpb"] == results["after"]["token_bpb"]
    assert results["raw_over_ceiling"] == results["after"]["raw_bpb"] / results["before"]["token_bpb"]
    assert results["validation"]["bytes"] == 2000
    assert results["cost"]["flops"] > 0
    assert results["model"]["license"] == "mit"
    assert (results["model"]["weights"], results["model"]["tokenizer"]) == (
        recorded(model).weights,
        recorded(model).tokenizer,
    )
    speed = results["speed"]
    for side in ("tokens", "plain", "heads"):
        assert speed[side]["bytes"] > 0
        assert speed[side]["bytes_per_second"] > 0
    assert speed["plain"]["bytes_per_pass"] == 1
    assert [one["prompt"] for one in results["samples"]] == list(RECIPE.samples.prompts)


def test_speed_is_measured_wherever_the_command_is_given(finished, tmp_path):
    """A run notes its corpus by the path that the conversion was first given, which may start from another folder."""
    out, _ = finished
    shutil.copytree(out / "run", tmp_path / "run")
    config = tmp_path / "run/config.toml"
    config.write_text(config.read_text().replace(str(out / "corpus"), "out/corpus"))
    view = BpeView.load(out / "tokenizer.json")
    found = measured_speed(tmp_path / "run", out / "model", view, [b"def path_name("], quietly)
    assert found["tokens"]["bytes"] > 0


def test_the_curve_begins_with_the_model_as_it_was(finished, model):
    """Its own tokens cost what they did before: half of them, here, is what eight steps may change."""
    _, results = finished
    assert results["tokens_kept"] == pytest.approx(1.0, abs=0.5)
    assert results["after"]["raw_bpb"] < results["before"]["raw_bpb"]


def test_the_export_is_a_stock_model_of_bytes(finished):
    out, results = finished
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out / "model", dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(out / "model")
    prompt = tokenizer("def path_name(", return_tensors="pt")
    generation = transformers.GenerationConfig.from_pretrained(out / "model")
    written = theirs.generate(**prompt, max_new_tokens=20, generation_config=generation, do_sample=False)
    ours = load(out / "model").generate("def path_name(", 20)[0].text
    new = written[0, prompt["input_ids"].shape[1] :].tolist()
    assert bytes(one - 64 for one in new if one >= 64) == ours
    assert "byte_heads.safetensors" in results["export"]["files"]
    assert sorted(results["export"]["files"]) == sorted(path.name for path in (out / "model").iterdir())
    assert load(out / "model").lineage.start.weights == results["model"]["weights"]


def test_a_finished_conversion_is_found(finished, model, text):
    out, results = finished
    told = []
    assert run_conversion(conversion(model, text), out, tell=told.append) == results
    assert told == [f"{out} is finished."]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"recipe": replace(RECIPE, run=replace(RECIPE.run, seed=1))}, r"run\.seed is 0 there and 1 here"),
        ({"recipe": with_length(RECIPE, None, 9)}, r"run\.stop is '8 steps' there and '9 positions' here"),
        ({"recipe": replace(RECIPE, samples=Samples())}, r"samples\.prompts"),
        ({"sources": ("stdlib",)}, "sources is"),
        ({"model": "/elsewhere"}, "model is"),
    ],
)
def test_what_decides_is_not_changed_on_the_way(finished, model, text, changes, named):
    out, _ = finished
    with pytest.raises(InputError, match=f"holds another conversion \\({named}"):
        run_conversion(replace(conversion(model, text), **changes), out)


def test_sources_may_change_once_the_corpus_is_there(model, tmp_path):
    """People go on working in the folders that they name."""
    text, out = write_text(tmp_path / "text", toy_documents()), tmp_path / "out"

    @contextmanager
    def stage(what, unit):
        if what == "score its tokens":
            raise KeyboardInterrupt
        yield lambda *_: None

    with pytest.raises(KeyboardInterrupt):
        run_conversion(conversion(model, text), out, stage=stage)
    shutil.rmtree(text)
    assert run_conversion(conversion(model, text), out)["curve"][-1]["step"] == 8


def test_the_model_may_go_once_the_first_checkpoint_is_there(model, text, tmp_path):
    copy, out = shutil.copytree(model, tmp_path / "copy"), tmp_path / "out"

    @contextmanager
    def stage(what, unit):
        def progress(done, total, note=""):
            if (what, done) == ("train", 3):
                raise KeyboardInterrupt

        yield progress

    with pytest.raises(KeyboardInterrupt):
        run_conversion(conversion(copy, text), out, stage=stage)
    shutil.rmtree(copy)
    results = run_conversion(conversion(copy, text), out)
    assert [point["step"] for point in results["curve"]] == [0, 4, 8]
    assert results["model"]["path"] == str(copy)


def test_one_process_converts(model, text, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="a conversion runs on one process"):
        run_conversion(conversion(model, text), tmp_path / "out")


def test_bytes_come_to_cost_what_its_tokens_did(tmp_path, monkeypatch):
    """Trained on its tokens, a model reads raw bytes as well after a conversion: within 5 %. Heads guess them."""
    monkeypatch.setattr(PassTimes, "saw", lambda *_: None)  # all guesses are checked, however long a pass takes here
    model = tiny_llama(tmp_path / "llama", ModelConfig(width=64, layers=2, heads=2, ffn=160), 300, 150)
    text = write_text(tmp_path / "text", toy_documents(300))
    run = replace(
        RECIPE.run,
        stop="300 steps",
        shape=Shape(4, 512, 200),
        model=ModelConfig(byte_heads=5),
        optim=OptimConfig(optimizer="adamw", learning_rate=3e-3, weight_decay=0.0),
        validation=Validation(8000, 500, 100),
    )
    results = run_conversion(conversion(model, text, replace(RECIPE, run=run)), tmp_path / "out")
    assert results["before"]["token_bpb"] < 1
    assert results["raw_over_ceiling"] < 1.05
    assert results["tokens_kept"] < 1.05
    assert results["speed"]["heads"]["bytes_per_pass"] > 1.2
    exported = load(tmp_path / "out/model")
    written = {
        drafts: exported.generate(["def path_name(", "class "], 60, drafts=drafts) for drafts in ("none", "heads")
    }
    assert written["heads"] == written["none"]
    assert exported.writer.counts.right["heads"] > 20
