"""The plots of runs, studies and the demo: small SVG pictures that take their colours from the page around them.

matplotlib draws with stand-in colours, which then become the page's CSS variables (`--ink`, `--muted`,
`--grid`, `--arm0`, ...), so one picture reads in light and in dark. Text stays text. Every series is named
beside its right end, with its colour, dashes and mark, so that many can be told apart; the picture grows with them. The
same input gives the same bytes. About 0.1 s a picture.
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
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from byteproxy.report.page import PALETTE, SHAPES, figure, shape, text

SMOOTHING = 0.05  # share of a series' points that one smoothed value is the mean of
_STAND_INS = {"#0f0f01": "--ink", "#0f0f02": "--muted", "#0f0f03": "--grid"}
_STAND_INS |= {f"#0e0e0{number}": f"--arm{number}" for number in range(PALETTE)}
_COLOURS = {variable: colour for colour, variable in _STAND_INS.items()}
_MARKERS = dict(zip(SHAPES, "os^D", strict=True))
_DASHES: dict[str, Any] = dict(zip(SHAPES, ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 2, 1.2, 2))), strict=True))
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 390.0, 260.0, 36.0, 28.0, 42.0  # letters of 11 px on a telephone
_TREND_WIDTH, _TREND_HEIGHT, _TREND_LEFT = 320.0, 230.0, 44.0
_LABEL_PX, _LETTER_PX, _LINE_PX = 12.0, 6.8, 13.5  # the type size, a letter's width at it, and a line's height
_MOST_BESIDE = 170.0  # px for the names of series; a picture with longer ones is wider
_HIDDEN_START = 0.08
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
    """One series: finite points, x ascending; `smooth` draws a running mean and the points faintly behind.

    label: stands beside its end; may be empty. colour: the series' number, see `page.swatch`.
    behind: other series, as (x, y), of which this one is the mean; drawn faintly.
    """

    label: str
    colour: int
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


def curve_plot(
    name: str,
    lines: Sequence[Line],
    levels: Sequence[Level],
    x_label: str,
    y_label: str,
    hidden_start: float = _HIDDEN_START,
) -> str:
    """An inline `<svg>`; `name` tells the pictures of a page apart, their ids included. `lines` isn't empty.

    hidden_start: for this share of its x axis a line that starts steeply may leave the picture at its top.
    """
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        labels = [line.label for line in lines] + [level.label for level in levels]
        longest = max(len(label) for label in labels)
        height = max(_HEIGHT, len(labels) * _LINE_PX + _TOP + _BOTTOM)
        beside = longest * _LETTER_PX + 22 if longest else 12.0
        picture, axes = _canvas(_WIDTH + max(0.0, beside - _MOST_BESIDE), height, _LEFT, beside)
        drawn = [_draw(axes, line) for line in lines]
        for level in levels:
            axes.axhline(level.y, color=_COLOURS["--muted"], linewidth=1.1, dashes=(2, 3), zorder=1)
        _limit(axes, drawn, levels, hidden_start)
        _furnish(axes, x_label, y_label)
        _name_ends(axes, lines, drawn, levels)
        return _inline(_svg(picture), f"{y_label} over {x_label}")


def curve_figure(
    caption: str,
    name: str,
    lines: Sequence[Line],
    levels: Sequence[Level],
    x_label: str,
    y_label: str,
    hidden_start: float = _HIDDEN_START,
) -> str:
    """`curve_plot` in a figure under a caption (HTML), with its points to take away."""
    rows: list[tuple[object, ...]] = []
    for line in lines:
        rows += [(line.label, x, y) for x, y in zip(line.x, line.y, strict=True)]
        for number, (xs, ys) in enumerate(line.behind, start=1):
            rows += [(f"{line.label}, seed {number}", x, y) for x, y in zip(xs, ys, strict=True)]
    rows += [(level.label, "", level.y) for level in levels]
    svg = curve_plot(name, lines, levels, x_label, y_label, hidden_start)
    return figure(caption, svg, name, ("series", x_label, y_label), rows)


def trend_plot(name: str, trend: Trend, unit: float, x_label: str, y_label: str) -> str:
    """An inline `<svg>` as by `curve_plot`, with a log axis, in units of `unit`, and a level at zero."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        picture, axes = _canvas(_TREND_WIDTH, _TREND_HEIGHT, _TREND_LEFT, 14.0)
        colour = _COLOURS[f"--arm{trend.colour % PALETTE}"]
        axes.set_xscale("log")
        axes.axhline(0, color=_COLOURS["--muted"], linewidth=1.1, dashes=(2, 3), zorder=1)
        if trend.line:
            xs, ys, lows, highs = zip(*trend.line, strict=True)
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.16, linewidth=0, zorder=2)
            axes.plot(xs, ys, color=colour, linewidth=1.9, zorder=3)
            if trend.beyond:
                ends = (xs[-1], trend.beyond[0]), (ys[-1], trend.beyond[1])
                axes.plot(*ends, color=colour, linewidth=1.4, linestyle=(0, (4, 2)), zorder=3)
        axes.plot(
            trend.x,
            trend.y,
            color=colour,
            linestyle="none",
            marker=_MARKERS[shape(trend.colour)],
            markersize=5.5,
            markeredgewidth=0,
            alpha=0.75,
            zorder=4,
        )
        far = [*trend.x, *([trend.beyond[0]] if trend.beyond else [])]
        room = (max(far) / min(far)) ** 0.06 if max(far) > min(far) else 2.0
        axes.set_xlim(min(far) / room, max(far) * room)
        _furnish(axes, x_label, y_label)
        _mark(axes, far, unit)
        return _inline(_svg(picture), f"{y_label} over {x_label}")


def trend_figure(caption: str, name: str, trend: Trend, unit: float, x_label: str, y_label: str, note: str) -> str:
    """`trend_plot` in a figure, with its points and its line to take away. caption, note: HTML."""
    rows: list[tuple[object, ...]] = [("measured", x / unit, y, "", "") for x, y in zip(trend.x, trend.y, strict=True)]
    rows += [("line", x / unit, *rest) for x, *rest in trend.line]
    columns = ("what", x_label, y_label, "low", "high")
    return figure(caption, trend_plot(name, trend, unit, x_label, y_label), name, columns, rows, note)


def _canvas(width: float, height: float, left: float, right: float) -> tuple[Figure, Axes]:
    """A figure with nothing behind it, all in px; left, right: beside the axes."""
    picture = Figure(figsize=(width / 72, height / 72))
    axes = picture.add_axes((left / width, _BOTTOM / height, 1 - (left + right) / width, 1 - (_TOP + _BOTTOM) / height))
    picture.patch.set_visible(False)
    axes.patch.set_visible(False)
    return picture, axes


def _size(axes: Axes) -> tuple[float, float]:
    """Width and height of the whole picture in px."""
    assert isinstance(axes.figure, Figure), "it has no parts"
    wide, tall = axes.figure.get_size_inches() * 72
    return float(wide), float(tall)


def _mark(axes: Axes, wanted: Sequence[float], unit: float) -> None:
    """Ticks of a log axis where something was measured, as far as their labels have room."""
    low, high = axes.get_xlim()
    letters = (math.log(high) - math.log(low)) / (axes.get_position().width * _TREND_WIDTH) * _LETTER_PX
    marks: list[float] = []
    for x in sorted(set(wanted)):
        if not marks or math.log(x) - math.log(marks[-1]) >= letters * (len(f"{x / unit:.3g}") + 2):
            marks.append(x)
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{x / unit:.3g}" for x in marks]))
    axes.xaxis.set_minor_locator(NullLocator())


def _draw(axes: Axes, line: Line) -> tuple[Sequence[float], Sequence[float]]:
    """Draw a series; gives the points of its strong line."""
    colour = _COLOURS[f"--arm{line.colour % PALETTE}"]
    strong = smoothed(line.y) if line.smooth else line.y
    if line.smooth:
        axes.plot(line.x, line.y, color=colour, linewidth=0.9, alpha=0.28, zorder=2)
    for x, y in line.behind:
        axes.plot(x, y, color=colour, linewidth=0.9, alpha=0.35, zorder=2)
    axes.plot(
        line.x,
        strong,
        color=colour,
        linewidth=1.9,
        linestyle=(0, (4, 2)) if line.dashed else _DASHES[shape(line.colour)],
        marker=_MARKERS[shape(line.colour)],
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


def _furnish(axes: Axes, x_label: str, y_label: str) -> None:
    """Axis labels with units, a quiet grid, no box."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_COLOURS["--muted"])
    axes.spines["bottom"].set_linewidth(0.8)
    axes.grid(axis="y", color=_COLOURS["--grid"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5, labelcolor=_COLOURS["--muted"])
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(x_label, color=_COLOURS["--ink"], labelpad=5)
    width, height = _size(axes)
    left = -(axes.get_position().x0 - 2 / width) / axes.get_position().width
    axes.text(
        left, 1 + 11 / (axes.get_position().height * height), y_label, transform=axes.transAxes, color=_COLOURS["--ink"]
    )


def _name_ends(
    axes: Axes,
    lines: Sequence[Line],
    drawn: Sequence[tuple[Sequence[float], Sequence[float]]],
    levels: Sequence[Level],
) -> None:
    """Write each series' name right of the picture at the height where it ends, pushed apart where they meet."""
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    ends: list[tuple[float, str, str, Any, Any]] = []
    last = []
    for line, (xs, ys) in zip(lines, drawn, strict=True):
        if line.label:
            kind = shape(line.colour)
            ends.append((ys[-1], line.label, f"--arm{line.colour % PALETTE}", _DASHES[kind], _MARKERS[kind]))
            last.append(xs[-1])
    ends += [(level.y, level.label, "--muted", "-", None) for level in levels]
    last += [right] * len(levels)
    order = sorted(range(len(ends)), key=lambda at: ends[at][0])
    box, (wide, tall) = axes.get_position(), _size(axes)
    heights = spread([(ends[at][0] - low) / (high - low) for at in order], _LINE_PX / (box.height * tall))
    gap = 15 / (box.width * wide)
    for at, height in zip(order, heights, strict=True):
        y, label, variable, dashes, marker = ends[at]
        start = (last[at] / right, (y - low) / (high - low))
        axes.plot(
            (start[0], 1.0, 1 + gap * 0.6),
            (start[1], start[1], height),
            transform=axes.transAxes,
            color=_COLOURS[variable],
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


def _svg(picture: Figure) -> str:
    out = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # letters that matplotlib's own font lacks: the browser has them
        picture.savefig(out, format="svg", metadata=nothing)
    return out.getvalue()


def _inline(svg: str, title: str) -> str:
    """From a file to an element: no prolog, size, font or style of its own, no unused ids, the page's colours."""
    svg = svg[svg.index("<svg") :]
    opening_end = svg.index(">")
    box = re.search(r'viewBox="[^"]*"', svg[:opening_end])
    assert box is not None, "matplotlib wrote an svg without a viewBox"
    svg = f'<svg {box[0]} role="img" aria-label="{text(title)}">' + svg[opening_end + 1 :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href").replace(" font-family: 'DejaVu Sans';", "")
    used = set(re.findall(r"#([A-Za-z_][\w-]*)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    for colour, variable in _STAND_INS.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()
