"""`byteproxy study` as a user meets it."""

import json
import sys

import pytest
import tomli_w
from tests.study.toys import VALUES, changed
from tests.toy_corpus import toy_store

from byteproxy.cli import main as cli
from byteproxy.cli import study
from byteproxy.errors import InputError
from byteproxy.study import task_workers


@pytest.fixture(scope="module")
def toml(tmp_path_factory):
    """A study of one trial and one final run, with a corpus that is there."""
    folder = tmp_path_factory.mktemp("command")
    toy_store(folder / "corpus")
    arms = {"bytes": VALUES["arms"]["bytes"]}
    values = changed(VALUES, corpus__path=str(folder / "corpus"), arms=arms, claims=[], seeds=[0])
    path = folder / "toy.toml"
    path.write_text(tomli_w.dumps(changed(values, trials__learning_rates=[1e-2])))
    return path


def byteproxy(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["byteproxy", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code
    return 0


def test_planned_run_and_reported(toml, tmp_path, monkeypatch, capsys):
    command = "study", toml, "--out", tmp_path / "out"
    assert byteproxy(monkeypatch, *command, "--plan", "--json") == 0
    printed, said = capsys.readouterr()
    planned = json.loads(printed)
    assert [run["state"] for run in planned["runs"]] == ["to do", "waits for trials"]
    assert planned["minutes_left"] > 0
    assert "2 of 2 runs are left" in said
    assert not (tmp_path / "out" / "runs").exists()

    assert byteproxy(monkeypatch, *command) == 0
    printed, said = capsys.readouterr()
    assert "[2/2] final-bytes-small-1.6e+08-seed0" in said
    heading, row = (line for line in printed.splitlines() if line.startswith((" arm", " bytes")))
    assert heading.index("split") == row.index("validation"), "columns line up"
    assert f"Report: {tmp_path / 'out' / 'report.html'}" in printed

    (tmp_path / "out" / "report.html").unlink()
    picture = tmp_path / "first.svg"
    assert byteproxy(monkeypatch, *command, "--report", "--picture", picture, "--json") == 0
    assert picture.read_text().startswith("<svg")
    results = json.loads(capsys.readouterr().out)
    assert results["study"] == "toy"
    assert results["queue"]["done"] == 2
    assert (tmp_path / "out" / "report.html").exists()

    assert byteproxy(monkeypatch, *command, "--plan", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert [run["state"] for run in planned["runs"]] == ["done", "done"]
    assert planned["minutes_left"] == 0


def test_fields_of_a_recipe_are_given_by_name(toml, tmp_path, monkeypatch, capsys):
    changes = "--set", "seeds=[3, 4]", "--set", "flops=[1.6e8, 3.2e8]", "--set", "corpus.published=2026-01-01"
    assert byteproxy(monkeypatch, "study", toml, "--out", tmp_path / "out", "--plan", "--json", *changes) == 0
    runs = [run["key"] for run in json.loads(capsys.readouterr().out)["runs"]]
    assert [run for run in runs if run.startswith("final")] == [
        f"final-bytes-small-{flops}-seed{seed}" for flops in ("1.6e+08", "3.2e+08") for seed in (3, 4)
    ]
    assert 'published = "2026-01-01"' in (tmp_path / "out/study.toml").read_text()


def test_other_text_has_no_date_but_the_one_that_is_given():
    asked = study._changes("", ["one", "two"], ["arms.bytes.about=raw bytes, and no more"])
    assert asked["corpus"] == {"sources": ["one", "two"], "path": "", "published": ""}
    assert asked["arms"] == {"bytes": {"about": "raw bytes, and no more"}}
    assert study._changes("", ["one"], ["corpus.published=2026-02-03"])["corpus"]["published"] == "2026-02-03"
    assert study._changes("models/llama", [], [])["model"]["path"].endswith("/models/llama")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["study", "nothing"], "there is no study 'nothing'"),
        (["study", "demo"], "demo is no study"),
        (["study", "1m"], "1m is no study"),
        (["study", "TOML", "--only", "nobody"], "there is no arm 'nobody'"),
        (["study", "TOML", "--jobs", "0"], "jobs is 0"),
        (["study", "TOML", "--minutes", "-1"], "minutes is -1"),
        (["study", "TOML", "--plan", "--report"], "give one of them"),
        (["study", "TOML", "--set", "seeds"], "--set 'seeds'"),
        (["study", "TOML", "--set", "seads=[0]"], "seads"),
        (["study", "TOML", "--model", "x"], "no arm begins with it"),
        (["train", "TOML"], "is a study of several arms"),
    ],
)
def test_what_can_be_mended_is_said(toml, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    arguments = [str(toml) if one == "TOML" else one for one in arguments]
    assert byteproxy(monkeypatch, *arguments) == 2
    assert said in capsys.readouterr().err


def test_the_mixture_of_an_arm_can_be_seen(toml):
    from byteproxy.recipes.named import recipe_of

    found = recipe_of(str(toml), "bytes")
    assert (found.arm, found.mixture.preset, found.shape.sequence_length) == ("bytes", "bytes", 64)


def test_the_status_tells_what_became_of_the_runs(toml, tmp_path, monkeypatch, capsys):
    """2 where all failed, with the first one's reason in the last line; 1 where some did; 0 where none did."""
    trained, calls = task_workers.carry_out, []

    def failing(job, *rest):
        calls.append(job.key)
        if job.key.kind in broken:
            raise InputError("the disk is full: free some")
        trained(job, *rest)

    monkeypatch.setattr(task_workers, "carry_out", failing)
    command = "study", toml, "--out", tmp_path / "out"
    broken = ("trial", "final")
    assert byteproxy(monkeypatch, *command, "--json") == 2
    printed, said = capsys.readouterr()
    assert json.loads(printed)["queue"]["done"] == 0
    last = said.splitlines()[-1]
    assert last.startswith("byteproxy: every run of ")
    assert last.endswith("trial-bytes-small-lr1e-02-rows1: the disk is full: free some")
    broken = ("final",)
    assert byteproxy(monkeypatch, *command) == 1
    printed, _ = capsys.readouterr()
    assert "failed: final-bytes-small-1.6e+08-seed0: the disk is full: free some" in printed
    broken = ()
    assert byteproxy(monkeypatch, *command) == 0
    assert [key.kind for key in calls] == ["trial", "trial", "final", "final"]
