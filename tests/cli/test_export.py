"""`byteproxy export`, as a user meets it."""

from dataclasses import replace

import pytest
from tests.cli.commands import explained, in_process, last_object, refusal
from tests.toy_corpus import toy_store

from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

CONFIG = TrainConfig(
    stop="2 steps",
    compile=False,
    views=("bpe-300",),
    model=ModelConfig(width=32, layers=1, heads=2, ffn=64),
    shape=Shape(2, 256, 100),
    validation=Validation(0),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two runs of one corpus: `run`, and `capped`, which can't be exported."""
    folder = tmp_path_factory.mktemp("runs")
    store, _ = toy_store(folder / "c")
    for name, model in {"run": CONFIG.model, "capped": replace(CONFIG.model, soft_cap=15.0)}.items():
        Trainer(replace(CONFIG, model=model, corpus=str(folder / "c")), store, folder / name).run()
    return folder


@pytest.fixture
def byteproxy(monkeypatch, capsys):
    return in_process(monkeypatch, capsys)


def test_it_writes_a_model_that_generate_reads(byteproxy, folder, tmp_path):
    out = tmp_path / "out"
    figures = last_object(byteproxy("export", folder / "run", "--out", out, "--json"))
    assert figures["parameters_that_disappeared"] == 2 * 300 * 32
    assert (figures["run"], figures["step"], figures["raw_bpb"]) == ("run", 2, None)
    assert figures["files"].keys() | {"byteproxy.json"} == {path.name for path in out.iterdir()}
    written = last_object(byteproxy("generate", out, "--prompt", "def ", "--max-bytes", "5", "--json"))
    assert written["bytes"] <= 5
    assert (
        "19,200 parameters that only compressed text used are left out"
        in byteproxy("export", folder / "run", "--out", tmp_path / "more")[1]
    )
    assert not (out / "model.gguf").exists()
    (out / "config.json").write_text("{}")
    assert "config.json was altered" in refusal(byteproxy("generate", out))


def test_a_gguf_file_is_written_if_asked_and_has_a_checksum(byteproxy, folder, tmp_path):
    out = tmp_path / "out"
    figures = last_object(byteproxy("export", folder / "run", "--out", out, "--gguf", "--json"))
    assert figures["files"]["model.gguf"] > figures["files"]["model.safetensors"]
    assert (out / "model.gguf").read_bytes()[:4] == b"GGUF"
    (out / "model.gguf").write_bytes(b"GGUF")
    assert "model.gguf" in refusal(byteproxy("generate", out))


def test_what_is_wrong_is_said(byteproxy, folder, tmp_path):
    assert "exists already" in refusal(byteproxy("export", folder / "run", "--out", tmp_path))
    assert "holds no model" in refusal(byteproxy("export", tmp_path, "--out", tmp_path / "out"))
    assert "model.soft_cap" in refusal(byteproxy("export", folder / "capped", "--out", tmp_path / "out"))
    (tmp_path / "file").write_text("")
    assert "cannot write" in refusal(byteproxy("export", folder / "run", "--out", tmp_path / "file" / "out"))
    assert not (tmp_path / "out").exists()


def test_help_explains_each_option(byteproxy):
    _, text, _ = byteproxy("export", "--help")
    for option in ("--out", "--gguf", "--json"):
        assert explained(text, option)
