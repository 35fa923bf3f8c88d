"""Benchmarks run by themselves and for minutes; what they take from byteproxy has to be there all the same."""

import ast
import csv
import importlib
import json
import math
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "benchmarks").rglob("*.py"))
OURS = ("byteproxy", "tests")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_benchmark_imports_is_there(path):
    taken = [
        (node.module, name.name)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in OURS
        for name in node.names
    ]
    missing = [f"{module}.{name}" for module, name in taken if not _is_there(module, name)]
    assert not missing


def _is_there(module, name):
    try:
        return hasattr(importlib.import_module(module), name) or bool(importlib.import_module(f"{module}.{name}"))
    except ImportError:
        return False


LEADERBOARD = ROOT / "benchmarks/leaderboard/records.csv"


def _of_source(line):
    """The figure of a record as its file has it, and over how many seeds it is."""
    study, _, arm = line["recipe"].partition(": ")
    figures = json.loads((ROOT / "benchmarks" / line["source"]).read_text(encoding="utf-8"))
    assert figures["study"] == study
    size, flops = re.match(r"(\S+) at (\S+) FLOPs", line["setting"]).groups()
    where = {"arm": arm, "size": size, "flops": float(flops)}
    if line["setting"].endswith("trial"):
        (found,) = [one for one in figures["trials"] if where.items() <= one.items() and one["chosen"]]
        return found["validation_bpb"], 1
    cells = [one for one in figures["cells"] if where.items() <= one.items()]
    (found,) = [one for one in cells if one.get("split", one.get("side")) == line["split"]]  # its older name
    return found["mean"], len(found["seeds"])


def test_records_are_records_and_stand_in_their_sources():
    with LEADERBOARD.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    best: dict[str, float] = {}
    for line in lines:
        bpb, seeds = _of_source(line)
        assert (line["bpb"], line["seeds"]) == (f"{bpb:.3f}", str(seeds)), line
        assert bpb < best.get(line["setting"], math.inf), line
        assert line["reason"], line
        best[line["setting"]] = bpb
    assert len(best) > 5
