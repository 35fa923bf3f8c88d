"""Who is compared with whom, and the lines through gaps, over cells that no run had to make."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.study.toys import VALUES, recipe

from byteproxy.generate.score import Scored
from byteproxy.study.cells import Cells, Done
from byteproxy.study.compare import against, differences, fits
from byteproxy.study.queue import Job, Key
from byteproxy.study.recipe import Cell
from byteproxy.study.results import main_cell

BYTES = VALUES["arms"]["bytes"]
ARMS = {
    "plain": BYTES,
    "tuned": BYTES,
    "worst": BYTES,
    "bags": {**BYTES, "role": "control"},
    "proxy": VALUES["arms"]["proxy"],
}
LEVEL = {"plain": 2.2, "tuned": 2.0, "worst": 2.5, "bags": 1.9, "proxy": 1.8}
CLAIM = {"name": "c", "arms": ["plain", "proxy"], "against": ["plain"]}


def cells_of(study, tested=("plain", "proxy"), shrinks=0.0):
    """Final runs that came to LEVEL, seeds apart by 0.01; the proxy's gains shrink with each doubling of compute."""
    sizes = np.array([100, 60, 40])
    found = Cells()
    for cell in study.cells():
        for seed in study.seeds_of(cell.arm):
            doublings = np.log2(cell.flops / min(study.flops)) + (cell.size == "large")
            bpb = LEVEL[cell.arm] + 0.01 * seed + (shrinks * doublings if cell.arm == "proxy" else 0)
            scored = {"validation": Scored(bpb * sizes, sizes)}
            if cell.arm in tested:
                scored["test"] = Scored((bpb - 0.1) * sizes, sizes)
            key = Key(f"{cell}{seed}", "final", *cell, seed)
            job = Job(key, study.config(cell.arm, cell.size), Path(), study.scoring, "")
            found.runs.setdefault(cell, {})[seed] = Done(key, job, {}, scored)
    return found


def test_claims_controls_and_the_best_bytes_are_what_others_are_held_against(tmp_path):
    study = recipe(tmp_path, arms=ARMS, claims=[CLAIM])
    assert against(study, cells_of(study)) == ["plain", "bags", "tuned"]
    free = recipe(tmp_path, arms=ARMS, claims=[])
    assert against(free, cells_of(free)) == ["plain", "tuned", "worst", "bags"]


def test_differences_are_on_the_sides_that_both_were_scored_on(tmp_path):
    study = recipe(tmp_path, arms=ARMS, claims=[CLAIM])
    found = {(one["arm"], one["against"], one["split"]): one for one in differences(study, cells_of(study))}
    assert ("proxy", "plain", "test") in found
    assert ("proxy", "bags", "test") not in found
    one = found["proxy", "bags", "validation"]
    assert one["bpb"] == pytest.approx(-0.1)
    assert (one["low"], one["high"]) == pytest.approx((-0.1, -0.1))
    assert one["percent"] == pytest.approx(-10 / 1.905)
    assert one["means"][0] - one["means"][1] == pytest.approx(one["bpb"])
    assert one["means"][1] == pytest.approx(1.905)
    assert not any(arm == other for arm, other, _ in found)


def test_an_arm_of_one_seed_is_held_against_that_seed_of_others(tmp_path):
    """And says nothing of the spread over seeds, whatever the others know of theirs."""
    arms = {**ARMS, "proxy": {**ARMS["proxy"], "seeds": [1]}}
    study = recipe(tmp_path, arms=arms, claims=[CLAIM], flops=[1e8, 2e8])
    cells = cells_of(study)
    (one, _) = [found for found in differences(study, cells) if (found["arm"], found["split"]) == ("proxy", "test")]
    assert one["means"] == pytest.approx([1.71, 2.11])
    assert (one["low"], one["high"], one["seeds"]) == (None, None, 1)
    assert one["documents"]["low"] == pytest.approx(-0.4)
    queue = SimpleNamespace(recipe=study, parameters=lambda size: 3000)
    (fit,) = [found for found in fits(queue, cells) if (found["arm"], found["against"]) == ("proxy", "plain")]
    assert [point["seed"] for point in fit["points"]] == [1, 1]
    assert (fit["low"], fit["high"]) == (None, None)


@pytest.mark.parametrize("tested", [("plain", "proxy"), ("plain",)])
def test_gaps_over_compute_and_over_parameters(tmp_path, tested):
    sizes = {"small": {}, "large": {"model": {"layers": 2}}}
    study = recipe(tmp_path, arms=ARMS, claims=[CLAIM], flops=[1e8, 2e8, 4e8], sizes=sizes)
    parameters = {"small": 3000, "large": 6000}
    queue = SimpleNamespace(recipe=study, parameters=parameters.__getitem__)
    found = {
        (fit["arm"], fit["over"]): fit
        for fit in fits(queue, cells_of(study, tested, shrinks=0.05))
        if fit["against"] == "plain"
    }
    compute = found["proxy", "flops"]
    split, level = ("test", 2.1) if len(tested) == 2 else ("validation", 2.2)
    assert compute["split"] == split
    assert sorted({point["x"] for point in compute["points"]}) == [1e8, 2e8, 4e8]
    assert {point["seed"] for point in compute["points"]} == {0, 1}
    assert compute["slope"] == pytest.approx(100 * 0.05 / level, rel=0.01)
    assert compute["low"] < compute["slope"] < compute["high"]
    assert compute["at_largest"]["gap"] == pytest.approx(100 * (-0.4 + 0.15) / level, rel=0.01)
    assert compute["vanishes_at"] == pytest.approx(4e8 * 2**5, rel=0.05)
    over_size = found["proxy", "parameters"]
    assert {point["x"] for point in over_size["points"]} == {3000.0, 6000.0}
    assert over_size["slope"] == pytest.approx(100 * 0.05 / level, rel=0.01)


def test_a_cell_is_whole_with_all_seeds_of_the_arms_that_are_to_be_there(tmp_path):
    extra = {**BYTES, "flops": [2e8], "seeds": [1]}
    study = recipe(tmp_path, arms={**ARMS, "extra": extra}, claims=[], flops=[1e8, 2e8])
    LEVEL["extra"] = 2.0
    cells = cells_of(study)
    cells.planned = {cell: study.seeds_of(cell.arm) for cell in study.cells()}
    arms = tuple(study.arms)
    assert cells.left("small", 1e8, arms) == []
    assert cells.left("small", 2e8, arms) == []
    del cells.runs[Cell("extra", "small", 2e8)]
    assert cells.left("small", 1e8, arms) == []
    assert cells.left("small", 2e8, arms) == ["extra"]
    assert cells.left("small", 2e8, ["plain", "proxy"]) == []
    del cells.runs[Cell("proxy", "small", 1e8)][0]
    assert cells.left("small", 1e8, arms) == ["proxy"]
    assert cells.left("large", 1e8, arms) is None
    assert cells.left("small", 1e8, ["extra"]) is None


def test_the_main_cell_is_where_a_claim_is_whole_though_a_smaller_one_has_all_its_few_arms(tmp_path):
    """As where --only took the arms of claims, most of which have the largest budget alone."""
    late = {"flops": [2e8], "seeds": [0]}
    arms = {"plain": BYTES, "proxy": ARMS["proxy"], "tuned": {**BYTES, **late}, "bags": {**ARMS["bags"], **late}}
    claims = [{"name": "c", "arms": ["plain", "proxy", "tuned"], "against": ["plain"]}]
    study = recipe(tmp_path, arms=arms, claims=claims, flops=[1e8, 2e8])
    cells = cells_of(study)
    cells.planned = {cell: study.seeds_of(cell.arm) for cell in study.cells()}
    queue = SimpleNamespace(recipe=study, parameters=lambda size: 3000)
    assert main_cell(queue, cells) == ("small", 2e8)
    del cells.runs[Cell("bags", "small", 2e8)]
    assert main_cell(queue, cells) == ("small", 2e8)
    del cells.runs[Cell("tuned", "small", 2e8)]
    assert main_cell(queue, cells) == ("small", 1e8)
    del cells.runs[Cell("plain", "small", 1e8)]
    assert main_cell(queue, cells) is None
    alone = recipe(tmp_path, arms=arms, claims=[{**claims[0], "arms": ["plain", "tuned"]}], flops=[1e8, 2e8])
    cells.runs[Cell("plain", "small", 1e8)] = cells.runs[Cell("plain", "small", 2e8)]
    del cells.runs[Cell("proxy", "small", 1e8)]
    assert main_cell(SimpleNamespace(recipe=alone, parameters=queue.parameters), cells) == ("small", 1e8)
