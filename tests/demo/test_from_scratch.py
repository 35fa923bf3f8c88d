"""A whole demo without a model, on a small corpus: what it leaves behind, and what becomes of it when it is stopped."""

import json
import os
import signal
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.toy_corpus import toy_documents

from byteproxy.checksummed import write_checksummed
from byteproxy.corpus.document import Document
from byteproxy.demo import demo_folder
from byteproxy.demo.arm import MIN_STEPS
from byteproxy.demo.demo_recipe import Demo, DemoRecipe, Sample, Scoring
from byteproxy.demo.from_scratch import run_from_scratch
from byteproxy.errors import InputError
from byteproxy.interop.llama import load_llama
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, PAPER
from byteproxy.model.model_config import ModelConfig
from byteproxy.progress import silent
from byteproxy.runs.load import load
from byteproxy.store.store import Store

# So few minutes that every arm takes the fewest steps, and one dtype: nothing depends on the machine's speed.
STUDY = DemoRecipe(
    arms={"bytes": BYTES, "proxy": PAPER},
    sample=Sample("proxy", "def path_name(", 40),
    minutes=1e-6,
    alphabet=300,
    dtype="float32",
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    shape=Shape(2, 256, 100),
    scoring=Scoring(2000, 4000, 1000, 2, 50),
)
ASKED = Demo(STUDY)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "run"
    return out, run_from_scratch(STUDY, toy_documents, out)


def figures(results):
    """What must not depend on the clock."""
    keys = ("raw_bpb", "flops", "positions", "steps", "text_bytes_seen", "compressed_share")
    return {name: {key: arm[key] for key in keys} for name, arm in results["arms"].items()} | {
        "sample": results["sample"]["continuation"],
        "ppmd": results["ppmd_bpb"],
    }


def test_results_are_whole_and_written(finished):
    out, results = finished
    assert set(results["arms"]) == {"bytes", "proxy"}
    for arm in results["arms"].values():
        assert 0 < arm["raw_bpb"] < 9
        assert arm["steps"] == MIN_STEPS
        assert arm["positions"] == MIN_STEPS * 512
        assert arm["flops"] > 0
        assert arm["seconds"] > 0
        assert [line["step"] for line in arm["validation"]] == [4, 8]
    assert results["arms"]["bytes"]["compressed_share"]["segments"] == 0
    assert results["arms"]["proxy"]["compressed_share"]["segments"] == pytest.approx(0.84, abs=0.12)  # forty coins
    assert results["arms"]["bytes"]["raw_text_bytes_seen"] == results["arms"]["bytes"]["text_bytes_seen"]
    assert results["held_out_bytes"] == 4000
    assert json.loads((out / "results.json").read_text()) == results
    assert (out / "report.html").read_text().count("proxy") > 3
    assert results["report"] == str(out / "report.html")
    assert results["verdict"].startswith("At equal training FLOPs the proxy arm is")


def test_held_out_copies_of_training_text_are_dropped(tmp_path):
    """A training document with one line more, in a project that is held out."""
    documents = toy_documents()
    original = max(documents, key=lambda one: len(one.text))
    copy = Document("copy.py", original.text + b"\nlast = 1\n", "toy", "copies")
    named = replace(STUDY, split=replace(STUDY.split, hold_out=("copies",)))
    results = run_from_scratch(named, lambda: [*documents, copy], tmp_path / "run")
    assert results["corpus"]["rejected"]["near-duplicate"] >= 1
    kept = [one.id for one in Store.open(tmp_path / "run" / "corpus").documents("test")]
    assert kept
    assert "copy.py" not in kept


def test_held_out_text_is_of_projects_that_no_arm_trained_on(finished):
    out, _ = finished
    store = Store.open(out / "corpus")
    trained, *others = ({d.project for d in store.documents(split)} for split in ("train", "validation", "test"))
    assert all(others)
    assert not trained & set.union(*others)


def test_the_sample_is_written_where_no_compressor_is(finished):
    out, results = finished
    assert results["sample"]["files"] == sorted(path.name for path in (out / "model").iterdir())
    assert {"tokenizer.json", "README.md", "byteproxy.json"} < set(results["sample"]["files"])
    model, context = load_llama(out / "model")
    assert (model.embed_tokens.num_embeddings, context) == (320, STUDY.shape.context_bytes)
    assert f"{results['arms']['proxy']['validation'][-1]['raw_bpb']:.4f}" in (out / "model" / "README.md").read_text()


def test_the_model_is_what_export_writes(finished, tmp_path):
    out, _ = finished
    load(out / "arms" / "proxy").export(tmp_path / "model")
    mine, theirs = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (out / "model", tmp_path / "model")
    )
    assert mine == theirs


def test_the_same_study_gives_the_same_figures_and_a_finished_one_starts_clean(finished, tmp_path):
    _, results = finished
    again = run_from_scratch(STUDY, toy_documents, tmp_path / "run")
    assert figures(again) == figures(results)
    marker = tmp_path / "run" / "arms" / "bytes" / "metrics.jsonl"
    marker.write_text("not a metric\n")
    clean = run_from_scratch(STUDY, toy_documents, tmp_path / "run")
    assert figures(clean) == figures(results)
    assert not clean["resumed"]


@pytest.mark.parametrize(
    "where",
    ["encode the corpus", "train proxy", "write a sample"],
)
def test_stopped_anywhere_it_goes_on_to_the_same_figures(finished, tmp_path, where):
    _, results = finished

    @contextmanager
    def stage(what, unit):
        def stop_halfway(done, total, note=""):
            if what != where:
                return
            if not what.startswith("train"):
                raise KeyboardInterrupt
            if done == 5:
                os.kill(os.getpid(), signal.SIGINT)

        yield stop_halfway

    with pytest.raises(KeyboardInterrupt):
        run_from_scratch(STUDY, toy_documents, tmp_path, stage)
    assert not (tmp_path / "results.json").exists()
    resumed = run_from_scratch(STUDY, toy_documents, tmp_path)
    assert resumed["resumed"]
    assert figures(resumed) == figures(results)


@pytest.mark.parametrize("name", demo_folder.NOTES)
def test_a_stopped_demo_whose_notes_are_damaged_starts_from_the_beginning(tmp_path, capsys, name):
    with demo_folder.claimed(tmp_path, ASKED):
        pass
    write_checksummed(tmp_path / name, {"flops": 1e9, "dtype": "float32"})
    with demo_folder.claimed(tmp_path, ASKED) as going_on:
        assert going_on
    path = tmp_path / name
    path.write_bytes(path.read_bytes().replace(b"float32", b"float33"))
    with demo_folder.claimed(tmp_path, ASKED) as going_on:
        assert not going_on
    assert f"{path} is damaged" in capsys.readouterr().err
    assert not path.exists()


def test_what_a_killed_export_left_is_cleared(tmp_path):
    (tmp_path / "demo.toml").write_text("minutes = 3\n")
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / "config.json").write_text("{}")
    with demo_folder.claimed(tmp_path, ASKED) as going_on:
        assert not going_on
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "demo.toml"]


def test_the_compressors_cost_is_that_of_all_attempts(tmp_path):
    slow = 0.3

    @contextmanager
    def stage(what, unit):
        if what == "encode the corpus":
            time.sleep(slow)
            if not (tmp_path / "stopped").exists():
                (tmp_path / "stopped").touch()
                raise KeyboardInterrupt
        yield silent

    with pytest.raises(KeyboardInterrupt):
        run_from_scratch(STUDY, toy_documents, tmp_path / "run", stage)
    results = run_from_scratch(STUDY, toy_documents, tmp_path / "run", stage)
    assert results["view"]["encode_seconds"] > 2 * slow
    assert results["view"]["train_seconds"] > 0


def test_other_settings_never_mix_with_a_stopped_run(finished, tmp_path):
    @contextmanager
    def stage(what, unit):
        if what == "train proxy":
            raise KeyboardInterrupt
        yield silent

    with pytest.raises(KeyboardInterrupt):
        run_from_scratch(replace(STUDY, seed=1), toy_documents, tmp_path, stage)
    results = run_from_scratch(STUDY, toy_documents, tmp_path)
    assert not results["resumed"]
    assert figures(results) == figures(finished[1])


def test_a_folder_whose_study_was_killed_while_it_was_begun_is_ours(tmp_path):
    (tmp_path / ".demo.toml.123.partial").write_text("minutes = ")
    with demo_folder.claimed(tmp_path, ASKED) as going_on:
        assert not going_on
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "demo.toml"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="neither empty nor a run"):
        run_from_scratch(STUDY, toy_documents, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is a file"):
        run_from_scratch(STUDY, toy_documents, tmp_path / "thesis.tex")


def test_no_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = type("usage", (), {"free": 10 << 20})
    monkeypatch.setattr(demo_folder.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(InputError, match="10 MB free"):
        run_from_scratch(STUDY, toy_documents, tmp_path / "run")
    assert not (tmp_path / "run" / "demo.toml").exists()


def test_two_studies_in_one_folder_exclude_each_other(tmp_path):
    with demo_folder.claimed(tmp_path, ASKED), pytest.raises(InputError, match="in use"):
        run_from_scratch(STUDY, toy_documents, tmp_path)


def test_an_altered_corpus_is_refused(tmp_path):
    @contextmanager
    def stage(what, unit):
        if what == "verify the corpus":
            shard = tmp_path / "corpus" / "shard-00000.arrow"
            data = bytearray(shard.read_bytes())
            data[len(data) // 2] ^= 1
            shard.write_bytes(data)
        yield silent

    with pytest.raises(InputError, match=r"shard-00000\.arrow was altered"):
        run_from_scratch(STUDY, toy_documents, tmp_path, stage)


def test_wrong_recipes_are_refused_by_name():
    for wrong, field in (
        ({"minutes": 0.0}, "minutes"),
        ({"minutes": float("inf")}, "minutes"),
        ({"seed": -1}, "seed"),
        ({"arms": {}}, "arms"),
        ({"dtype": "float8"}, "dtype"),
        ({"sample": Sample("other")}, "sample.arm"),
        ({"beside": "other"}, "beside is 'other'"),
        ({"beside": "proxy"}, "which shows compressed text"),
        ({"scoring": replace(STUDY.scoring, stride=101)}, "scoring.stride"),
    ):
        with pytest.raises(InputError, match=field):
            replace(STUDY, **wrong)


def test_a_folder_of_byteproxy_study_is_never_cleared(tmp_path):
    (tmp_path / "study.toml").write_text("about = 'hours of training'\n")
    with pytest.raises(InputError, match="neither empty nor a run"):
        run_from_scratch(STUDY, toy_documents, tmp_path)
    assert (tmp_path / "study.toml").exists()
