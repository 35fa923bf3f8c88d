"""The plots of all pages: small SVG pictures that take their colours from the page around them (see `drawing`).

Every series is named beside its right end, with its colour, dashes and mark; the picture grows with them. About 0.1 s a
picture.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from byteproxy.report.drawing import (
    BOTTOM,
    DOT_PX,
    GRID,
    INK,
    LETTER_PX,
    LINE_PX,
    MARKERS,
    MUTED,
    TOP,
    draw_dots,
    drawn_by,
    free_box,
    furnish,
    round_top,
    size_of,
    spread,
    stand_in,
    tick_at,
)
from byteproxy.report.page import SHAPES, Picture, shape

SMOOTHING = 0.05  # share of a series' points that one smoothed value is the mean of
HIDDEN_START = 0.08  # of the x axis: where a steep start may leave the picture at its top
_DASHES: dict[str, Any] = dict(zip(SHAPES, ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2))), strict=True))
_WIDTH, _HEIGHT = 390.0, 260.0  # letters of 11 px on a telephone
_TREND_WIDTH, _TREND_HEIGHT = 320.0, 230.0
_MAX_BESIDE = 170.0  # px for the names of series; a picture with longer ones is wider
_LONGEST = 26


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


class Dot(NamedTuple):
    """A dot of a scatter plot; both coordinates are at least 0."""

    label: str
    x: float
    y: float


class Bars(NamedTuple):
    """Bars side by side, one of each series. hover: what each says when the pointer is on it."""

    label: str
    heights: Sequence[float]
    hover: Sequence[str]


class Block(NamedTuple):
    """A stretch of a row, in shares of the row. colour: the series; None: of nothing."""

    row: int
    begin: float
    end: float
    colour: int | None
    hover: str


class Strip(NamedTuple):
    """A row of a dot plot: each measurement and their mean. said: the figure, and what stands beside it."""

    label: str
    colour: int
    mean: float
    values: Sequence[float]
    said: tuple[str, str]


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
    longest = max(map(len, [*(line.label for line in lines), *(level.label for level in levels)]))
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

    height = max(_HEIGHT, (len(lines) + len(levels)) * LINE_PX + TOP + BOTTOM)
    size = _WIDTH + max(0.0, beside - _MAX_BESIDE), height
    return Picture(drawn_by(name, f"{y_label} over {x_label}", size, beside, draw), name, columns, rows)


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


def scatter(name: str, dots: Sequence[Dot], x_label: str, y_label: str) -> Picture:
    """Labelled dots: both axes begin at 0, each dot has its label beside it, or further off with a line to it."""
    hover = [f"{dot.label}: {dot.x:.3g}, {dot.y:.3g}" for dot in dots]

    def draw(axes: Axes) -> None:
        axes.set_xlim(0, round_top(max((dot.x for dot in dots), default=0)))
        axes.set_ylim(0, round_top(max((dot.y for dot in dots), default=0)))
        furnish(axes, x_label, y_label)
        box, (wide, tall) = axes.get_position(), size_of(axes)
        inner = box.width * wide, box.height * tall
        at = [(dot.x / axes.get_xlim()[1] * inner[0], dot.y / axes.get_ylim()[1] * inner[1]) for dot in dots]
        taken = [(x - DOT_PX, y - DOT_PX, x + DOT_PX, y + DOT_PX) for x, y in at]
        for number, (dot, (x, y)) in enumerate(zip(dots, at, strict=True)):
            label = dot.label if len(dot.label) <= _LONGEST else dot.label[: _LONGEST - 1] + "…"
            place = free_box(x, y, len(label) * LETTER_PX, inner, taken)
            taken.append(place)
            left, bottom, right, top = place
            if max(left - x, x - right, bottom - y, y - top) > 2 * DOT_PX:
                end = min(max(x, left), right) / inner[0], (bottom + top) / 2 / inner[1]
                ends = zip((x / inner[0], y / inner[1]), end, strict=True)
                axes.plot(*ends, transform=axes.transAxes, color=stand_in(number), linewidth=0.8, clip_on=False)
            below = sum(math.dist((x, y), other) < DOT_PX for other in at[:number])
            size = 2 * max(DOT_PX - 1.5 * below, 1)  # dots in one place become rings
            draw_dots(axes, [dot.x], [dot.y], number, size)[0].set_gid(f"hover{number}")
            words: dict[str, Any] = {"va": "center_baseline", "color": stand_in(number), "transform": axes.transAxes}
            axes.text(left / inner[0], (bottom + top) / 2 / inner[1], label, **words)

    svg = drawn_by(name, f"{y_label} over {x_label}", (_WIDTH, _WIDTH), 12.0, draw, hover)
    return Picture(svg, name, ("label", x_label, y_label), dots)


def bars(name: str, series: Sequence[str], found: Sequence[Bars], x_label: str, y_label: str) -> Picture:
    """A group of bars for each of `found`, as high as percent."""
    hover = [said for one in found for said in one.hover]

    def draw(axes: Axes) -> None:
        wide = 0.8 / len(series)
        for at, one in enumerate(found):
            for number, height in enumerate(one.heights):
                left = at + (number - len(series) / 2) * wide
                bar = Rectangle((left, 0), wide * 0.96, height, color=stand_in(number), linewidth=0)
                bar.set_gid(f"hover{at * len(series) + number}")
                axes.add_patch(bar)
        axes.set_xlim(-0.6, max(len(found), 1) - 0.4)
        axes.set_ylim(0, round_top(max((max(one.heights) for one in found), default=0)))
        furnish(axes, x_label, "")
        every = -(-len(found) * 62 // int(2 * _WIDTH)) or 1
        axes.xaxis.set_major_locator(FixedLocator(range(0, len(found), every)))
        axes.xaxis.set_major_formatter(FixedFormatter([one.label for one in found[::every]]))
        place = axes.get_position()
        for number, label in enumerate((y_label, *series)):
            colour = INK if not number else stand_in(number - 1)
            x = (150 * number - 110 * (number > 0)) / (2 * _WIDTH * place.width)
            axes.text(x, 1 + 11 / (_HEIGHT * place.height), label, transform=axes.transAxes, color=colour)

    svg = drawn_by(name, f"{y_label} over {x_label}", (2 * _WIDTH, _HEIGHT), 12.0, draw, hover)
    rows = [(one.label, *one.heights) for one in found]
    return Picture(svg, name, (x_label, *series), rows)


def blocks(name: str, found: Sequence[Block], columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Picture:
    """Rows of stretches, to scale. columns, rows: what is to be taken away as CSV."""
    count = max((one.row for one in found), default=0) + 1

    def draw(axes: Axes) -> None:
        axes.set_position((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(count, 0)
        for number, one in enumerate(found):
            colour = GRID if one.colour is None else stand_in(one.colour)
            block = Rectangle((one.begin, one.row + 0.1), one.end - one.begin, 0.8, color=colour, linewidth=0)
            block.set_gid(f"hover{number}")
            axes.add_patch(block)

    svg = drawn_by(name, name, (2 * _WIDTH, 22.0 * count), 0.0, draw, [one.hover for one in found])
    return Picture(svg, name, columns, rows)


def strips(
    name: str, title: str, found: Sequence[Strip], ticks: Mapping[float, str], ends: tuple[float, float],
    level: tuple[float, str, bool] | None, width: float,
) -> str:  # fmt: skip
    """An inline `<svg>`: each measurement a dot, their mean a bar, a row for each series.

    ends: of the axis. level: a value, its label, and whether a line is drawn there.
    """
    row, right = 34.0, 60 + max(len(strip.said[1]) for strip in found) * LETTER_PX
    left = 30 + max(len(strip.label) for strip in found) * (LETTER_PX + 1.2)

    def draw(axes: Axes) -> None:
        _, tall = size_of(axes)
        inner = width - left - right
        axes.set_position((left / width, 30 / tall, inner / width, 1 - 58 / tall))
        axes.set_xlim(*ends)
        axes.set_ylim(len(found) - 0.3, -0.7)
        furnish(axes, "", "")
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", color=GRID, linewidth=0.8)
        axes.yaxis.set_major_locator(NullLocator())
        axes.xaxis.set_major_locator(FixedLocator(list(ticks)))
        axes.xaxis.set_major_formatter(FixedFormatter(list(ticks.values())))
        words: dict[str, Any] = {"va": "center_baseline", "transform": axes.get_yaxis_transform()}
        if level is not None:
            at, label, inside = level
            share = (min(max(at, ends[0]), ends[1]) - ends[0]) / (ends[1] - ends[0])
            if inside:
                axes.axvline(at, color=MUTED, linewidth=1.4, dashes=(2, 3), zorder=1)
            axes.text(share, -0.95, label, **words, color=MUTED, ha="right" if share > 0.5 else "left")
        for y, strip in enumerate(found):
            draw_dots(axes, strip.values, [y] * len(strip.values), strip.colour, 9, 0.55)
            axes.plot([strip.mean] * 2, [y - 0.32, y + 0.32], color=stand_in(strip.colour), linewidth=3, zorder=4)
            name = draw_dots(axes, [-(left - 8) / inner], [y], strip.colour, 9)[0]
            name.set_transform(axes.get_yaxis_transform())
            axes.text(-(left - 20) / inner, y, strip.label, **words, color=INK, weight="bold")
            axes.text(1 + 10 / inner, y, strip.said[0], **words, color=INK, weight="bold")
            axes.text(1 + 54 / inner, y, strip.said[1], **words, color=MUTED)

    return drawn_by(f"{name} {width:g}", title, (width, row * len(found) + 58), right, draw)


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
    shown = late + [level.y for level in levels]
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
    ends += [(level.y, right, level.label, MUTED, "-", None) for level in levels]
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
