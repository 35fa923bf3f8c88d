"""`byteproxy mixture preview` as a user meets it."""

import base64
import re
from dataclasses import asdict
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tests.cli.commands import explained, in_process, keeps_to_itself, last_object, refusal
from tests.mixture.corpora import corpus as make_corpus
from tests.toy_corpus import toy_documents

from byteproxy.config import from_toml
from byteproxy.corpus.split import SplitOptions
from byteproxy.demo.demo_recipe import DemoRecipe
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.preview import planned, step_figures, summed
from byteproxy.mixture.schedule import PRESETS, Mixture, Phase
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.vocab import PAD

RUN = """
stop = "60 steps"
seed = 7
views = ["codebook-1024"]
[shape]
sequences_per_step = 3
sequence_length = 512
context_bytes = 128
[mixture]
packing = "whole"
count = "positions"
phases = [{share = 1.0, mode = "one", rate = 0.3}]
"""

MIXTURE = Mixture(phases=(Phase(1.0, "one", 0.3),), packing="whole", count="positions")
"""That of the run."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a corpus "c" of two sources with two views."""
    folder = tmp_path_factory.mktemp("mixture")
    make_corpus(folder / "c")
    return folder


@pytest.fixture
def preview(monkeypatch, capsys, folder):
    monkeypatch.chdir(folder)
    run = in_process(monkeypatch, capsys)
    return lambda *arguments: run("mixture", "preview", *arguments)


def stream(views, mixture, shape=None, seed=0, steps=1000):
    return Stream(Store.open(Path("c")), views, mixture, shape or Shape(), seed, steps)


def test_the_paper_preset_comes_out_as_asked(preview):
    results = last_object(preview("c", "--recipe", "paper", "--json"))
    mine = stream(("bpe-270",), Mixture("paper"))
    expected = [step_figures(mine, plan) for plan, _ in planned(mine, 0, 200)]
    assert results["steps"] == expected
    assert results["total"] == summed(expected, "segments")
    assert abs(results["total"]["deviation"]) < 4
    assert results["total"]["share"]["segments"] == pytest.approx(results["total"]["asked"], abs=0.03)
    assert results["mixture"]["phases"] == [asdict(phase) for phase in PRESETS["paper"]]
    assert (results["views"], results["total_steps"], results["seed"]) == (["bpe-270"], 1000, 0)
    assert results["shape"] == asdict(Shape())
    state = State()
    while state.step < 200:
        _, state = mine.plan(state)
    assert results["epochs"] == mine.epochs(state)
    assert set(results["epochs"]) == {"one", "two"}


def test_a_table_of_about_twenty_lines_fits_a_terminal(preview):
    status, stdout, _ = preview("c", "--steps", "100:200", "--total", "500")
    assert status == 0
    lines = [line.split() for line in stdout.splitlines() if re.match(r" ?\d+–\d+ ", line)]
    assert len(lines) == 20
    assert lines[0][0] == "100–104"
    mine = stream(("bpe-270",), Mixture("paper"), steps=500)
    first = summed([step_figures(mine, plan) for plan, _ in planned(mine, 100, 105)], "segments")
    share = first["share"]
    expected = [first["asked"], share["segments"], share["bytes"], share["positions"]]
    assert lines[0][-8:-4] == [f"{100 * value:.1f}" for value in expected]
    assert lines[0][-4] == f"{first['deviation']:+.1f}"
    (total,) = [line.split() for line in stdout.splitlines() if re.match(r" ?all ", line)]
    assert len(total) >= 9
    assert max(len(line) for line in stdout.splitlines() if "–" in line) <= 80
    assert re.search(r"step 199: one [\d.]+, two [\d.]+", stdout), "epochs of each source"


def test_rows_are_drawn_as_they_are(preview):
    status, stdout, _ = preview("c", "--recipe", "paper", "--steps", "5:6", "--total", "20")
    assert status == 0
    assert "Rows of step 5: r raw, c bpe-270, | a document begins" in stdout
    drawn = [line.split()[1] for line in stdout.splitlines() if re.fullmatch(r" +\d [rc|]{96}", line)]
    mine = stream(("bpe-270",), Mixture("paper"), steps=20)
    ((plan, _),) = planned(mine, 5, 6)
    rows = mine.rows(plan)
    assert len(drawn) == 2
    begins = np.cumsum([0, *rows.lengths])
    for number, line in enumerate(drawn):
        bounds = [number * 2048 + round(2048 * cell / 96) for cell in range(97)]
        for cell, (begin, end) in zip(line, pairwise(bounds), strict=True):
            inside = rows.representations[begin:end]
            document = any(begin <= at < end and at != number * 2048 for at in begins.tolist())
            assert cell == ("|" if document else "c" if inside.mean() > 0.5 else "r")


def test_the_page_has_a_plot_and_the_rows(preview, folder):
    status, stdout, _ = preview("c", "--out", "page.html")
    assert status == 0
    assert "Page: page.html" in stdout
    page = (folder / "page.html").read_text()
    assert keeps_to_itself(page)
    shares, rows = (base64.b64decode(held).decode() for held in re.findall(r"data:text/csv;base64,([^\"]*)", page))
    assert {line.partition(",")[0] for line in shares.splitlines()[1:]} == {"asked", "segments", "bytes", "positions"}
    mine = stream(("bpe-270",), Mixture("paper"))
    plan, _ = mine.plan(State())
    assert len(rows.splitlines()) - 1 == len(plan.pieces)
    assert "raw: " in page


def test_a_study_gives_arm_shape_and_seed(preview):
    with (files("byteproxy") / "recipes" / "demo.toml").open() as recipe:
        study = from_toml(Path(recipe.name), DemoRecipe)
    results = last_object(preview("c", "--recipe", "demo", "--steps", "0:3", "--json"))
    assert results["arm"] == "proxy"
    assert results["shape"] == asdict(study.shape)
    assert results["seed"] == study.seed
    assert results["views"] == ["bpe-270"], "the corpus has none of the recipe's size, so the first one"
    results = last_object(preview("c", "--recipe", "demo", "--arm", "bytes", "--steps", "0:3", "--json"))
    assert results["views"] == []
    assert results["total"]["share"]["segments"] == 0


def test_a_run_gives_everything(preview, folder):
    (folder / "run.toml").write_text(RUN)
    results = last_object(preview("c", "--recipe", "run.toml", "--steps", ":", "--json"))
    assert results["views"] == ["codebook-1024"]
    assert (results["total_steps"], results["seed"], results["shape"]["sequences_per_step"]) == (60, 7, 3)
    assert len(results["steps"]) == 60
    assert results["total"]["padding"] > 0
    mine = stream(("codebook-1024",), MIXTURE, Shape(3, 512, 128), 7, 60)
    assert results["steps"][9] == step_figures(mine, next(iter(planned(mine, 9, 10)))[0])
    rows = mine.rows(mine.plan(State())[0])
    empty = [line for line in (rows.symbols == PAD).reshape(3, 512) if line.sum() > 20]
    _, stdout, _ = preview("c", "--recipe", "run.toml")
    assert len(empty) == sum(line.endswith("...") for line in stdout.splitlines()) > 0
    assert "rates are shares of positions" in stdout
    other = last_object(preview("c", "--recipe", "run.toml", "--views", "bpe-270", "codebook-1024", "--json"))
    assert len(other["steps"][0]["segments"]) == 3
    assert len(other["steps"]) == 60, "all of fewer than 200"


def test_a_bare_mixture_is_a_recipe(preview, folder):
    (folder / "bare.toml").write_text('preset = "symbols"\n')
    results = last_object(preview("c", "--recipe", "bare.toml", "--steps", "0:4", "--json"))
    assert results["total"]["share"]["positions"] == 1
    assert results["total"]["deviation"] == 0


def test_without_a_view_only_bytes_can_be_shown(preview, folder):
    prepare_documents(toy_documents(), folder / "plain", SplitOptions())
    assert "has no aligned view" in refusal(preview("plain"))
    results = last_object(preview("plain", "--recipe", "bytes", "--json"))
    assert results["total"]["positions"] == [200 * 4096]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["c", "--recipe", "nonesuch"], "there is no recipe 'nonesuch': name a preset (paper, coarse_first"),
        (["c", "--recipe", "demo", "--arm", "third"], "no arm 'third': name one of bytes, proxy"),
        (["c", "--recipe", "paper", "--arm", "proxy"], "recipe paper has no arms"),
        (["c", "--steps", "7:3"], "steps is '7:3'"),
        (["c", "--steps", "0:200", "--total", "100"], "within the run's 100 steps"),
        (["c", "--total", "0"], "total is 0"),
        (["c", "--views", "nonesuch"], "the corpus has no view 'nonesuch'"),
        (["c", "--recipe", "wrong.toml"], "rat"),
        (["c", "--recipe", "broken.toml"], "cannot read broken.toml"),
        (["nowhere"], "nowhere holds no finished corpus"),
    ],
    ids=" ".join,
)
def test_mistakes_are_one_line(preview, folder, arguments, said):
    (folder / "wrong.toml").write_text("phases = [{share = 1.0, rat = 0.3}]\n")
    (folder / "broken.toml").write_text("= nothing\n")
    assert said in refusal(preview(*arguments, "--out", "mistake.html"))
    assert not (folder / "mistake.html").exists()


def test_every_option_is_explained(monkeypatch, capsys):
    byteproxy = in_process(monkeypatch, capsys)
    _, text, _ = byteproxy("mixture", "preview", "--help")
    for option in ("DIR", "--recipe", "--arm", "--steps", "--total", "--views", "--out", "--json"):
        assert explained(text, option), option
    _, about, _ = byteproxy("mixture", "--help")
    assert "byteproxy mixture preview " in about


def test_a_view_named_twice_is_refused(preview):
    twice = ("--views", "codebook-1024", "codebook-1024")
    assert "views names codebook-1024 more than once" in refusal(preview("c", *twice))
    assert "--views is given without a value" in refusal(preview("c", "--views"))
