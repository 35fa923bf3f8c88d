"""A whole study on a small corpus: what it leaves behind, and what becomes of it stopped, changed or unfair."""

import csv
import html
import json
import multiprocessing
import os
import re
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.study.toys import VALUES, ran, recipe

from byteproxy.checksummed import read_checksummed, write_checksummed
from byteproxy.errors import InputError
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.progress import silent
from byteproxy.report.build_page import build_page
from byteproxy.store.store import Store
from byteproxy.study import task_workers
from byteproxy.study.fairness import check_apart
from byteproxy.study.queue import Queue
from byteproxy.study.results import study_results
from byteproxy.study.study import Limits, report_study, run_study
from byteproxy.train.run_config import read_run_config

LAST = "final-proxy-small-1.6e+08-seed1"


def figures(results):
    """What must not depend on the clock."""
    clock = ("seconds", "wall_seconds", "curve")
    runs = {run["key"]: {name: run[name] for name in run if name not in clock} for run in results["runs"]}
    curves = {run["key"]: [(look["step"], look["raw_bpb"]) for look in run["curve"]] for run in results["runs"]}
    return runs, curves, results["differences"], results["trials"], results["viewer"]


def test_results_are_whole_and_written(finished):
    out, results = finished
    assert results["queue"] == {"done": 8, "left": 0, "failed": []}
    assert results["main"] == {"size": "small", "flops": 1.6e8, "seeds": [0, 1]}
    for name, arm in results["arms"].items():
        assert arm["raw_bpb"]["split"] == "test"
        assert set(arm["raw_bpb"]["seeds"]) == {"0", "1"}
        assert arm["flops"] == pytest.approx(1.6e8, rel=0.01)
        chosen = [trial for trial in results["trials"] if trial["arm"] == name and trial["chosen"]]
        assert [trial["learning_rate"] for trial in chosen] == [arm["learning_rate"]]
        tried = [trial["validation_bpb"] for trial in results["trials"] if trial["arm"] == name]
        assert len(tried) == 2
        assert chosen[0]["validation_bpb"] == min(tried)
    assert results["arms"]["bytes"]["text_bytes_seen"] == results["arms"]["bytes"]["raw_text_bytes_seen"]
    assert results["arms"]["proxy"]["text_bytes_seen"] > results["arms"]["proxy"]["raw_text_bytes_seen"]
    finals = [run for run in results["runs"] if run["kind"] == "final"]
    assert all(len(run["curve"]) == 3 and run["curve"][-1]["step"] == run["steps"] for run in finals)
    assert {cell["split"] for cell in results["cells"]} == {"validation", "test"}
    assert set(results["compressors"]) == set(results["scored"]) == {"validation", "test"}
    assert results["scored"]["test"]["bytes"] == 800
    assert json.loads((out / "results.json").read_text()) == results
    assert "proxy" in (out / "report.html").read_text()
    with (out / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["key"] for row in rows] == [run["key"] for run in results["runs"]]
    assert float(rows[-1]["test_bpb"]) == results["runs"][-1]["test_bpb"]


def test_differences_are_those_of_the_runs(finished):
    _, results = finished
    tests = {run["key"]: run["test_bpb"] for run in results["runs"]}
    by_seed = [
        tests[f"final-proxy-small-1.6e+08-seed{s}"] - tests[f"final-bytes-small-1.6e+08-seed{s}"] for s in (0, 1)
    ]
    one = next(one for one in results["differences"] if one["split"] == "test")
    assert (one["arm"], one["against"], one["seeds"]) == ("proxy", "bytes", 2)
    assert one["bpb"] == pytest.approx(sum(by_seed) / 2)
    assert one["low"] < min(by_seed) <= max(by_seed) < one["high"]
    assert one["documents"]["low"] <= one["bpb"] <= one["documents"]["high"]
    assert one["percent"] == pytest.approx(100 * one["bpb"] / results["arms"]["bytes"]["raw_bpb"]["mean"])
    assert f"{abs(one['percent']):.1f} %" in results["verdict"]


def test_one_budget_of_bytes_gives_a_break_even_and_no_multiplier(finished):
    _, results = finished
    arms = results["arms"]
    assert [one["split"] for one in results["m"]] == ["test", "validation"]
    one = results["m"][0]
    assert (one["arm"], one["against"], one["m"], one["over"]) == ("proxy", "bytes", None, "seeds and documents")
    assert one["break_even"] == arms["bytes"]["raw_text_bytes_seen"] / arms["proxy"]["raw_text_bytes_seen"]
    assert one["refused"] in results["verdict"]
    assert results["m_trends"] == []


def test_the_viewer_adds_up(finished):
    out, results = finished
    store = Store.open(out / "corpus")
    assert len(results["viewer"]) == 1
    for shown in results["viewer"]:
        text = bytes(shown["text"])
        assert 0 < len(text) <= 60
        assert any(text in one.text for one in store.documents("validation") if one.id == shown["document"])
        assert set(shown["bits"]) == {"bytes", "proxy"}
        assert all(len(bits) == len(text) and min(bits) > 0 for bits in shown["bits"].values())
        assert sum(shown["cuts"]["bpe-300"]) == len(text)


def test_its_page_is_made_again_from_its_files(finished, copied, monkeypatch):
    _, results = finished
    monkeypatch.chdir(copied)
    Path("beside the study").symlink_to("corpus")
    built = build_page([Path()])
    assert figures(built.figures) == figures(results)
    assert built.figures["verdict"] == results["verdict"]
    assert results["verdict"] in html.unescape(Path("report.html").read_text())


def test_what_stays_of_a_run(finished):
    out, _ = finished
    assert not (out / "runs" / "trial-bytes-small-lr1e-02-rows1" / "checkpoints").exists()
    assert len(list((out / "runs" / LAST / "checkpoints").iterdir())) == 1
    config = read_run_config(out / "runs" / LAST)
    assert config.corpus == str(out / "corpus")
    assert config.optim.learning_rate == 1e-2


def test_trials_come_first_then_seeds_in_balance(finished):
    out, _ = finished
    many = recipe(out.parent, flops=[3.2e8, 1.6e8])
    keys = Queue(many, Store.open(out / "corpus"), out).keys
    assert [key.kind for key in keys] == ["trial"] * 4 + ["final"] * 8
    finals = [(key.flops, key.seed, key.arm) for key in keys[4:]]
    assert finals == [(f, s, a) for f in (1.6e8, 3.2e8) for s in (0, 1) for a in ("bytes", "proxy")]


def test_stopped_it_goes_on_to_the_same_figures(finished, copied):
    shutil.rmtree(copied / "runs" / LAST)

    @contextmanager
    def stage(what, unit):
        def stop_halfway(done, total, note=""):
            if what.startswith("train") and done == 20:
                os.kill(os.getpid(), signal.SIGINT)

        yield stop_halfway

    with pytest.raises(KeyboardInterrupt):
        ran(copied, stage=stage)
    assert not (copied / "runs" / LAST / "result.json").exists()
    assert (copied / "runs" / LAST / "checkpoints" / "step-000020").exists()
    seen = []

    @contextmanager
    def watched(what, unit):
        yield lambda done, total, note="": seen.append((what, done))

    assert figures(ran(copied, stage=watched)) == figures(finished[1])
    assert min(done for what, done in seen if what == f"train {LAST}") == 21


def test_out_of_time_it_says_what_is_left(finished, copied):
    shutil.rmtree(copied / "runs" / LAST)
    said = []

    @contextmanager
    def slow(what, unit):
        if what.startswith("train"):
            task_workers.time.sleep(0.7)
        yield silent

    results = ran(copied, Limits(minutes=0.01), slow, said.append)
    assert results["queue"] == {"done": 7, "left": 1, "failed": []}
    assert results["main"] is None
    assert "left" in results["verdict"]
    assert figures(ran(copied)) == figures(finished[1])


def test_side_by_side_gives_the_same_figures(finished, copied, monkeypatch):
    monkeypatch.setattr(task_workers, "carry_out", None)  # in this process: the others have their own
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["byteproxy.train.trainer"])  # once for all workers: it takes seconds
    monkeypatch.setattr(task_workers.multiprocessing, "get_context", lambda how: forks)
    for run in (copied / "runs").glob("final-*-seed1"):
        shutil.rmtree(run)
    assert figures(ran(copied, Limits(jobs=2))) == figures(finished[1])


def test_arms_can_be_added_and_keep_what_is_done(finished, copied):
    before = {path: path.stat().st_mtime_ns for path in (copied / "runs").glob("*/*.json")}
    tokenizer = {"role": "tokenizer", "seeds": [0], "run": {"views": ["bpe-300"], "mixture": {"preset": "symbols"}}}
    results = ran(copied, Limits(only=("bytes",)), arms={**VALUES["arms"], "symbols": tokenizer})
    assert results["queue"]["left"] == 3
    assert results["main"] == {"size": "small", "flops": 1.6e8, "seeds": [0, 1], "left": ["symbols"]}, (
        "a claim's arms are"
    )
    assert "Not all arms are done at this budget: symbols." in results["verdict"]
    without = ran(copied, Limits(only=("bytes",)), arms={**VALUES["arms"], "symbols": tokenizer}, claims=[])
    assert without["main"] is None
    results = ran(copied, arms={**VALUES["arms"], "symbols": tokenizer})
    assert "left" not in results["main"]
    assert results["queue"] == {"done": 11, "left": 0, "failed": []}
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len((copied / "opened.jsonl").read_text().splitlines()) == 1
    arm = results["arms"]["symbols"]
    assert (arm["scored"], arm["raw_bpb"]["split"], set(arm["raw_bpb"]["seeds"])) == ("view", "validation", {"0"})
    assert results["viewer"][0]["bits"].keys() == {"bytes", "proxy", "symbols"}
    assert "in the bits of its symbols" in results["verdict"]
    store = Store.open(copied / "corpus")
    (text,) = {len(text) for text in [b"".join(held_out_texts(store, "validation", 600, 300))]}
    bits = json.loads((copied / "runs" / "final-symbols-small-1.6e+08-seed0" / "scores-validation.json").read_text())
    assert arm["raw_bpb"]["mean"] == pytest.approx(sum(bits["bits"]) / text)


def test_other_settings_train_again_what_they_change(finished, copied):
    arms = {**VALUES["arms"], "proxy": {**VALUES["arms"]["proxy"]}}
    arms["proxy"]["run"] = {**arms["proxy"]["run"], "objective": {"compressed_weight": 0.5}}
    queue = Queue(recipe(copied.parent, arms=arms), Store.open(copied / "corpus"), copied)
    left = [key.arm for key in queue.keys if queue.result(key) is None]
    assert left == ["proxy"] * 4
    queue = Queue(recipe(copied.parent, scoring__stride=25), Store.open(copied / "corpus"), copied)
    assert not any(queue.result(key) for key in queue.keys)


def test_a_trial_more_that_wins_trains_the_arm_again(finished, copied):
    """Final runs with another learning rate than the grid's best aren't those of the study."""
    shutil.rmtree(copied / "runs" / "trial-proxy-small-lr1e-02-rows1")
    queue = Queue(recipe(copied.parent), Store.open(copied / "corpus"), copied)
    assert queue.choice("proxy", "small") is None
    assert [key.name for key in queue.keys if key.arm == "proxy" and queue.result(key)] == [
        "trial-proxy-small-lr3e-03-rows1"
    ]
    shorter = recipe(copied.parent, trials__learning_rates=[3e-3])
    queue = Queue(shorter, Store.open(copied / "corpus"), copied)
    assert queue.choice("proxy", "small") == (3e-3, 1)
    assert [key.kind for key in queue.keys if queue.result(key)] == ["trial", "trial"]


def test_a_run_that_fails_is_listed_and_the_others_go_on(copied, monkeypatch):
    for key in ("final-bytes-small-1.6e+08-seed1", LAST):
        shutil.rmtree(copied / "runs" / key)
    carry_out = task_workers.carry_out

    def failing(job, *rest):
        if job.key.arm == "bytes":
            raise InputError("the disk is full: free some")
        carry_out(job, *rest)

    monkeypatch.setattr(task_workers, "carry_out", failing)
    results = ran(copied)
    failed = [{"key": "final-bytes-small-1.6e+08-seed1", "why": "the disk is full: free some"}]
    assert results["queue"] == {"done": 7, "left": 1, "failed": failed}
    assert LAST in [run["key"] for run in results["runs"]]
    monkeypatch.undo()
    assert ran(copied)["queue"] == {"done": 8, "left": 0, "failed": []}


def test_a_trial_that_diverges_is_never_chosen(copied):
    arms = {"bytes": VALUES["arms"]["bytes"]}
    changes = {"arms": arms, "claims": [], "seeds": [0], "run__optim": {"optimizer": "adamw", "max_skips": 3}}
    results = ran(copied, **changes, trials__learning_rates=[1e-2, 100.0])
    wild = next(trial for trial in results["trials"] if trial["learning_rate"] == 100.0)
    assert (wild["validation_bpb"], wild["chosen"]) == (None, False)
    assert results["arms"]["bytes"]["learning_rate"] == 1e-2
    assert results["queue"] == {"done": 3, "left": 0, "failed": []}


def test_the_test_side_is_opened_once(finished, copied):
    def opened():
        return [json.loads(line) for line in (copied / "opened.jsonl").read_text().splitlines()]

    assert len(opened()) == 1
    assert opened()[0]["runs"] == [run["key"] for run in finished[1]["runs"] if run["kind"] == "final"]
    ran(copied)
    assert len(opened()) == 1
    with pytest.raises(InputError, match="--reopen"):
        ran(copied, scoring__test_bytes=700)
    kept = json.loads((copied / "results.json").read_text())
    assert {run["test_bpb"] for run in kept["runs"]} == {None}
    assert len(opened()) == 1
    results = ran(copied, Limits(reopen=True), scoring__test_bytes=700)
    assert results["scored"]["test"]["bytes"] == 700
    assert [one.get("reopened", False) for one in results["opened"]] == [False, True]


def test_no_claim_leaves_the_test_side_closed(finished, copied):
    (copied / "opened.jsonl").unlink()
    for path in (copied / "runs").glob("*/scores-test.json"):
        path.unlink()
    results = ran(copied, claims=[])
    assert results["opened"] == []
    assert not (copied / "opened.jsonl").exists()
    assert results["arms"]["bytes"]["raw_bpb"]["split"] == "validation"
    assert set(results["compressors"]) == {"validation"}


def test_budgets_that_whole_steps_miss_are_refused(finished, copied):
    with pytest.raises(InputError, match=r"arm bytes at size small has .* FLOPs, .* % from the budget"):
        ran(copied, flops=[1.15e7])
    path = copied / "runs" / LAST / "result.json"
    write_checksummed(path, {**read_checksummed(path), "flops": 1.011 * 1.6e8})
    with pytest.raises(InputError, match=f"run {re.escape(LAST)} has .* FLOPs"):
        report_study(recipe(copied.parent, corpus={"sources": ["stdlib"]}), "toy", copied)


def test_projects_on_two_sides_are_refused(finished, tmp_path):
    """The test split's shard said to be of the train split, and a copy of it under its own name."""
    folder = shutil.copytree(finished[0] / "corpus", tmp_path / "corpus")
    store = Store.open(folder)
    check_apart(store, tmp_path / "fine")
    shards = store.manifest.shards
    tested = next(shard for shard in shards if shard.split == "test")
    doubled = (*shards, type(tested)(tested.file, "train", tested.documents, tested.text_bytes))
    object.__setattr__(store.manifest, "shards", doubled)
    for view in store.manifest.views:
        object.__setattr__(view, "files", (*view.files, view.files[shards.index(tested)]))
    project = min(document.project for document in store.documents("test"))
    said = rf"in the train split and in a held-out one \({project}"
    for _ in range(2):  # the second time it is known
        with pytest.raises(InputError, match=said):
            check_apart(store, tmp_path / "out")
    with pytest.raises(InputError, match=said):
        run_study(recipe(tmp_path), "toy", tmp_path / "run", lambda *_: store)
    assert not (tmp_path / "run" / "runs").exists()


def test_a_trick_that_bytes_lack_is_refused_before_anything_is_prepared(tmp_path):
    proxy = {**VALUES["arms"]["proxy"]}
    proxy["run"] = {**proxy["run"], "model": {"qk_norm": True}}
    unfair = recipe(tmp_path, arms={**VALUES["arms"], "proxy": proxy})
    with pytest.raises(InputError, match="qk_norm"):
        run_study(unfair, "toy", tmp_path / "run", None)


def test_results_refuse_final_runs_without_all_trials(copied, monkeypatch):
    shutil.rmtree(copied / "runs" / "trial-proxy-small-lr3e-03-rows1")
    queue = Queue(recipe(copied.parent), Store.open(copied / "corpus"), copied)
    monkeypatch.setattr(queue, "choice", lambda arm, size: (1e-2, 1))
    with pytest.raises(InputError, match=r"arm proxy at size small has final runs, but its trial at .* 0.003"):
        study_results(queue, "toy")
