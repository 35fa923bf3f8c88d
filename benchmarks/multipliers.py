"""Prints the transfer multipliers of the committed studies, as Markdown, from the files in benchmarks/results.

Those files keep bits per byte of each run and not of each document, so intervals are over seeds, and a cell with one
seed has none. Studies made since 2026-11-30 have intervals over documents too, in their own results. Run it as
`.venv/bin/python benchmarks/multipliers.py`.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from byteproxy.report.multiplier_plots import shown_multipliers
from byteproxy.study.multipliers import measured_runs, multiplier_trends, multipliers
from byteproxy.study.transfer_words import NO_CURVE, change_said, ends_said, multiplier_said, without_curve
from byteproxy.study.units import DASH, NO_BREAK, fixed, si

FOLDER = Path(__file__).parent / "results"
ABOUT = """# Transfer multipliers of the studies so far

`.venv/bin/python benchmarks/multipliers.py`, of the files `study_*.json` in this folder, which name the machine, the
corpus, the seeds and every run of each study. m is the raw text that bytes alone need for the arm's bits per byte, over
the raw text that the arm was shown; an arm beats bytes at equal FLOPs where m is above its break-even
([definition](../../docs/design.md#transfer-multiplier)). Intervals of 95 % are over seeds, as the files keep no bits of
single documents. Where the curve of bytes ends, `<` and `>` are bounds. Test text where the split was opened, else
validation text."""


def results(path: Path) -> dict[str, Any]:
    """A study's results with its multipliers."""
    found: dict[str, Any] = json.loads(path.read_text())
    roles, known = {name: arm["role"] for name, arm in found["arms"].items()}, measured_runs(found["runs"])
    changes = list(multiplier_trends(roles, known))
    return {**found, "m": list(multipliers(roles, known)), "m_trends": changes}


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a study's table, and what changes with compute."""
    if without_curve(found["m"]):
        yield f"No multipliers: {NO_CURVE}. What each arm would have to pass:\n"
    columns = (
        "size",
        "FLOPs",
        "arm",
        "seeds",
        "split",
        "raw text",
        "m",
        "95 % over seeds",
        "break-even",
        "m is",
        "why no m",
    )
    yield f"| {' | '.join(columns)} |"
    yield f"| --- | ---: | --- | ---: | --- |{' ---: |' * 4} --- | --- |"
    finals = [run for run in found["runs"] if run["kind"] == "final"]
    seeds = Counter((run["arm"], run["size"], run["flops_asked"]) for run in finals)
    for one in shown_multipliers(found):
        cells = (
            one["size"],
            f"{one['flops']:.0e}".replace("e+", "e"),
            f"`{one['arm']}`",
            str(seeds[one["arm"], one["size"], one["flops"]]),
            one["split"],
            si(one["raw_text"], "B"),
            multiplier_said(one),
            ends_said(one),
            fixed(one["break_even"], 2),
            one["stands"] or DASH,
            one["refused"] or "",
        )
        yield f"| {' | '.join(cells)} |".replace(NO_BREAK, " ")
    tested = {(one["arm"], one["size"]) for one in found["m_trends"] if one["split"] == "test"}
    said = [
        f"- `{one['arm']}`, {one['size']}: {change_said(one)}".replace(NO_BREAK, " ")
        for one in found["m_trends"]
        if one["split"] == "test" or (one["arm"], one["size"]) not in tested
    ]
    if said:
        yield from ("", *said)


if __name__ == "__main__":
    print(ABOUT)
    for path in sorted(FOLDER.glob("study_*.json")):
        print(f"\n## [{path.stem}]({path.name})\n")
        print("\n".join(table(results(path))))
