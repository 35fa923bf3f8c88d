"""The page that `byteproxy mixture preview` leaves: asked and realised shares as a plot, rows as a picture, a table."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.ticker import MaxNLocator

import byteproxy
from byteproxy.evaluate.mixture_rows import Picture
from byteproxy.evaluate.mixture_tables import COLUMNS, about, epochs, lines
from byteproxy.report.page import PALETTE, figure, framed, json_details, plural, swatch, table, text

COUNTS = ("segments", "bytes", "positions")
BAND = 2
"""Standard errors that the band about what is asked goes up and down."""
_WIDTH, _HEIGHT = 390.0, 270.0
_ROW_WIDTH, _TALL, _GAP = 1000.0, 20.0, 6.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 76.0, 30.0, 44.0


def mixture_page(results: Mapping[str, Any], windows: Sequence[Mapping[str, Any]], picture: Picture) -> str:
    """The page as HTML. results: what the command gives as JSON; windows: several steps summed, one for each line."""
    shown, following = about(results)
    columns = [(text(column.heading), text(column.unit)) for column in COLUMNS]
    rows = [(text(steps), [text(cell) for cell in cells]) for steps, cells in lines(results, windows)]
    meanings = "".join(f"<dt>{text(column.heading)}</dt><dd>{text(column.meaning)}</dd>" for column in COLUMNS)
    return framed(
        "what a mixture shows",
        (
            f"<header><p class=kicker>byteproxy {text(byteproxy.__version__)}</p><h1>What a mixture shows</h1>"
            f"<p>{text(shown)}; {text(following)}.</p></header>",
            f"<section><h2>Asked and realised</h2>{_shares(results, windows)}"
            f"<p class=note>The band is where a share of {text(results['mixture']['count'])} is expected with as many"
            f" segments: {BAND} standard errors about what is asked. The other counts may lie elsewhere, as a"
            " compressed segment takes fewer positions than a raw one.</p></section>",
            f"<section><h2>Rows of step {picture.step:,}</h2><p>{_legend(picture)}</p>"
            f"<div class=rows>{_rows(picture)}</div><p class=note>The first {len(picture.rows):,} of"
            f" {plural(picture.total, 'row')}, to scale; a gap is where a document begins. Hover for lengths.</p>"
            "</section>",
            f"<section><h2>Steps</h2>{table('steps', columns, rows)}"
            f"<p class=note>{text(epochs(results))}.</p></section>",
            f"<section><h2>What the figures mean</h2><dl>{meanings}</dl></section>",
            json_details(results),
        ),
        ".rows figure, .rows svg { max-width: none !important; } .rows svg { min-width: 0 !important; }",
    )


def _shares(results: Mapping[str, Any], windows: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (one["first_step"], one["last_step"], one["asked"], *(one["share"][count] for count in COUNTS))
        for one in windows
    ]
    return figure(
        "", share_plot(results, windows), "mixture shares", ("first step", "last step", "asked", *COUNTS), rows
    )


def _rows(picture: Picture) -> str:
    rows = [
        (number, one.begin, one.end, "nothing" if one.kind < 0 else picture.names[one.kind], one.document)
        for number, row in enumerate(picture.rows)
        for one in row
    ]
    return figure("", rows_svg(picture), "rows", ("row", "begin", "end", "what", "document"), rows)


def share_plot(results: Mapping[str, Any], windows: Sequence[Mapping[str, Any]]) -> str:
    """An inline `<svg>`: the share in each count over steps, about what is asked."""
    first, last = windows[0]["first_step"], windows[-1]["last_step"] + 1

    def place(step: float, share: float) -> tuple[float, float]:
        across = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (step - first) / (last - first)
        return across, _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * min(max(share, 0), 1)

    middles = [(one["first_step"] + one["last_step"] + 1) / 2 for one in windows]
    parts = [f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-label="compressed share over steps"']
    parts.append(' font-size="12">')
    for percent in range(0, 101, 20):
        left, y = place(first, percent / 100)
        colour = "--muted" if percent == 0 else "--grid"
        parts.append(
            f'<line x1="{left:g}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT:g}" y2="{y:.1f}" stroke="var({colour})"'
            ' stroke-width="0.8"/>'
        )
        parts.append(_words(left - 7, y + 4, f"{percent} %", "--muted", "end"))
    for tick in MaxNLocator(6, integer=True).tick_values(first, last):
        if first <= tick <= last:
            parts.append(_words(place(tick, 0)[0], _HEIGHT - _BOTTOM + 17, f"{tick:,.0f}", "--muted", "middle"))
    parts.append(_words((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 6, "optimizer step", "--ink", "middle"))
    parts.append(_words(2, 14, "share of what is compressed", "--ink", "start"))
    edges = [
        [
            place(step, one["asked"] + sign * BAND * one["standard_error"])
            for step, one in zip(middles, windows, strict=True)
        ]
        for sign in (1, -1)
    ]
    parts.append(f'<polygon points="{_points([*edges[0], *reversed(edges[1])])}" fill="var(--ink)" opacity="0.13"/>')
    asked = [place(step["step"] + 0.5, step["asked"]) for step in results["steps"]]
    parts.append(_curve(asked, "--ink", ' stroke-dasharray="5 4"'))
    ends = [(asked[-1][1], "asked", "--ink")]
    counted = results["mixture"]["count"]
    for number, count in sorted(enumerate(COUNTS), key=lambda pair: pair[1] == counted):  # on top of the others
        points = [
            place(step, one["share"][count])
            for step, one in zip(middles, windows, strict=True)
            if one["share"][count] is not None
        ]
        colour = f"--arm{number % PALETTE}"
        parts.append(_curve(points, colour))
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var({colour})"/>' for x, y in points]
        ends += [(points[-1][1], count, colour)] if points else []
    for y, name, colour in _apart(sorted(ends)):
        parts.append(_words(_WIDTH - _RIGHT + 10, y + 4, name, colour, "start"))
    return "".join(parts) + "</svg>"


def _legend(picture: Picture) -> str:
    return " ".join(f"{swatch(kind)}{text(name)}&emsp;" for kind, name in enumerate(picture.names))


def rows_svg(picture: Picture) -> str:
    """The picture as an inline `<svg>`, to scale."""
    tall = len(picture.rows) * (_TALL + _GAP)
    parts = [f'<svg viewBox="0 0 {_ROW_WIDTH:g} {tall:g}" role="img" aria-label="rows of step {picture.step}">']
    for number, row in enumerate(picture.rows):
        top = number * (_TALL + _GAP)
        documents = [row[0].document, *(one.document for one in row)]
        for before, one in zip(documents, row, strict=False):
            left, right = (_ROW_WIDTH * at / picture.length for at in (one.begin, one.end))
            left += 1.5 if one.document != before else 0
            colour = "--grid" if one.kind < 0 else f"--arm{one.kind % PALETTE}"
            name = "nothing" if one.kind < 0 else picture.names[one.kind]
            parts.append(
                f'<rect x="{left:.2f}" y="{top:g}" width="{max(right - left, 0.3):.2f}" height="{_TALL:g}"'
                f' fill="var({colour})"><title>{text(name)}: {one.end - one.begin:,} positions</title></rect>'
            )
    return "".join(parts) + "</svg>"


def _curve(points: Sequence[tuple[float, float]], colour: str, more: str = "") -> str:
    return f'<polyline points="{_points(points)}" fill="none" stroke="var({colour})" stroke-width="1.8"{more}/>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _apart(ends: Sequence[tuple[float, str, str]]) -> list[tuple[float, str, str]]:
    """Names from top to bottom, pushed down where they would meet, and up again where that leaves the picture."""
    moved: list[tuple[float, str, str]] = []
    for y, name, colour in ends:
        moved.append((max(y, moved[-1][0] + 14) if moved else y, name, colour))
    floor = _HEIGHT - _BOTTOM
    for place in reversed(range(len(moved))):
        y, name, colour = moved[place]
        moved[place] = (min(y, floor), name, colour)
        floor = moved[place][0] - 14
    return moved


def _words(x: float, y: float, words: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="var({colour})" text-anchor="{anchor}">{text(words)}</text>'
