"""Every figure of README, docs/findings.md and docs/convert.md stands in a file of benchmarks/results.

Bits per byte are written with three decimals, and only these are looked for: in tables and sentences of reports, and in
the results of studies, without what their curves and pages show on the way.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
FIGURE = re.compile(r"(?<![\w.])\d+\.\d{3}(?!\d)")
PARTS = (
    "cells",
    "differences",
    "token_differences",
    "references",
    "scored",
    "compressors",
    "runs",
    "robustness",
    "kinds_of_text",
)
ON_THE_WAY = ("curve", "viewer")
NAMES = {"mean", "means", "low", "high", "bpb", "ppmd", "xz", "zstd"}


def named(value: Any, name: str) -> Iterator[float]:
    """Numbers that are called what a result is called, or are of a seed."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key not in ON_THE_WAY:
                yield from named(one, name if key.isdigit() else key)
    elif isinstance(value, list):
        for one in value:
            yield from named(one, name)
    elif isinstance(value, float) and (name in NAMES or name.endswith("bpb") or name == "seeds"):
        yield abs(value)


@pytest.fixture(scope="module")
def known() -> list[float]:
    found: set[float] = set()
    for path in sorted((ROOT / "benchmarks" / "results").iterdir()):
        if path.suffix == ".md":
            found.update(float(one) for one in re.findall(r"(?<![\w.])\d+\.\d{3,}", path.read_text()))
        elif path.suffix == ".json":
            results = json.loads(path.read_text())
            found.update(one for part in PARTS for one in named(results.get(part), part))
    return sorted(found)


def untraceable(text: str, known: list[float]) -> list[str]:
    half = 0.0005 + 1e-9  # of the last decimal that is written
    return [one for one in FIGURE.findall(text) if not any(abs(float(one) - value) <= half for value in known)]


@pytest.mark.parametrize("page", ["README.md", "docs/findings.md", "docs/convert.md"])
def test_each_figure_of_a_page_is_in_a_results_file(page, known):
    text = (ROOT / page).read_text()
    assert FIGURE.search(text)
    assert untraceable(text, known) == []


def test_a_figure_that_nobody_saw_is_found(known):
    assert untraceable("bytes end at 1.487, and the paper's mixture at 9.999 (-0.0005).", known) == ["9.999"]
