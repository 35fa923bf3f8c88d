"""The multipliers of whole studies: of cells that no run had to make, and of the studies that were made."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.study.toys import VALUES, recipe

from byteproxy.cli.study_tables import multipliers_table
from byteproxy.generate.score import Scored
from byteproxy.study.cells import Cells, Done
from byteproxy.study.multipliers import measured, measured_runs, multiplier_trends, multipliers
from byteproxy.study.queue import Job, Key
from byteproxy.study.transfer_words import without_curve

BYTES = VALUES["arms"]["bytes"]
ARMS = {
    "plain": BYTES,
    "tuned": BYTES,
    "proxy": VALUES["arms"]["proxy"],
    "bpe": {"role": "tokenizer", "run": {"views": ["bpe-300"], "mixture": {"preset": "symbols"}}},
}
LEVEL = {"plain": 2.2, "tuned": 2.0, "proxy": 1.9, "bpe": 1.0}
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def study_of(folder, flops, roles=None):
    """What is known of arms that fall by 0.1 a doubling, from LEVEL; a proxy is shown a quarter of bytes' raw text."""
    arms = {name: ARMS[name] for name in roles or ARMS if name in ARMS}
    study = recipe(folder, arms=arms, claims=[], flops=flops, seeds=[0, 1])
    sizes, found = np.array([100, 60, 40]), Cells()
    for cell in study.cells():
        text = cell.flops / {"proxy": 4, "bpe": np.inf}.get(cell.arm, 1)
        for seed in study.seeds_of(cell.arm):
            bpb = LEVEL[cell.arm] - 0.1 * np.log2(cell.flops / min(flops)) + 0.001 * seed * (cell.arm == "proxy")
            key = Key(f"{cell}{seed}", "final", *cell, seed)
            job = Job(key, study.config(cell.arm, cell.size), Path(), study.scoring, "")
            scored = {"validation": Scored(bpb * sizes, sizes)}
            found.runs.setdefault(cell, {})[seed] = Done(key, job, {"raw_text_bytes_seen": text}, scored)
    return {name: arm.role for name, arm in study.arms.items()}, measured(found)


def test_every_arm_against_the_best_bytes_of_its_cell(tmp_path):
    roles, known = study_of(tmp_path, [1e8, 2e8, 4e8])
    found = {(one["arm"], one["flops"]): one for one in multipliers(roles, known)}
    assert {arm for arm, _ in found} == {"plain", "proxy", "bpe"}, "the best has none: it is what others are read off"
    assert {one["against"] for one in found.values()} == {"tuned"}
    assert {one["split"] for one in found.values()} == {"validation"}

    proxy = found["proxy", 1e8]  # 1.9005 bits: 0.995 doublings of the text of `tuned`, for a quarter of it
    assert proxy["m"] == pytest.approx(4 * 2**0.995)
    assert proxy["break_even"] == 4
    assert (proxy["stands"], proxy["over"]) == ("above", "seeds and documents")
    assert proxy["low"] < proxy["m"] < proxy["high"]
    last = found["proxy", 4e8]
    assert (last["m"], last["more_than"], last["less_than"]) == (None, 4, None)
    assert last["refused"] == "better than tuned at any budget"
    plain = found["plain", 1e8]
    assert (plain["m"], plain["less_than"], plain["stands"]) == (None, 1, "below")
    assert plain["refused"] == "worse than tuned at the smallest budget"
    bpe = found["bpe", 1e8]
    assert (bpe["m"], bpe["break_even"], bpe["more_than"]) == (None, None, None)
    assert bpe["refused"] == "its bits are those of its symbols"
    json.dumps(list(found.values()), allow_nan=False)


def test_no_curve_without_several_budgets(tmp_path):
    roles, known = study_of(tmp_path, [1e8])
    found = list(multipliers(roles, known))
    (proxy,) = (one for one in found if one["arm"] == "proxy")
    assert proxy["refused"] == "tuned has one budget at this size, so there is no curve"
    assert (proxy["m"], proxy["low"], proxy["high"], proxy["more_than"]) == (None, None, None, proxy["break_even"])
    assert proxy["stands"] == "above"
    assert without_curve(found)
    assert not without_curve([])
    assert list(multiplier_trends(roles, known)) == []


def test_no_bytes_no_multiplier():
    runs = [
        {"kind": "final", "arm": "p", "size": "s", "flops_asked": 1.0, "seed": 0, "raw_text_bytes_seen": 9}
        | {"validation_bpb": 2.0, "test_bpb": None}
    ]
    (found,) = multipliers({"p": "proxy"}, measured_runs(runs))
    assert (found["m"], found["against"], found["refused"]) == (None, None, "no arm of raw bytes has this size")


def test_changes_are_between_budgets_at_which_it_was_read(tmp_path):
    roles, known = study_of(tmp_path, [1e8, 2e8, 4e8])
    found = {one["arm"]: one for one in multiplier_trends(roles, known)}
    assert set(found) == {"plain", "proxy"}
    assert (found["proxy"]["from"], found["proxy"]["to"]) == (1e8, 2e8)
    assert found["proxy"]["ratio"] == pytest.approx(1)
    assert found["proxy"]["direction"] == "unclear"
    assert (found["plain"]["from"], found["plain"]["to"]) == (2e8, 4e8) or found["plain"]["ratio"] is None


def test_the_table_shows_bounds_and_reasons(tmp_path):
    roles, known = study_of(tmp_path, [1e8, 2e8, 4e8])
    table = multipliers_table({"m": list(multipliers(roles, known))})
    columns = {column.header: list(column.cells) for column in table.columns}
    assert "< 1.00" in columns["m"]
    assert "> 4.00" in columns["m"]
    assert "its bits are those of its symbols" in columns["note"]


def made(name):
    found = json.loads((RESULTS / f"{name}.json").read_text())
    roles, known = {name: arm["role"] for name, arm in found["arms"].items()}, measured_runs(found["runs"])
    return {(one["arm"], one["size"], one["flops"], one["split"]): one for one in multipliers(roles, known)}


def test_studies_that_were_made_give_what_was_read_by_hand():
    """From the tables by a ruler; where the ruler went beyond the curve, the bound has to agree with it."""
    budget, size = made("study_budget_h100_2026-11-26"), made("study_size_h100_2026-11-26")

    def at(found, arm, flops):
        return next(one for key, one in found.items() if key[0] == arm and key[2] == flops)

    for arm, flops, m, even in (
        ("split_30", 1e14, 1.24, 1.42),
        ("split_30", 3e14, 1.35, 1.42),
        ("paper", 3e14, 2.0, 3.8),
    ):
        assert at(budget, arm, flops)["m"] == pytest.approx(m, abs=0.02)
        assert at(budget, arm, flops)["break_even"] == pytest.approx(even, abs=0.1)
    assert at(budget, "paper", 1e14)["m"] is None
    assert 0.9 < at(budget, "paper", 1e14)["less_than"] < 1.2
    assert 1.12 < at(size, "superposition", 2e14)["less_than"] < 1.42
    assert 1.40 < at(size, "superposition", 6e14)["more_than"] < 1.43
