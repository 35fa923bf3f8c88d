"""The plots of single things on all pages: labelled dots, bars, stretches of rows, measurements beside their mean.

Each is a small SVG picture that takes its colours from the page around it (see `drawing`). About 0.1 s a picture.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from byteproxy.report.drawing import (
    DOT_PX,
    GRID,
    HEIGHT,
    INK,
    LETTER_PX,
    MUTED,
    WIDTH,
    draw_dots,
    drawn_by,
    free_box,
    furnish,
    round_top,
    size_of,
    stand_in,
)
from byteproxy.report.page import Picture

_LONGEST = 26


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

    svg = drawn_by(name, f"{y_label} over {x_label}", (WIDTH, WIDTH), 12.0, draw, hover)
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
        every = -(-len(found) * 62 // int(2 * WIDTH)) or 1
        axes.xaxis.set_major_locator(FixedLocator(range(0, len(found), every)))
        axes.xaxis.set_major_formatter(FixedFormatter([one.label for one in found[::every]]))
        place = axes.get_position()
        for number, label in enumerate((y_label, *series)):
            colour = INK if not number else stand_in(number - 1)
            x = (150 * number - 110 * (number > 0)) / (2 * WIDTH * place.width)
            axes.text(x, 1 + 11 / (HEIGHT * place.height), label, transform=axes.transAxes, color=colour)

    svg = drawn_by(name, f"{y_label} over {x_label}", (2 * WIDTH, HEIGHT), 12.0, draw, hover)
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

    svg = drawn_by(name, name, (2 * WIDTH, 22.0 * count), 0.0, draw, [one.hover for one in found])
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
