"""`kill -9` at every border of a conversion and inside its training: the same command goes on to the same figures."""

import json
from dataclasses import replace

import pytest
from tests.convert.killed_conversions import borders, moments
from tests.convert.tiny import RECIPE, conversion

from byteproxy.convert.run_conversion import run_conversion

CLOCKED = ("seconds", "wall_seconds", "positions_per_second", "matmul_utilization", "memory_mb")


def figures(out):
    """What must not depend on the clock, nor on the folder."""
    results = json.loads((out / "results.json").read_text())
    cost = {name: value for name, value in results["cost"].items() if name not in CLOCKED}
    curve = [{name: value for name, value in point.items() if name != "seconds"} for point in results["curve"]]
    kept = {name: results[name] for name in ("model", "corpus", "validation", "before", "after", "samples")}
    return {**kept, "cost": cost, "curve": curve, "files": results["export"]["files"]}


@pytest.fixture(scope="module")
def killed(model, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    asked = conversion(model, text, replace(RECIPE, run=replace(RECIPE.run, checkpoint_seconds=0.0)))
    run_conversion(asked, folder / "whole")  # all that it compiles is there for the forks
    return folder, borders(asked, folder / "borders", folder / "told"), moments(asked, folder / "moments")


def test_killed_at_every_border_it_goes_on_to_the_same_figures(killed):
    folder, borders, _ = killed
    assert figures(folder / "borders") == figures(folder / "whole")
    for what in ("load the model", "score its tokens", "write as tokens", "train", "export", "write as bytes"):
        assert {f"before: {what}", f"after: {what}"} <= set(borders)
    assert {f"step {done}" for done in range(1, 9)} <= set(borders)


def test_killed_at_any_write_it_goes_on_to_the_same_figures(killed):
    folder, _, moments = killed
    assert figures(folder / "moments") == figures(folder / "whole")
    assert len(moments) >= 5
    model = {
        path.name: path.read_bytes() for path in (folder / "whole/model").iterdir() if path.suffix == ".safetensors"
    }
    for name, content in model.items():
        assert (folder / "moments/model" / name).read_bytes() == content


def test_nothing_partial_stays_behind(killed):
    folder, _, _ = killed
    for name in ("borders", "moments"):
        assert list((folder / name).glob("*.partial")) == []
