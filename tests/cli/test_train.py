"""`byteproxy train` as a user meets it."""

import json
import os
import signal
import sys
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from tests.cli.commands import in_process, keeps_to_itself, last_object, refusal
from tests.toy_corpus import toy_store

from byteproxy.cli import progress as cli_progress
from byteproxy.cli.overrides import explanations
from byteproxy.config import from_toml
from byteproxy.mixture.schedule import Phase
from byteproxy.model.model_config import MAX_BYTE_PLACES
from byteproxy.recipes.named import recipe_of, run_named, run_recipes
from byteproxy.runs.lineage import read_lineage
from byteproxy.store.store import Store
from byteproxy.train.metrics import read
from byteproxy.train.run_config import read_run_config
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

PYTHON = Path(sys.executable)
RECIPE = """
stop = "12 steps"
corpus = "c"
compile = false
log_every = 1
validate_every = 4
[model]
width = 32
layers = 2
heads = 2
ffn = 64
[shape]
sequences_per_step = 2
sequence_length = 256
context_bytes = 100
[validation]
bytes = 2000
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("train")
    toy_store(made / "c")
    (made / "tiny.toml").write_text(RECIPE)
    return made


@pytest.fixture
def byteproxy(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    return in_process(monkeypatch, capsys)


@pytest.fixture
def whole(byteproxy, folder):
    """The figures of a run that nobody disturbed."""
    if not (folder / "runs" / "tiny").exists():
        result = byteproxy("train", "tiny.toml", "--json")
        (folder / "whole.json").write_text(json.dumps(last_object(result)))
        (folder / "whole.txt").write_text(result[2])
    return json.loads((folder / "whole.json").read_text())


def timeless(figures):
    clocks = ("seconds", "wall_seconds", "positions_per_second", "matmul_utilization", "loading_share", "memory_mb")
    return {name: value for name, value in figures.items() if name not in (*clocks, "run", "page")}


def test_a_run_leaves_figures_and_a_page(byteproxy, whole, folder):
    config = read_run_config(folder / "runs/tiny")
    assert config == replace(from_toml(folder / "tiny.toml", TrainConfig), views=("bpe-300",))
    lines = read(folder / "runs/tiny/metrics.jsonl")
    assert [line["step"] for line in lines if "raw_bpb" in line] == [4, 8, 12]
    last = [line for line in lines if "raw_bpb" in line][-1]
    assert whole["raw_bpb"] == last["raw_bpb"]
    assert whole["view_bpb"] == last["view_bpb"]
    assert whole["transfer_gap"] == pytest.approx(whole["raw_bpb"] - whole["view_bpb"]["bpe-300"])
    assert whole["loss"] == [line["loss"] for line in lines if "loss" in line][-1]
    assert (whole["steps"], whole["positions"]) == (12, 12 * 512)
    assert sum(whole["text_bytes"].values()) == last["text_bytes"]
    assert whole["positions_per_second"] == pytest.approx(whole["positions"] / whole["seconds"])
    assert whole["page"] == "runs/tiny/report.html"
    assert keeps_to_itself((folder / "runs/tiny/report.html").read_text())
    said = (folder / "whole.txt").read_text()
    assert "Training on raw bytes and the view bpe-300, the first aligned one" in said
    assert "train: " in said
    assert "positions/s" in said


def test_a_run_is_the_trainers_own(byteproxy, whole, folder, tmp_path):
    config = replace(from_toml(folder / "tiny.toml", TrainConfig), views=("bpe-300",))
    Trainer(config, Store.open(folder / "c"), tmp_path).run()
    assert read(tmp_path / "metrics.jsonl")[-1]["loss"] == whole["loss"]


def test_a_table_for_people_and_a_finished_run_says_the_same_again(byteproxy, whole, folder):
    status, stdout, _ = byteproxy("train", "--resume", "runs/tiny")
    assert status == 0
    rows = {line[:27].strip(): line[27:].split()[0] for line in stdout.splitlines() if len(line.split()) > 3}
    assert rows["raw bits per byte"] == f"{whole['raw_bpb']:.4f}"
    assert rows["transfer gap"] == f"{whole['transfer_gap']:+.4f}"
    assert rows["steps"] == "12"
    assert "Page: runs/tiny/report.html" in stdout
    assert timeless(last_object(byteproxy("train", "--resume", "runs/tiny", "--json"))) == timeless(whole)


def test_overrides_reach_every_level(byteproxy, folder):
    figures = last_object(
        byteproxy(
            *("train", "tiny.toml", "--out", "runs/other", "--stop", "2000 positions", "--seed", "3", "--json"),
            *("--model.width", "48", "--model.key-value-heads", "1", "--optim.learning-rate", "1e-3"),
            *("--mixture.preset", "bytes", "--validation.bytes", "0", "--no-tensorboard", "--model.ngrams", "2", "3"),
        )
    )
    config = read_run_config(folder / "runs/other")
    assert (config.stop, config.seed, config.views) == ("4 steps", 3, ())
    assert (config.model.width, config.model.kv_heads, config.model.ngrams) == (48, 1, (2, 3))
    assert (config.optim.learning_rate, config.mixture.preset) == (1e-3, "bytes")
    assert config.shape == from_toml(folder / "tiny.toml", TrainConfig).shape
    assert figures["raw_bpb"] is None
    assert figures["transfer_gap"] is None
    assert list(figures["text_bytes"]) == ["raw"]


def test_phases_of_a_recipe_can_be_overridden(byteproxy, folder):
    phases = '[[mixture.phases]]\nshare = 0.5\nmode = "pairs"\n[[mixture.phases]]\nshare = 0.5\n'
    (folder / "phases.toml").write_text(RECIPE + phases)
    for words in (["phases.toml", "--mixture.phases.1.rate", "0.2"], ["--mixture.phases.1.rate=0.2", "phases.toml"]):
        plan = last_object(byteproxy("train", "--plan", *words, "--json"))
        assert [(one["mode"], one["rate"]) for one in plan["config"]["mixture"]["phases"]] == [
            ("pairs", 0.9),
            ("one", 0.2),
        ]


def test_stopped_with_ctrl_c_it_goes_on_to_the_same_end(byteproxy, whole, folder, monkeypatch):
    @contextmanager
    def stage(what, unit):
        def stop_at_seven(done, total, note=""):
            if what == "train" and done == 7:
                os.kill(os.getpid(), signal.SIGINT)

        yield stop_at_seven

    with monkeypatch.context() as patch:
        patch.setattr(cli_progress, "stage", stage)
        status, stdout, stderr = byteproxy("train", "tiny.toml", "--out", "runs/stopped one", "--json")
    assert (status, stdout) == (130, "")
    assert stderr.splitlines()[-1] == (
        "byteproxy: stopped after step 7, which is saved; go on with: byteproxy train --resume 'runs/stopped one'"
    )
    assert "the run was not finished" in (folder / "runs/stopped one/report.html").read_text()
    (folder / "runs/stopped one/lineage.json").unlink()
    resumed = last_object(byteproxy("train", "--resume", "runs/stopped one", "--json", "--keep", "3"))
    assert timeless(resumed) == timeless(whole)
    assert read_lineage(folder / "runs/stopped one").command == "", "it was another that began the run"
    assert read_run_config(folder / "runs/stopped one").keep == 3
    of = [
        [line["loss"] for line in read(folder / "runs" / name / "metrics.jsonl") if "loss" in line]
        for name in ("tiny", "stopped one")
    ]
    assert of[0] == of[1]


def test_stopped_before_it_began_it_says_so(byteproxy, monkeypatch):
    def stage(what, unit):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_progress, "stage", stage)
    status, _, stderr = byteproxy("train", "tiny.toml", "--out", "runs/never")
    assert status == 130
    assert stderr.splitlines()[-1] == "byteproxy: stopped before the first step; the same command starts again"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no recipe is named: give one of 1m, 3m, 3m-head-start, 3m-paper, writer, 20m, 100m, 0.5b"),
        (["nonesuch"], "there is no recipe 'nonesuch'"),
        (["demo"], "demo is a study"),
        (["--out", "x", "3mm"], "there is no recipe '3mm'"),
        (["wrong.toml"], "wrong.toml: there is no field model.widht"),
        (["tiny.toml", "--model.heads", "5"], "model.width 32 does not split into 5 heads"),
        (
            ["tiny.toml", "--model.symbol-heads", "2", "--objective.symbols", "0", "--objective.bag", "1"],
            "symbol_heads",
        ),
        (["tiny.toml", "--stop", "soon"], "stop is 'soon': give a positive number and one of steps"),
        (["tiny.toml", "--corpus", "nowhere"], "nowhere holds no finished corpus"),
        (["tiny.toml", "--corpus", ""], "corpus is empty: name the folder"),
        (["tiny.toml", "--views", "bpe-77"], "the corpus has no view 'bpe-77' (there are: bpe-300)"),
        (["tiny.toml", "--out", "c"], "c is neither empty nor a run of byteproxy"),
        (["tiny.toml", "--out", "tiny.toml"], "tiny.toml is a file"),
        (["tiny.toml", "--rate", "3"], "rate is 3.0"),
        (["--plan", "tiny.toml", "--rate", "0"], "rate is 0.0"),
        (["--plan", "tiny.toml", "--gpu", "abacus"], "gpu is 'abacus': give one of rtx4090-24gb, l4-24gb"),
        (["tiny.toml", "--gpu", "h100-80gb"], "gpu is 'h100-80gb': give it with --plan"),
        (["--plan", "tiny.toml", "--ranks", "2"], "ranks is 2, and no card is named"),
        (["--plan", "tiny.toml", "--gpu", "h100-80gb", "--utilization", "2"], "utilization is 2.0"),
        (["--plan", "tiny.toml", "--gpu", "h100-80gb"], 'dtype is "float32", and the known peaks'),
        (["--plan", "tiny.toml", "--gpu", "h100-80gb", "--ranks", "0", "--dtype", "bfloat16"], "ranks is 0: give 1 to"),
        (["tiny.toml", "--attention", "varlen"], "trains on CUDA only"),
        (["--resume"], "--resume is given without a value"),
        (["--resume", "c"], "'c' holds no run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_one_line_and_leave_nothing(byteproxy, folder, arguments, said):
    (folder / "wrong.toml").write_text("[model]\nwidht = 3\n")
    before = sorted(folder.rglob("*"))
    if arguments and "--out" not in arguments and "--resume" not in arguments:
        arguments = [*arguments, "--out", "runs/mistake"]
    assert said in refusal(byteproxy("train", *arguments))
    assert sorted(folder.rglob("*")) == before


def test_another_run_is_not_overwritten(byteproxy, whole, folder):
    before = (folder / "runs/tiny/metrics.jsonl").read_bytes()
    assert "go on with it by `byteproxy train --resume runs/tiny`" in refusal(byteproxy("train", "tiny.toml"))
    assert (folder / "runs/tiny/metrics.jsonl").read_bytes() == before


def test_unknown_options_are_refused(byteproxy):
    for arguments, near in (
        (["tiny.toml", "--model.widht", "3"], "there is no option --model.widht of `byteproxy train`; did you mean"),
        (["--resume", "runs/tiny", "--sed", "3"], "there is no option --sed of `byteproxy train`"),
    ):
        assert near in refusal(byteproxy("train", *arguments))


def test_no_file_holds_what_the_environment_says(byteproxy, folder, monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", "xyzzy-secret-4711")
    last_object(byteproxy("train", "tiny.toml", "--out", "runs/quiet", "--stop", "2 steps", "--json"))
    files = [path for path in (folder / "runs/quiet").rglob("*") if path.is_file()]
    assert len(files) > 4
    for path in files:
        assert b"xyzzy-secret-4711" not in path.read_bytes()


def test_help_teaches_and_lists_recipes(byteproxy, whole, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    status, stdout, _ = byteproxy("train", "--help")
    assert status == 0
    said = " ".join(stdout.split())  # lines are as wide as the terminal
    for name, told in run_recipes().items():
        assert f" {name} {' '.join(told.split())} " in said
    assert len(stdout.splitlines()) < 70
    for word in ("--plan", "--resume", "torchrun", "--model.", "learning-rate", "--out", "--json", "--help-all"):
        assert word in stdout
    status, stdout, _ = byteproxy("train", "3m", "--help-all")
    assert "--optim.learning-rate" in stdout
    said = " ".join(stdout.replace("│", " ").split())
    assert "(default: 256)" in said
    assert "(default: runs/3m)" in said
    status, stdout, _ = byteproxy("train", "--resume", "runs/tiny", "--help")
    assert "--keep" in stdout
    assert "--seed" not in stdout


def test_every_field_is_explained():
    kinds: list[type] = [TrainConfig, Phase]
    for kind in kinds:
        said = explanations(kind)
        for field in fields(kind):
            if is_dataclass(field.type):
                kinds.append(field.type)
            else:
                assert said.get(field.name), (kind.__name__, field.name)
    assert len(kinds) == 16


SIZES = [name for name in run_recipes() if name != "writer"]


def test_the_recipes_are_as_large_as_their_names_say(byteproxy):
    scale = {"m": 1e6, "b": 1e9}
    for name in SIZES:
        config = run_named(name)
        size = name.partition("-")[0]
        assert config.model.matrix_parameters == pytest.approx(float(size[:-1]) * scale[size[-1]], rel=0.11)
        asked = recipe_of(name)
        assert (asked.mixture, asked.shape, asked.steps) == (config.mixture, config.shape, config.steps)
        assert config.shape.sequence_length >= 4 * config.shape.context_bytes / 3 + 5, "a longest pair fits into a row"


@pytest.mark.parametrize("name", SIZES)
def test_every_recipe_has_a_plan_without_a_corpus(byteproxy, name):
    plan = last_object(byteproxy("train", "--plan", name, "--rate", "1e14", "--json"))
    config = run_named(name)
    model, shown = config.model, config.mixture.needs_view
    assert plan["corpus"] is None
    assert plan["matrix_parameters"] == model.matrix_parameters
    of_views = 0 if not shown else MAX_BYTE_PLACES if model.composed else 2 * 4096  # rows that go with the compressor
    assert plan["parameters"] == model.raw_parameters() + of_views * model.width
    assert plan["seconds"] == pytest.approx(plan["flops"] / 1e14)
    assert plan["flops"] > 6 * plan["positions"] * model.matrix_parameters
    assert len(plan["assumed"]) == 1 + shown


def test_recipes_are_listed_by_size_a_line_each():
    found = run_recipes()
    sizes = [run_named(name).model.matrix_parameters for name in found]
    assert sizes == sorted(sizes)
    assert {"1m", "3m", "3m-paper", "3m-head-start"} < set(found)
    for name, about in found.items():
        assert len(about) < 80, name
        assert about.endswith(".")


@pytest.mark.parametrize("name", ["1m", "3m", "20m"])
def test_the_small_recipes_show_what_was_best_and_can_be_exported(name):
    config = run_named(name)
    assert not config.mixture.needs_view
    assert not config.model.breaks_export


def test_a_run_is_called_as_its_recipe(byteproxy):
    """A name may have a dot, which ends no name of a file."""
    for name in ("0.5b", "3m-head-start"):
        _, told, _ = byteproxy("train", name, "--help-all")
        assert f"(default: runs/{name})" in " ".join(told.replace("│", " ").split())


def test_a_plan_for_cards_says_what_fits_and_how_long_it_takes(byteproxy):
    words = ("train", "--plan", "tiny.toml", "--gpu", "h100-80gb", "--ranks", "2", "--dtype", "bfloat16")
    plan = last_object(byteproxy(*words, "--utilization", "0.25", "--json"))
    cluster = plan["cluster"]
    assert plan["memory_bytes"] == cluster["memory"]["peak"] < cluster["room"] < cluster["card"]["memory"]
    assert (cluster["activation_checkpointing"], cluster["recomputed"]) == ("none", 0)
    assert plan["seconds"] == pytest.approx(plan["flops"] / (0.25 * 2 * cluster["card"]["peak"]))
    assert plan["checkpoint_bytes"] >= 8 * plan["parameters"]
    status, stdout, _ = byteproxy(*words)
    assert status == 0
    assert "on h100-80gb" in stdout
    assert "--micro-sequences" in stdout


def test_a_plan_is_a_table_and_trains_nothing(byteproxy, folder):
    status, stdout, _ = byteproxy("train", "--plan", "tiny.toml", "--out", "runs/planned")
    assert status == 0
    assert "% of the rate of plain matrix products, measured here" in stdout
    assert "views of" not in stdout, "the corpus says these"
    assert [line.split()[-1] for line in stdout.splitlines() if "parameters  " in line] == ["60,320"]
    assert not (folder / "runs/planned").exists()
