"""The plots of series on all pages: curves over what was spent, and trends with their band.

Each is a small SVG picture that takes its colours from the page around it (see `drawing`). Every series is named beside
its right end, with its colour, dashes and mark; the picture grows with them. About 0.1 s a picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes

from byteproxy.report.drawing import (
    BOTTOM,
    HEIGHT,
    INK,
    LETTER_PX,
    LINE_PX,
    MARKERS,
    MUTED,
    TOP,
    WIDTH,
    draw_dots,
    drawn_by,
    furnish,
    size_of,
    spread,
    stand_in,
    tick_at,
)
from byteproxy.report.page import SHAPES, Picture, shape
from byteproxy.study.units import superscript

SMOOTHING = 0.05  # share of a series' points that one smoothed value is the mean of
HIDDEN_START = 0.08  # of the x axis: where a steep start may leave the picture at its top
SPENT = {
    "flops": "training FLOPs",
    "text_bytes": "text seen",
    "positions": "positions",
    "seconds": "wall time",
    "wall_seconds": "wall time",
}
"""What training spends, as metrics and results count it. Seconds are without validation, wall seconds with it."""
_TIMES = ((432_000, 86_400.0, "days"), (10_800, 3600.0, "hours"), (900, 60.0, "minutes"), (-math.inf, 1.0, "seconds"))
_PREFIXES = ((12, "T"), (9, "G"), (6, "M"), (3, "k"), (0, ""))
_DASHES: dict[str, Any] = dict(zip(SHAPES, ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2))), strict=True))
_TREND_WIDTH, _TREND_HEIGHT = 320.0, 230.0
_FAR = 1.0  # times what lines span: a level that is farther off is named at the edge, and not drawn to scale
_MAX_BESIDE = 170.0  # px for the names of series; a picture with longer ones is wider


@dataclass(frozen=True)
class Line:
    """One series: finite points, x ascending; `smooth` draws a running mean and the points faintly behind.

    label: stands beside its end; may be empty. colour: the series' number, see `page.shape`; None: the page's ink.
    behind: other series, as (x, y), of which this one is the mean; drawn faintly.
    """

    label: str
    colour: int | None
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    smooth: bool = False
    behind: Sequence[tuple[Sequence[float], Sequence[float]]] = ()


@dataclass(frozen=True)
class Level:
    """A horizontal dashed line for scale."""

    label: str
    y: float


@dataclass(frozen=True)
class Trend:
    """Measured points over a log axis, and a line through them with its band.

    x, y: points, at least one, x above 0. line: (x, y, low, high), x ascending; empty where there is no line.
    beyond: the line's end farther right, drawn dashed, if there is one.
    """

    colour: int
    x: Sequence[float]
    y: Sequence[float]
    line: Sequence[tuple[float, float, float, float]] = ()
    beyond: tuple[float, float] | None = None


def smoothed(values: Sequence[float]) -> list[float]:
    """A centred mean over about `SMOOTHING` of the points; towards the ends the window narrows, so nothing lags."""
    half = max(1, round(len(values) * SMOOTHING / 2))
    means = []
    for at in range(len(values)):
        reach = min(half, at, len(values) - 1 - at)
        window = values[at - reach : at + reach + 1]
        means.append(math.fsum(window) / len(window))
    return means


def curves(
    name: str,
    lines: Sequence[Line],
    levels: Sequence[Level],
    x_label: str,
    y_label: str,
    hidden_start: float = HIDDEN_START,
    band: Sequence[tuple[float, float, float]] = (),
    y_range: tuple[float, float] | None = None,
) -> Picture:
    """Lines over x. `name` tells the pictures of a page apart, their ids included. No lines: an empty picture.

    hidden_start: for this share of its x axis a line that starts steeply may leave the picture at its top.
    band: (x, low, high), shaded. y_range: otherwise what is worth reading.
    """
    rows: list[tuple[object, ...]] = []
    for line in lines:
        rows += [(line.label, x, y) for x, y in zip(line.x, line.y, strict=True)]
        for number, (xs, ys) in enumerate(line.behind, start=1):
            rows += [(f"{line.label}, seed {number}", x, y) for x, y in zip(xs, ys, strict=True)]
    rows += [(level.label, "", level.y) for level in levels]
    columns = ("series", x_label, y_label)
    if not lines:
        return Picture("", name, columns, rows)
    longest = max(map(len, [*(line.label for line in lines), *(f"{level.label} ↑" for level in levels)]))
    beside = longest * LETTER_PX + 22 if longest else 12.0

    def draw(axes: Axes) -> None:
        drawn = [_draw(axes, line) for line in lines]
        for level in levels:
            axes.axhline(level.y, color=MUTED, linewidth=1.1, dashes=(2, 3), zorder=1)
        if band:
            xs, lows, highs = zip(*band, strict=True)
            axes.fill_between(xs, lows, highs, color=INK, alpha=0.13, linewidth=0, zorder=1)
        _limit(axes, drawn, levels, hidden_start)
        if y_range is not None:
            axes.set_ylim(*y_range)
            axes.set_xlim(min(xs[0] for xs, _ in drawn), axes.get_xlim()[1])
        furnish(axes, x_label, y_label)
        _name_ends(axes, lines, drawn, levels)

    height = max(HEIGHT, (len(lines) + len(levels)) * LINE_PX + TOP + BOTTOM)
    size = WIDTH + max(0.0, beside - _MAX_BESIDE), height
    return Picture(drawn_by(name, f"{y_label} over {x_label}", size, beside, draw), name, columns, rows)


def over(
    spent: str,
    name: str,
    lines: Sequence[Line],
    levels: Sequence[Level],
    y_label: str,
    hidden_start: float = HIDDEN_START,
) -> Picture:
    """As `curves`, over what was spent, in a unit that reads well; lines without a point are left out."""
    lines = [line for line in lines if line.x]
    unit, x_label = unit_of(spent, max((line.x[-1] for line in lines), default=1.0))
    scaled = [
        replace(
            line,
            x=[x / unit for x in line.x],
            behind=[([x / unit for x in xs], ys) for xs, ys in line.behind],
        )
        for line in lines
    ]
    return curves(f"{name} {spent}", scaled, levels, x_label, y_label, hidden_start)


def unit_of(spent: str, largest: float) -> tuple[float, str]:
    """What to divide an axis by, and its label with the unit. spent: one of `SPENT`, or another count by its name."""
    name = SPENT.get(spent, spent)
    if name == "wall time":
        return next((size, f"{name} ({unit})") for least, size, unit in _TIMES if largest >= least)
    if spent == "flops":
        power = math.floor(math.log10(largest)) if largest > 0 else 0
        return 10.0**power, f"{name} (10{superscript(power)})"
    power, prefix = next((one for one in _PREFIXES if largest >= 10 ** one[0]), _PREFIXES[-1])
    if spent == "text_bytes":
        return 10.0**power, f"{name} ({prefix}B)"
    return 10.0**power, f"{name} (10{superscript(power)})" if power else name


def trend(name: str, found: Trend, unit: float, x_label: str, y_label: str) -> Picture:
    """Points and their line over a log axis, in units of `unit`, and a level at zero."""

    def draw(axes: Axes) -> None:
        colour = stand_in(found.colour)
        axes.set_xscale("log")
        axes.axhline(0, color=MUTED, linewidth=1.1, dashes=(2, 3), zorder=1)
        if found.line:
            xs, ys, lows, highs = zip(*found.line, strict=True)
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.16, linewidth=0, zorder=2)
            axes.plot(xs, ys, color=colour, linewidth=1.9, zorder=3)
            if found.beyond:
                ends = (xs[-1], found.beyond[0]), (ys[-1], found.beyond[1])
                axes.plot(*ends, color=colour, linewidth=1.4, linestyle=(0, (4, 2)), zorder=3)
        draw_dots(axes, found.x, found.y, found.colour, 5.5, 0.75)
        far = [*found.x, *([found.beyond[0]] if found.beyond else [])]
        room = (max(far) / min(far)) ** 0.06 if max(far) > min(far) else 2.0
        axes.set_xlim(min(far) / room, max(far) * room)
        furnish(axes, x_label, y_label)
        tick_at(axes, far, unit)

    rows: list[tuple[object, ...]] = [("measured", x / unit, y, "", "") for x, y in zip(found.x, found.y, strict=True)]
    rows += [("line", x / unit, *rest) for x, *rest in found.line]
    svg = drawn_by(name, f"{y_label} over {x_label}", (_TREND_WIDTH, _TREND_HEIGHT), 14.0, draw)
    return Picture(svg, name, ("what", x_label, y_label, "low", "high"), rows)


def _draw(axes: Axes, line: Line) -> tuple[Sequence[float], Sequence[float]]:
    """Draw a series; gives the points of its strong line."""
    colour, kind = stand_in(line.colour), shape(line.colour or 0)
    strong = smoothed(line.y) if line.smooth else line.y
    for x, y in [(line.x, line.y)] * line.smooth + list(line.behind):
        axes.plot(x, y, color=colour, linewidth=0.9, alpha=0.3, zorder=2)
    axes.plot(
        line.x,
        strong,
        color=colour,
        linewidth=1.9,
        linestyle=(0, (4, 2)) if line.dashed else _DASHES[kind],
        marker=None if line.colour is None else MARKERS[kind],
        markersize=4.5,
        markeredgewidth=0,
        markevery=[len(line.x) - 1] if line.behind or line.smooth else None,
        zorder=3,
    )
    return line.x, strong


def _limit(
    axes: Axes,
    drawn: Sequence[tuple[Sequence[float], Sequence[float]]],
    levels: Sequence[Level],
    hidden_start: float,
) -> None:
    """The y axis spans what is worth reading: a steep start would flatten the end, where arms differ."""
    longest = max(x[-1] for x, _ in drawn)
    late = [y for xs, ys in drawn for x, y in zip(xs, ys, strict=True) if x >= hidden_start * xs[-1]]
    low, high = min(late), max(late)
    reach = _FAR * max(high - low, 0.05 * abs(high))
    shown = late + [level.y for level in levels if low - reach <= level.y <= high + reach]
    low, high = min(shown), max(shown)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(0, longest * 1.02 or 1.0)


def _name_ends(
    axes: Axes,
    lines: Sequence[Line],
    drawn: Sequence[tuple[Sequence[float], Sequence[float]]],
    levels: Sequence[Level],
) -> None:
    """Write each series' name right of the picture at the height where it ends, pushed apart where they meet."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    begin = axes.get_xlim()[0]
    ends: list[tuple[float, float, str, str, Any, Any]] = []  # y, x, label, colour, dashes, marker
    for line, (xs, ys) in zip(lines, drawn, strict=True):
        if line.label:
            kind = shape(line.colour or 0)
            ends.append((ys[-1], xs[-1], line.label, stand_in(line.colour), _DASHES[kind], MARKERS[kind]))
    for level in levels:
        arrow = " ↑" if level.y > high else " ↓" if level.y < low else ""
        y = min(max(level.y, low), high)
        ends.append((y, right, level.label + arrow, MUTED, "-", None))
    ends.sort(key=lambda end: end[0])
    box, (wide, tall) = axes.get_position(), size_of(axes)
    heights = spread([(end[0] - low) / (high - low) for end in ends], LINE_PX / (box.height * tall))
    gap = 15 / (box.width * wide)
    for (y, x, label, colour, dashes, marker), height in zip(ends, heights, strict=True):
        start = ((x - begin) / (right - begin), (y - low) / (high - low))
        axes.plot(
            (start[0], 1.0, 1 + gap * 0.6),
            (start[1], start[1], height),
            transform=axes.transAxes,
            color=colour,
            linewidth=0.8,
            linestyle=dashes,
            marker=marker,
            markersize=4,
            markeredgewidth=0,
            markevery=[2],
            alpha=0.6,
            clip_on=False,
            zorder=1,
        )
        axes.text(1 + gap, height, label, transform=axes.transAxes, va="center_baseline", color=colour)
