"""Whatever can't be converted is refused in one line that says why, with exit status 2, before anything is loaded."""

import errno
import json
import os
import shutil
from collections import namedtuple
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.cli.commands import in_process, refusal
from tests.convert.tiny import RECIPE, SHAPE, conversion, tiny_llama

from byteproxy.config import to_toml
from byteproxy.convert import conversion_plan
from byteproxy.convert.run_conversion import run_conversion
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.interop.tokenizer import byte_tokenizer
from byteproxy.model.model_config import RopeScaling
from byteproxy.train import memory
from byteproxy.views.bpe import BpeView


@pytest.fixture
def convert(monkeypatch, capsys, text, tmp_path):
    """Runs `byteproxy convert` of a model into a folder that nothing may be written to."""
    command = in_process(monkeypatch, capsys)

    def run(model, *more, out=tmp_path / "out", sources=(text,)):
        return command("convert", model, *sources, "--no-stdlib", "--out", out, *more)

    return run


@pytest.fixture
def copy(model, tmp_path):
    return shutil.copytree(model, tmp_path / "copy")


def changed(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return folder


def test_what_is_no_model(convert, tmp_path, copy):
    assert "there is no model" in refusal(convert(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    assert "holds no model: name the folder of a run" in refusal(convert(tmp_path / "empty"))
    (copy / "tokenizer.json").unlink()
    assert "holds no tokenizer.json" in refusal(convert(copy))
    assert not (tmp_path / "out").exists()


def test_other_architectures(convert, copy):
    assert "model_type is 'gpt2'" in refusal(convert(changed(copy, model_type="gpt2")))


def test_weights_that_are_missing(convert, copy):
    (copy / "model.safetensors").unlink()
    assert "holds no model that can be read" in refusal(convert(copy))


def test_a_tokenizer_with_more_tokens_than_the_model(convert, copy):
    BpeView.train([b"".join(bytes([one, two]) * 9 for one in range(256) for two in range(9))], 400).save(
        copy / "tokenizer.json"
    )
    assert "is another model's" in refusal(convert(copy))


def test_a_tokenizer_of_another_model_as_large(tmp_path, text):
    """It shows in what its tokens cost: more than guessing."""
    folder = tiny_llama(tmp_path / "llama", steps=120)
    content = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = content["model"]["vocab"]
    numbers = sorted(vocabulary.values())
    content["model"]["vocab"] = {
        symbol: numbers[(number * 7 + 11) % len(numbers)] for symbol, number in vocabulary.items()
    }
    (folder / "tokenizer.json").write_text(json.dumps(content))
    out = tmp_path / "out"
    with pytest.raises(InputError, match="the tokenizer is another model's"):
        run_conversion(conversion(folder, text), out)
    assert not (out / "corpus").exists(), "it is seen before anything is prepared"
    assert not (out / "source.json").exists(), "another model may be named"


@pytest.fixture(scope="module")
def lacking(tmp_path_factory):
    """A model that has what llama.cpp lacks."""
    pytest.importorskip("gguf")
    shape = replace(SHAPE, qk_norm=True, rope_scaling=RopeScaling("llama3", 8.0))
    return tiny_llama(tmp_path_factory.mktemp("lacking") / "qwen3", shape, steps=20)


def test_what_llama_cpp_lacks_if_it_is_asked_for(convert, lacking, tmp_path):
    for more in ([], ["--plan", "--rate", "1e9"]):
        assert "which llama.cpp has in a llama and not in a qwen3" in refusal(convert(lacking, "--gguf", *more))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stopped_in", ["score its tokens", "export"])
def test_what_llama_cpp_lacks_if_it_is_asked_for_on_the_way(lacking, text, tmp_path, stopped_in):
    """Before anything else is done, and wherever the conversion is."""
    asked, out, stages = conversion(lacking, text), tmp_path / "out", []

    @contextmanager
    def stage(what, unit):
        stages.append(what)
        if what == stopped_in:
            raise KeyboardInterrupt
        yield lambda *_: None

    with pytest.raises(KeyboardInterrupt):
        run_conversion(asked, out, stage=stage)
    assert stages.pop() == stopped_in
    stages.clear()
    with pytest.raises(InputError, match=r"can't be converted for llama\.cpp: .* not in a qwen3"):
        run_conversion(asked, out, gguf=True, stage=stage)
    assert not stages


def test_what_reads_bytes_already(convert, copy, tmp_path):
    for name, said in (("convert.toml", "is a conversion"), ("config.toml", "is a run of byteproxy")):
        (copy / name).write_text("")
        assert said in refusal(convert(copy))
        (copy / name).unlink()
    (copy / "byteproxy.json").write_text("{}")
    assert "is an export, which reads raw bytes already" in refusal(convert(copy))
    (copy / "byteproxy.json").unlink()
    (copy / "tokenizer.json").write_text(byte_tokenizer().to_str())
    assert "reads raw bytes already" in refusal(convert(copy))


def test_a_model_larger_than_memory(convert, model, monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "machine_bytes", lambda: 1 << 20)
    said = refusal(convert(model))
    assert "needs about" in said
    assert "and this machine has 1.0 MB" in said
    assert not (tmp_path / "out").exists()
    status, stdout, _ = convert(model, "--plan", "--rate", "1e9", "--positions", "512")
    assert status == 0
    assert "Not enough here" in stdout


def test_a_disk_without_room(convert, model, monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(conversion_plan.shutil, "disk_usage", lambda _: usage(1 << 30, 1 << 30, 1 << 20))
    assert "1.05 MB free, and the conversion needs about" in refusal(convert(model))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("writes", [1, 5, 25])
def test_a_disk_that_fills_up(model, text, monkeypatch, tmp_path, writes):
    left, real = writes, os.fsync

    def fsync(descriptor):
        nonlocal left
        left -= 1
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(InputError, match="No space left"):
            run_conversion(conversion(model, text), tmp_path / "out")
    assert not list(tmp_path.rglob("*.partial"))


def test_sources_without_text(convert, model, tmp_path):
    assert "no source of text is named" in refusal(convert(model, sources=()))
    (tmp_path / "none").mkdir()
    said = refusal(convert(model, sources=(tmp_path / "none",)))
    assert "none" in said


def test_sources_without_text_may_be_mended(model, text, tmp_path):
    """As long as there is no corpus, what decides it may be asked for otherwise."""
    empty, out = tmp_path / "empty.jsonl", tmp_path / "out"
    empty.write_text('{"text": ""}\n')
    asked = conversion(model, empty)
    with pytest.raises(InputError, match="there are no documents to prepare"):
        run_conversion(asked, out)
    nothing_held_out = replace(RECIPE, split=SplitOptions(0.0, 0.0))
    with pytest.raises(InputError, match="validation"):
        run_conversion(conversion(model, text, nothing_held_out), tmp_path / "none")
    results = run_conversion(conversion(model, text), out)
    assert results["validation"]["documents"] > 0
    with pytest.raises(InputError, match="holds another conversion \\(sources is"):
        run_conversion(asked, out)


def test_a_folder_of_something_else(convert, model, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("mine")
    assert "neither empty nor a run of byteproxy" in refusal(convert(model))
    assert (tmp_path / "out/thesis.tex").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--minutes", "1", "--positions", "1"], "both minutes and positions are given"),
        (["--minutes", "-1"], "minutes is -1"),
        (["--positions", "0"], "positions is 0"),
        (["--rate", "1e9"], "rate is for --plan only"),
        (["--recipe", "nothing.toml"], "there is no recipe 'nothing.toml' of a conversion"),
        (["--recipe", "3m"], "3m is no recipe of a conversion"),
        (["--run.validation.bytes", "0"], "run.validation.bytes is 0"),
        (["--run.corpus", "c"], "run.corpus is 'c': leave it out"),
        (["--run.optim.learning-rat", "1"], "did you mean --run.optim.learning-rate?"),
    ],
)
def test_options(convert, model, options, said):
    assert said in refusal(convert(model, *options))


def test_a_recipe_without_tokens(convert, model, tmp_path):
    from byteproxy.recipes.named import convert_recipe

    path = tmp_path / "bytes.toml"
    path.write_text(to_toml(convert_recipe()).replace("rate = 0.2", "rate = 0.0"))
    assert "run.mixture shows no compressed text" in refusal(convert(model, "--recipe", path))
