"""`byteproxy convert` as a user meets it."""

import json

import pytest
from tests.cli.commands import explained, in_process, keeps_to_itself, last_object, refusal
from tests.convert.tiny import tiny_llama, write_text
from tests.toy_corpus import toy_documents

import byteproxy
from byteproxy.recipes.named import convert_recipe, run_named, run_recipes

SHORT = ("--positions", "2056", "--evaluations", "1", "--run.validation.bytes", "1000", "--run.no-compile")
CHANGES = {"evaluations": 1, "run": {"compile": False, "validation": {"bytes": 1000}}}


@pytest.fixture
def command(monkeypatch, capsys):
    return in_process(monkeypatch, capsys)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("convert")
    return tiny_llama(folder / "llama", steps=5), write_text(folder / "text", toy_documents(40))


def test_help_teaches(command):
    status, told, _ = command("convert", "--help")
    assert status == 0
    for option in ("--out", "--minutes", "--positions", "--no-stdlib", "--gguf", "--plan", "--rate", "--recipe"):
        assert explained(told, option), option
    for word in ("tokenizer.json", "hf:ORG/NAME", "the same command goes on", "--run.", "byteproxy convert --help-all"):
        assert word in told


def test_all_numbers_of_the_recipe_are_options(command):
    status, stdout, _ = command("convert", "--help-all")
    assert status == 0
    for option in ("--run.optim.learning-rate", "--run.shape.context-bytes", "--split.validation", "--evaluations"):
        assert option in stdout


def test_a_plan_loads_and_writes_nothing(command, made, tmp_path):
    model, text = made
    (model / "model.safetensors").rename(model / "away")
    out = tmp_path / "out"
    options = "--plan", "--rate", "1e12", "--no-stdlib", "--minutes", "1", "--json"
    plan = last_object(command("convert", model, text, "--out", out, *options))
    (model / "away").rename(model / "model.safetensors")
    assert not out.exists()
    assert plan["seconds"] == pytest.approx(60, rel=0.1)
    assert plan["run"]["steps"] > 1
    assert plan["disk_bytes"] > plan["exported_bytes"] > 0
    assert plan["corpus_bytes"] == sum(path.stat().st_size for path in text.rglob("*.py"))


def test_a_conversion_from_the_command_line_and_from_python(command, made, tmp_path):
    model, text = made
    results = last_object(
        command("convert", model, text, "--no-stdlib", "--out", tmp_path / "one", *SHORT, "--gguf", "--json")
    )
    assert results["cost"]["positions"] == 2056
    assert results["cost"]["steps"] == 4
    assert (tmp_path / "one/model/model.gguf").is_file()
    page = (tmp_path / "one/report.html").read_text()
    assert keeps_to_itself(page)
    assert "ceiling" in page
    again = byteproxy.convert(model, tmp_path / "two", [str(text)], stdlib=False, positions=2056, changes=CHANGES)
    assert again["curve"][-1]["raw_bpb"] == results["curve"][-1]["raw_bpb"]
    assert json.loads((tmp_path / "two/results.json").read_text()) == again
    assert command("report", tmp_path / "one")[0] == 0
    assert command("generate", tmp_path / "one/model", "--prompt", "def ", "--max-bytes", "5", "--utf8")[0] == 0
    said = refusal(command("convert", tmp_path / "one/model", text, "--out", tmp_path / "three"))
    assert "is an export, which reads raw bytes already" in said


def test_the_recipe_is_no_run_among_others_and_trains_like_one():
    assert "convert" not in run_recipes()
    assert run_named("convert") == convert_recipe().run
