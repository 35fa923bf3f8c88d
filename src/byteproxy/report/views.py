"""The page that `byteproxy views compare` leaves: a plot, a table, and what each figure means."""

from collections.abc import Mapping, Sequence
from typing import Any

import byteproxy
from byteproxy.evaluate.amounts import sized
from byteproxy.evaluate.views.columns import NEURAL, SIZE, STABILITY, Column
from byteproxy.report.page import figure, framed, json_details, plural, swatch, table, text, wrapped
from byteproxy.report.scatter import Dot, scatter

_AXES = "bytes per symbol", "distance when 10 % of the characters are deleted"


def compare_page(results: Mapping[str, Any]) -> str:
    """The page about what `figures.compare` returned, as HTML."""
    dots = [
        Dot(spec, figures["bytes_per_symbol"], distance)
        for spec, figures in results["views"].items()
        if figures["bytes_per_symbol"] is not None and (distance := figures["stability"]["random_delete"]) is not None
    ]
    neural = {spec: figures for spec, figures in results["views"].items() if "fuzzy" in figures}
    columns = (*SIZE, *STABILITY, *NEURAL) if neural else (*SIZE, *STABILITY)
    return framed(
        "views side by side",
        (
            f"<header><p class=kicker>byteproxy {text(byteproxy.__version__)}</p><h1>Views side by side</h1>"
            f"<p>Measured on {sized(results['held_out_bytes'], 'B')} of text in"
            f" {plural(results['held_out_documents'], 'document')} of the {text(results['side'])} side of"
            f" <code>{text(results['corpus'])}</code>: projects that"
            " no view was trained on. Documents left out as near-duplicates:"
            f" {results['near_duplicates_dropped']:,}.</p></header>",
            "<section><h2>Shorter against steadier</h2>"
            + figure("", scatter(dots, *_AXES), "views", ("view", *_AXES), dots)
            + "<p class=note>Right: the sequence is shorter. Down: fewer symbols change when the text does."
            f" {_raw(results['stability_raw']['random_delete'])}</p></section>",
            f"<section><h2>Size and speed</h2>{_table(results['views'], SIZE)}</section>",
            f"<section><h2>Under edits, and at boundaries</h2>{_table(results['views'], STABILITY)}</section>",
            f"<section><h2>Neural views</h2>{_table(neural, NEURAL)}</section>" if neural else "",
            f"<section><h2>What the figures mean</h2><dl>{''.join(map(_meaning, columns))}</dl></section>",
            json_details(results),
        ),
    )


def _table(views: Mapping[str, Any], columns: Sequence[Column]) -> str:
    rows = [
        (
            f"{swatch(number)}{wrapped(spec)}",
            [column.of(figures) for column in columns],
        )
        for number, (spec, figures) in enumerate(views.items())
    ]
    return table("view", [(column.heading, column.unit) for column in columns], rows)


def _meaning(column: Column) -> str:
    return f"<dt>{column.heading}</dt><dd>{column.meaning}</dd>"


def _raw(distance: float | None) -> str:
    return "" if distance is None else f"The distance of the bytes themselves is {distance:.3f}."
