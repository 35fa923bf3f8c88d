"""The page that `byteproxy mixture preview` leaves: asked and realised shares as a plot, rows as a picture, a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from byteproxy.evaluate.mixture_rows import Picture as Rows
from byteproxy.evaluate.mixture_tables import COLUMNS, about, epochs, lines
from byteproxy.report import line_plots, mark_plots
from byteproxy.report.line_plots import Line
from byteproxy.report.mark_plots import Block
from byteproxy.report.page import Picture, render

COUNTS = ("segments", "bytes", "positions")
BAND = 2
"""Standard errors that the band about what is asked goes up and down."""


def mixture_page(results: Mapping[str, Any], windows: Sequence[Mapping[str, Any]], rows: Rows) -> str:
    """The page as HTML. results: what the command gives as JSON; windows: several steps summed, one for each line."""
    return render(
        "mixture.html",
        title="What a mixture shows",
        results=results,
        about=about(results),
        epochs=epochs(results),
        shares=share_plot(results, windows),
        rows=rows,
        blocks=rows_picture(rows),
        columns=COLUMNS,
        lines=lines(results, windows),
        band=BAND,
        series=len(rows.names),
    )


def share_plot(results: Mapping[str, Any], windows: Sequence[Mapping[str, Any]]) -> Picture:
    """The share in each count over steps, in percent, about what is asked."""
    middles = [(one["first_step"] + one["last_step"] + 1) / 2 for one in windows]
    steps = [(step["step"] + 0.5, 100 * step["asked"]) for step in results["steps"]]
    drawn = [Line("asked", None, [at for at, _ in steps], [share for _, share in steps], dashed=True)]
    for number, count in sorted(enumerate(COUNTS), key=lambda pair: pair[1] == results["mixture"]["count"]):
        shares = [(at, one["share"][count]) for at, one in zip(middles, windows, strict=True)]
        known = [(at, 100 * share) for at, share in shares if share is not None]
        if known:
            drawn.append(Line(count, number, [at for at, _ in known], [share for _, share in known]))
    errors = [
        (at, 100 * one["asked"], 100 * BAND * one["standard_error"]) for at, one in zip(middles, windows, strict=True)
    ]
    band = [(at, max(asked - error, 0), min(asked + error, 100)) for at, asked, error in errors]
    label = "share of what is compressed (%)"
    return line_plots.curves("mixture shares", drawn, [], "optimizer step", label, band=band, y_range=(-2, 102))


def rows_picture(rows: Rows) -> Picture:
    """The rows of a step, to scale; a gap is where a document begins."""
    found, written = [], []
    for number, row in enumerate(rows.rows):
        document = row[0].document
        for one in row:
            name = "nothing" if one.kind < 0 else rows.names[one.kind]
            begin = one.begin / rows.length + (0.0015 if one.document != document else 0)
            end = max(one.end / rows.length, begin + 0.0003)
            said = f"{name}: {one.end - one.begin:,} positions"
            found.append(Block(number, begin, end, None if one.kind < 0 else one.kind, said))
            written.append((number, one.begin, one.end, name, one.document))
            document = one.document
    return mark_plots.blocks(f"rows of step {rows.step}", found, ("row", "begin", "end", "what", "document"), written)
