"""The page that `byteproxy corpus stats` leaves: how long documents are, as a plot, and every table."""

from collections.abc import Mapping, Sequence
from typing import Any

import byteproxy
from byteproxy.evaluate.corpus import tables
from byteproxy.evaluate.corpus.split_table import by_split, split_notes
from byteproxy.evaluate.corpus.tables import Figures, sized
from byteproxy.report.bars import length_plot
from byteproxy.report.page import figure, framed, json_details, table, text


def stats_page(figures: Mapping[str, Any]) -> str:
    """The page about what `corpus_figures` returned, as HTML."""
    parts = (
        tables.by_source,
        tables.by_field,
        tables.by_language,
        tables.by_length,
        tables.by_view,
        tables.by_reason,
    )
    file = figures["rejected_file"]
    listed = f"<p class=note>Each rejected record is listed in <code>{text(file)}</code>.</p>" if file else ""
    return framed(
        "what a corpus holds",
        (
            f"<header><p class=kicker>byteproxy {text(byteproxy.__version__)}</p><h1>What a corpus holds</h1>"
            f"<p><code>{text(figures['corpus'])}</code>: {figures['documents']:,} documents with"
            f" {sized(figures['bytes'])} of text, of {figures['records']:,} records that were read. Fingerprint"
            f" <code>{text(figures['fingerprint'][: tables.FINGERPRINT_SHOWN])}</code>.</p></header>",
            "<section><h2>Documents by length</h2><div class=wide>"
            + figure("", length_plot(figures["histogram"]), "document lengths", _COLUMNS, _rows(figures["histogram"]))
            + "</div><p class=note>Each pair of bars is of the documents up to twice as long as its label says."
            " Hover over a bar for its numbers.</p></section>",
            _section(tables.by_side(figures)),
            _section(by_split(figures)),
            *(f"<p class=note>{text(note)}</p>" for note in split_notes(figures)),
            *(_section(shown) for part in parts if (shown := part(figures)).rows),
            listed,
            json_details(figures),
        ),
        ".wide figure { max-width: 760px; }",
    )


_COLUMNS = ("from bytes", "to bytes", "documents", "bytes")


def _rows(histogram: Sequence[Mapping[str, int]]) -> list[tuple[int, ...]]:
    return [(one["from"], one["to"], one["documents"], one["bytes"]) for one in histogram]


def _section(figures: Figures) -> str:
    columns = [(text(heading), text(unit)) for heading, unit in figures.columns]
    rows = [(text(name), [text(cell) for cell in cells]) for name, cells in figures.rows]
    return f"<section><h2>{text(figures.title)}</h2>{table(text(figures.first), columns, rows)}</section>"
