"""The plots of a run's page: small SVG pictures by matplotlib that take their colours from the page around them.

matplotlib draws with stand-in colours, which then become the page's CSS variables. What the colours stand for is said
once for all pictures that show the same, by `legend`. The same input gives the same bytes. About 0.1 s a picture.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from byteproxy.page import PALETTE, text

SMOOTHING = 0.05  # share of a line's points that one smoothed value is the mean of
_HIDDEN_START = 0.08  # what a steep start, this share of the x axis, has above the rest may leave the picture
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 400.0, 250.0, 46.0, 12.0, 12.0, 42.0
_STAND_INS = {"#0f0f01": "--ink", "#0f0f02": "--muted", "#0f0f03": "--grid"}
_STAND_INS |= {f"#0e0e0{number}": f"--arm{number}" for number in range(PALETTE)}
_COLOURS = {variable: colour for colour, variable in _STAND_INS.items()}
_DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)))
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 12.0,
    "text.parse_math": False,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Line:
    """One line: finite points, x ascending. colour: a number; from the palette's end on, lines are dashed.

    smooth: draw a running mean, and the points faintly behind.
    """

    label: str
    colour: int
    x: Sequence[float]
    y: Sequence[float]
    smooth: bool = False


def smoothed(values: Sequence[float]) -> list[float]:
    """A centred mean over about `SMOOTHING` of the points; towards the ends the window narrows, so nothing lags."""
    half = max(1, round(len(values) * SMOOTHING / 2))
    means = []
    for at in range(len(values)):
        reach = min(half, at, len(values) - 1 - at)
        window = values[at - reach : at + reach + 1]
        means.append(math.fsum(window) / len(window))
    return means


def plot(name: str, lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """An inline `<svg>`; `name` tells the pictures of a page apart, their ids included."""
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH / 72, _HEIGHT / 72))
        size = 1 - (_LEFT + _RIGHT) / _WIDTH, 1 - (_TOP + _BOTTOM) / _HEIGHT
        axes = figure.add_axes((_LEFT / _WIDTH, _BOTTOM / _HEIGHT, *size))
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        longest = max(line.x[-1] for line in lines)
        shown: list[float] = []
        for line in lines:
            colour = _COLOURS[f"--arm{line.colour % PALETTE}"]
            strong = smoothed(line.y) if line.smooth else line.y
            if line.smooth:
                axes.plot(line.x, line.y, color=colour, linewidth=0.9, alpha=0.28)
            axes.plot(
                line.x,
                strong,
                color=colour,
                linewidth=1.9,
                linestyle=_DASHES[line.colour // PALETTE % len(_DASHES)],
                marker=None if line.smooth and len(line.x) > 1 else "o",
                markersize=4,
                markeredgewidth=0,
            )
            shown += [y for x, y in zip(line.x, strong, strict=True) if x >= _HIDDEN_START * longest]
        low, high = min(shown), max(shown)
        margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        axes.set_ylim(low - margin, high + margin)
        axes.set_xlim(0, longest * 1.02 or 1.0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(_COLOURS["--muted"])
        axes.grid(axis="y", color=_COLOURS["--grid"], linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, pad=5, labelcolor=_COLOURS["--muted"])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(x_label, color=_COLOURS["--ink"], labelpad=5)
        out = StringIO()
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inline(out.getvalue(), f"{y_label} over {x_label}")


def legend(lines: Sequence[Line]) -> str:
    """What the colours of lines stand for, as HTML."""
    names = {line.label: line.colour for line in lines}
    return "&emsp;".join(
        f'<i class=swatch style="background:var(--arm{colour % PALETTE})"></i>{text(label)}'
        + (
            f" ({('dashed', 'dotted')[colour // PALETTE % len(_DASHES) - 1]})"
            if colour // PALETTE % len(_DASHES)
            else ""
        )
        for label, colour in names.items()
    )


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
