"""A whole demo with a tiny model: what it leaves behind, and what becomes of it when it is stopped or killed."""

import json
import os
import signal
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.convert.killed_conversions import in_a_child
from tests.convert.tiny import RECIPE as CONVERT
from tests.demo.test_from_scratch import STUDY

from byteproxy.convert.conversion import Cut
from byteproxy.corpus.source import sources
from byteproxy.demo import with_model
from byteproxy.demo.arm import MIN_STEPS
from byteproxy.demo.demo_recipe import Demo
from byteproxy.demo.with_model import OWN, SIDES, demo_sources, run_with_model
from byteproxy.errors import InputError
from byteproxy.recipes.named import demo_recipe
from byteproxy.runs.load import load

CUTS = (Cut("def path_name(value):\n    retu", "rn"), Cut("import collec", "tions"))
RECIPE = replace(
    STUDY,
    convert=replace(CONVERT, samples=replace(CONVERT.samples, cuts=CUTS, drawn_cuts=4), speed=False),
)
SUMMARY = ("raw_bpb_before", "raw_bpb_after", "token_bpb", "scratch_raw_bpb")


@pytest.fixture(autouse=True)
def same_speed(monkeypatch):
    """Steps follow from a machine's speed, and here from one that is always the same."""
    monkeypatch.setattr(with_model, "training_rate", lambda config, store: 1e9 if config.views else 5e8)


@pytest.fixture(scope="module")
def asked(model, text):
    return Demo(RECIPE, str(model), (str(text),))


@pytest.fixture(scope="module")
def finished(asked, tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(with_model, "training_rate", lambda config, store: 1e9 if config.views else 5e8)
        return out, run_with_model(asked, out)


def figures(results):
    """What must not depend on the clock, nor on the folder."""
    kept = {name: results["convert"][name] for name in SUMMARY}
    kept |= {name: results["scratch"][name] for name in ("raw_bpb", "flops", "positions", "steps")}
    return {
        **kept,
        "samples": results["samples"],
        "cuts": results["cuts"],
        "flops": results["conversion"]["cost"]["flops"],
    }


def test_results_are_whole_and_written(finished):
    out, results = finished
    assert json.loads((out / "results.json").read_text()) == results
    assert all(0 < results["convert"][name] < 12 for name in SUMMARY)
    assert results["convert"]["token_bpb"] == results["conversion"]["before"]["token_bpb"]
    assert results["seconds"] > 0
    assert results["report"] == str(out / "report.html")
    assert (out / "report.html").read_text().count("from scratch") > 3
    assert {"python", "torch", "processor"} <= results["machine"].keys()
    assert results["scratch"]["steps"] >= MIN_STEPS
    assert [one["step"] for one in results["scratch"]["validation"]][-1] == results["scratch"]["steps"]


def test_both_get_the_same_flops_as_far_as_steps_are_whole(finished):
    _, results = finished
    found = results["convert"]
    step = max(
        found["flops"] / results["conversion"]["cost"]["steps"], found["scratch_flops"] / results["scratch"]["steps"]
    )
    assert abs(found["flops"] - found["scratch_flops"]) <= step


def test_everybody_goes_on_with_the_same_prompts(finished):
    _, results = finished
    written = results["cuts"]["written"]
    assert [(one["prompt"], one["rest"]) for one in written[:2]] == [(one.prompt, one.rest) for one in CUTS]
    assert [one["drawn"] for one in written] == [False] * 2 + [True] * (len(written) - 2)
    assert results["cuts"]["drawn"]["cuts"] > 0
    assert all({*SIDES} <= one.keys() for one in written)
    for kind, drawn in (("given", False), ("drawn", True)):
        own = [one for one in written if one["drawn"] is drawn]
        assert results["cuts"][kind]["cuts"] == len(own)
        for side in SIDES:
            assert results["cuts"][kind][side] == sum(one[side].startswith(one["rest"]) for one in own)
    assert [one["prompt"] for one in results["samples"]] == list(CONVERT.samples.prompts)


def test_the_model_is_where_readers_look_for_it_and_reads_bytes(finished):
    out, results = finished
    assert (
        load(out / "model").generate(CONVERT.samples.prompts[0], 20)[0].text.decode() == results["samples"][0]["after"]
    )
    assert "bpe" not in "".join(path.name for path in (out / "model").iterdir())


@pytest.mark.parametrize("where", ["train", "train bytes"])
def test_stopped_in_training_it_goes_on_to_the_same_figures(finished, asked, tmp_path, where):
    @contextmanager
    def stage(what, unit):
        def stop_halfway(done, total, note=""):
            if (what, done) == (where, 3):
                os.kill(os.getpid(), signal.SIGINT)

        yield stop_halfway

    with pytest.raises(KeyboardInterrupt):
        run_with_model(asked, tmp_path, stage)
    assert not (tmp_path / "results.json").exists()
    resumed = run_with_model(asked, tmp_path)
    assert resumed["resumed"]
    assert figures(resumed) == figures(finished[1])


def test_killed_again_and_again_it_goes_on_to_the_same_figures(finished, asked, tmp_path):
    """`kill -9` at the end of a stage of each part; the conversion's borders are `tests/convert/test_kills.py`'s."""
    out, told, left = tmp_path / "out", tmp_path / "told", ["train bytes", "export", "measure", "score its raw bytes"]

    @contextmanager
    def stage(what, unit):
        yield lambda *_: None
        if left and what.startswith(left[-1]):
            told.write_text(what)
            os.kill(os.getpid(), signal.SIGKILL)

    while not in_a_child(lambda: run_with_model(asked, out, stage) and None):
        assert told.read_text().startswith(left.pop())
    assert not left
    assert figures(json.loads((out / "results.json").read_text())) == figures(finished[1])


def test_other_settings_and_a_finished_one_start_clean(finished, asked, tmp_path):
    @contextmanager
    def stage(what, unit):
        if what == "export":
            raise KeyboardInterrupt
        yield lambda *_: None

    other = replace(asked, recipe=replace(RECIPE, seed=1, convert=replace(RECIPE.convert, evaluations=1)))
    with pytest.raises(KeyboardInterrupt):
        run_with_model(other, tmp_path, stage)
    results = run_with_model(asked, tmp_path)
    assert not results["resumed"]
    assert figures(results) == figures(finished[1])


def test_a_model_that_is_not_there_is_one_line(asked, tmp_path):
    with pytest.raises(InputError, match="there is no model"):
        run_with_model(replace(asked, model=str(tmp_path / "none.gguf")), tmp_path / "out")


def test_the_recipe_holds_out_our_own_code_and_nothing_else():
    recipe = demo_recipe()
    assert recipe.convert.split.hold_out == (f"validation:{OWN}/{OWN}",)
    assert recipe.convert.split.validation == recipe.convert.split.test == 0
    stdlib, own = sources(demo_sources())
    assert {file.project for unit in own.units() for file in unit.files} == {OWN}
    assert own.name == OWN != stdlib.name
    assert recipe.convert.run.shape.context_bytes == recipe.shape.context_bytes, "both read as much"
