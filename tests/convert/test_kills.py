"""`kill -9` at every border of a conversion and inside its training: the same command goes on to the same figures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import GUARD_SECONDS

SCRIPT = Path(__file__).with_name("killed_conversions.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(SCRIPT.parents[2]), *sys.path]))}
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
    command = [sys.executable, SCRIPT, model, text, folder]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=4 * GUARD_SECONDS)
    assert done.returncode == 0, done.stderr
    return folder, *json.loads(done.stdout)


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
