"""The page that `byteproxy views compare` leaves: a plot, tables, and what each figure means."""

from collections.abc import Mapping
from typing import Any

from byteproxy.evaluate.views.columns import NEURAL, SIZE, STABILITY
from byteproxy.report.mark_plots import Dot, scatter
from byteproxy.report.page import render

_AXES = "bytes per symbol", "distance when 10 % of the characters are deleted"


def compare_page(results: Mapping[str, Any]) -> str:
    """The page about what `view_figures.compare` returned, as HTML."""
    views = results["views"]
    numbers = {spec: number for number, spec in enumerate(views)}
    placed = {spec: (one["bytes_per_symbol"], one["stability"]["random_delete"]) for spec, one in views.items()}
    neural = {spec: one for spec, one in views.items() if "fuzzy" in one}
    tables = [("Size and speed", SIZE, views), ("Under edits, and at boundaries", STABILITY, views)]
    tables += [("Neural views", NEURAL, neural)] if neural else []
    return render(
        "views.html",
        title="Views side by side",
        results=results,
        numbers=numbers,
        series=len(numbers),
        dots=scatter("views", [Dot(spec, *at) for spec, at in placed.items() if None not in at], *_AXES),
        raw=results["stability_raw"]["random_delete"],
        tables=tables,
    )
