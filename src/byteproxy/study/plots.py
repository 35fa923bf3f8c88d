"""The report's plots: small SVG pictures that take their colours from the page around them.

matplotlib draws with stand-in colours, which then become the page's CSS variables (`--ink`, `--muted`,
`--grid`, `--arm0`, ...), so one picture reads in light and in dark. Text stays text. Every series is named
beside its right end, not in a legend. The same input gives the same bytes. About 0.1 s a picture.
"""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from byteproxy.page import PALETTE

SMOOTHING = 0.05  # share of a series' points that one smoothed value is the mean of
_STAND_INS = {"#0f0f01": "--ink", "#0f0f02": "--muted", "#0f0f03": "--grid"}
_STAND_INS |= {f"#0e0e0{number}": f"--arm{number}" for number in range(PALETTE)}
_COLOURS = {variable: colour for colour, variable in _STAND_INS.items()}
_MARKERS = "os^DvPX*"
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 420.0, 270.0, 36.0, 28.0, 42.0
_LABEL_PX, _LETTER_PX = 12.0, 6.8  # the type size, and a letter's width at it
_HIDDEN_START = 0.08  # a steep start may leave the picture at its top for this share of the x axis
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": _LABEL_PX,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Line:
    """One series: finite points, x ascending; `smooth` draws a running mean and the points faintly behind."""

    label: str
    colour: int
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    smooth: bool = False


@dataclass(frozen=True)
class Level:
    """A horizontal dashed line for scale."""

    label: str
    y: float


def smoothed(values: Sequence[float]) -> list[float]:
    """A centred mean over about `SMOOTHING` of the points; towards the ends the window narrows, so nothing lags."""
    half = max(1, round(len(values) * SMOOTHING / 2))
    means = []
    for at in range(len(values)):
        reach = min(half, at, len(values) - 1 - at)
        window = values[at - reach : at + reach + 1]
        means.append(math.fsum(window) / len(window))
    return means


def curve_plot(name: str, lines: Sequence[Line], levels: Sequence[Level], x_label: str, y_label: str) -> str:
    """An inline `<svg>`; `name` tells the pictures of a page apart, their ids included. `lines` isn't empty."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that matplotlib's own font lacks: the browser has them
        figure = Figure(figsize=(_WIDTH / 72, _HEIGHT / 72))
        labels = [line.label for line in lines] + [level.label for level in levels]
        right = max(len(label) for label in labels) * _LETTER_PX + 22
        axes = figure.add_axes(
            (_LEFT / _WIDTH, _BOTTOM / _HEIGHT, 1 - (_LEFT + right) / _WIDTH, 1 - (_TOP + _BOTTOM) / _HEIGHT)
        )
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        drawn = [_draw(axes, line) for line in lines]
        for level in levels:
            axes.axhline(level.y, color=_COLOURS["--muted"], linewidth=1.1, dashes=(2, 3), zorder=1)
        _limit(axes, drawn, levels)
        _furnish(axes, x_label, y_label)
        _name_ends(axes, lines, drawn, levels)
        return _inline(_svg(figure), f"{y_label} over {x_label}")


def _draw(axes: Axes, line: Line) -> tuple[Sequence[float], Sequence[float]]:
    """Draw a series; gives the points of its strong line."""
    colour = _COLOURS[f"--arm{line.colour % PALETTE}"]
    strong = smoothed(line.y) if line.smooth else line.y
    if line.smooth:
        axes.plot(line.x, line.y, color=colour, linewidth=0.9, alpha=0.28, zorder=2)
    axes.plot(
        line.x,
        strong,
        color=colour,
        linewidth=1.9,
        linestyle=(0, (4, 2)) if line.dashed else "-",
        marker=None if line.smooth and len(line.x) > 1 else _MARKERS[line.colour % PALETTE],
        markersize=4.5,
        markeredgewidth=0,
        zorder=3,
    )
    return line.x, strong


def _limit(axes: Axes, drawn: Sequence[tuple[Sequence[float], Sequence[float]]], levels: Sequence[Level]) -> None:
    """The y axis spans what is worth reading: a steep start would flatten the end, where arms differ."""
    longest = max(x[-1] for x, _ in drawn)
    late = [y for xs, ys in drawn for x, y in zip(xs, ys, strict=True) if x >= _HIDDEN_START * longest]
    shown = late + [level.y for level in levels]
    low, high = min(shown), max(shown)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(0, longest * 1.02 or 1.0)


def _furnish(axes: Axes, x_label: str, y_label: str) -> None:
    """Axis labels with units, a quiet grid, no box."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_COLOURS["--muted"])
    axes.spines["bottom"].set_linewidth(0.8)
    axes.grid(axis="y", color=_COLOURS["--grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5, labelcolor=_COLOURS["--muted"])
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(x_label, color=_COLOURS["--ink"], labelpad=5)
    left = -(_LEFT - 2) / (axes.get_position().width * _WIDTH)
    axes.text(left, 1.06, y_label, transform=axes.transAxes, color=_COLOURS["--ink"])


def _name_ends(
    axes: Axes,
    lines: Sequence[Line],
    drawn: Sequence[tuple[Sequence[float], Sequence[float]]],
    levels: Sequence[Level],
) -> None:
    """Write each series' name right of the picture at the height where it ends, pushed apart where they meet."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    ends = [(ys[-1], line.label, f"--arm{line.colour % PALETTE}") for line, (_, ys) in zip(lines, drawn, strict=True)]
    ends += [(level.y, level.label, "--muted") for level in levels]
    last = [xs[-1] for xs, _ in drawn] + [right] * len(levels)
    order = sorted(range(len(ends)), key=lambda at: ends[at][0])
    box = axes.get_position()
    heights = spread([(ends[at][0] - low) / (high - low) for at in order], 13.5 / (box.height * _HEIGHT))
    gap = 14 / (box.width * _WIDTH)
    for at, height in zip(order, heights, strict=True):
        y, label, variable = ends[at]
        start = (last[at] / right, (y - low) / (high - low))
        axes.plot(
            (start[0], 1.0, 1 + gap * 0.75),
            (start[1], start[1], height),
            transform=axes.transAxes,
            color=_COLOURS[variable],
            linewidth=0.8,
            alpha=0.6,
            clip_on=False,
            zorder=1,
        )
        axes.text(1 + gap, height, label, transform=axes.transAxes, va="center_baseline", color=_COLOURS[variable])


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Ascending heights in 0..1, moved as little as needed to stand `gap` apart (they may leave below if too many)."""
    heights: list[float] = []
    for height in wanted:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    ceiling = 1.0
    for at in reversed(range(len(heights))):
        heights[at] = min(heights[at], ceiling)
        ceiling = heights[at] - gap
    return heights


def _svg(figure: Figure) -> str:
    out = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=nothing)
    return out.getvalue()


def _inline(svg: str, title: str) -> str:
    """From a file to an element: no prolog, size, font or style of its own, no unused ids, the page's colours."""
    svg = svg[svg.index("<svg") :]
    opening_end = svg.index(">")
    box = re.search(r'viewBox="[^"]*"', svg[:opening_end])
    assert box is not None, "matplotlib wrote an svg without a viewBox"
    svg = f'<svg {box[0]} role="img" aria-label="{title}">' + svg[opening_end + 1 :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href").replace(" font-family: 'DejaVu Sans';", "")
    used = set(re.findall(r"#([A-Za-z_][\w-]*)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    for colour, variable in _STAND_INS.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()
