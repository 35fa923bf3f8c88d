"""The canvas of pictures: matplotlib's axes in stand-in colours, turned into an `<svg>` in the colours of the page.

Stand-ins become the page's CSS variables (`--ink`, `--muted`, `--grid`, and `--arm0` and so on for series), so one
picture reads in light and in dark, and a page of many series can give its few colours to others without a script. Text
stays text. The same input gives the same bytes.
"""

import math
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from itertools import product
from typing import Any

import matplotlib
from markupsafe import escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from byteproxy.report.page import SHAPES, seen, shape

INK, MUTED, GRID = "#0f0f01", "#0f0f02", "#0f0f03"
WIDTH, HEIGHT = 390.0, 260.0  # letters of 11 px on a telephone
LEFT, TOP, BOTTOM = 36.0, 28.0, 42.0
LETTER_PX, LINE_PX, DOT_PX = 6.8, 13.5, 4.5
"""A letter's width and a line's height at the type size of 12 px, and the radius of a labelled dot."""
MARKERS = dict(zip(SHAPES, "os^D", strict=True))
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"}
_STYLE: Any = {
    **{"svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 12.0, "text.parse_math": False},
    **{"axes.unicode_minus": True, "path.simplify": True},
}


def drawn_by(
    name: str,
    title: str,
    size: tuple[float, float],
    right: float,
    draw: Callable[[Axes], None],
    hover: Sequence[str] = (),
) -> str:
    """An inline `<svg>` of what is drawn on axes, all in px. hover: what the artists named `hover0` and so on say."""
    width, height = size
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        picture = Figure(figsize=(width / 72, height / 72))
        place = (LEFT / width, BOTTOM / height, 1 - (LEFT + right) / width, max(1 - (TOP + BOTTOM) / height, 0.01))
        axes = picture.add_axes(place)
        picture.patch.set_visible(False)
        axes.patch.set_visible(False)
        draw(axes)
        out = StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # letters that matplotlib's own font lacks: the browser has them
            picture.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inline(out.getvalue(), title, hover)


def _inline(svg: str, title: str, hover: Sequence[str]) -> str:
    """From a file to an element: no prolog, size, font or style of its own, no unused ids, the page's colours."""
    svg = str(seen(svg[svg.index("<svg") :]))  # names that others gave are in it
    opening_end = svg.index(">")
    box = re.search(r'viewBox="[^"]*"', svg[:opening_end])
    assert box is not None, "matplotlib wrote an svg without a viewBox"
    svg = f'<svg {box[0]} role="img" aria-label="{escape(seen(title))}">' + svg[opening_end + 1 :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = svg.replace("xlink:href", "href").replace(" font-family: 'DejaVu Sans';", "")
    svg = re.sub(r'<g id="hover(\d+)">', lambda found: f"<g><title>{escape(seen(hover[int(found[1])]))}</title>", svg)
    used = set(re.findall(r"#([A-Za-z_][\w-]*)", svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"#0e([0-9a-f]{4})", lambda found: f"var(--arm{int(found[1], 16)})", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.strip()


def stand_in(series: int | None) -> str:
    """What stands for the colour of a series while matplotlib draws."""
    return INK if series is None else f"#0e{series:04x}"


def size_of(axes: Axes) -> tuple[float, float]:
    """Width and height of the whole picture in px."""
    assert isinstance(axes.figure, Figure), "it has no parts"
    wide, tall = axes.figure.get_size_inches() * 72
    return float(wide), float(tall)


def draw_dots(
    axes: Axes, x: Sequence[float], y: Sequence[float], series: int, size: float, alpha: float = 1.0
) -> Sequence[Any]:
    look: dict[str, Any] = {"marker": MARKERS[shape(series)], "markersize": size, "markeredgewidth": 0, "alpha": alpha}
    return axes.plot(x, y, color=stand_in(series), linestyle="none", zorder=4, clip_on=False, **look)


def furnish(axes: Axes, x_label: str, y_label: str) -> None:
    """Axis labels with units, room for the ticks' own, a quiet grid, no box."""
    for split in ("top", "right", "left"):
        axes.spines[split].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.spines["bottom"].set_linewidth(0.8)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=5, labelcolor=MUTED)
    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(x_label, color=INK, labelpad=5)
    (width, height), place = size_of(axes), axes.get_position()
    longest = max(map(len, axes.yaxis.get_major_formatter().format_ticks(list(axes.get_yticks()))), default=0)
    more = max(0.0, longest * 7.4 + 8 - LEFT) / width
    axes.set_position((place.x0 + more, place.y0, place.width - more, place.height))
    left = -(place.x0 + more - 2 / width) / (place.width - more)
    axes.text(left, 1 + 11 / (place.height * height), y_label, transform=axes.transAxes, color=INK)


def round_top(largest: float) -> float:
    """A round number of at least `largest`."""
    return float(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest or 1)[-1])


def tick_at(axes: Axes, wanted: Sequence[float], unit: float) -> None:
    """Ticks of a log axis where something was measured, as far as their labels have room."""
    low, high = axes.get_xlim()
    letters = (math.log(high) - math.log(low)) / (axes.get_position().width * size_of(axes)[0]) * LETTER_PX
    marks: list[float] = []
    for x in sorted(set(wanted)):
        if not marks or math.log(x) - math.log(marks[-1]) >= letters * (len(f"{x / unit:.3g}") + 2):
            marks.append(x)
    axes.xaxis.set_major_locator(FixedLocator(marks))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{x / unit:.3g}" for x in marks]))
    axes.xaxis.set_minor_locator(NullLocator())


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


_Box = tuple[float, float, float, float]  # left, bottom, right, top


def free_box(x: float, y: float, width: float, inner: tuple[float, float], taken: Sequence[_Box]) -> _Box:
    """The nearest place for a label within the picture that meets nothing; the last one tried if there is none."""
    box = (x, y, x, y)
    for left, bottom in _places(x, y, width):
        box = (left, bottom, left + width, bottom + LINE_PX)
        inside = left >= 0 and box[2] <= inner[0] + 12 and bottom >= 0 and box[3] <= inner[1] + LINE_PX
        if inside and not any(
            box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3] for other in taken
        ):
            return box
    return box


def _places(x: float, y: float, width: float) -> Iterator[tuple[float, float]]:
    middle, gap = y - LINE_PX / 2, DOT_PX + 3
    sides = (x + gap, x - gap - width)
    yield from ((left, middle) for left in sides)
    yield from ((x - width / 2, bottom) for bottom in (y + gap, y - gap - LINE_PX))
    for away in range(1, 12):
        yield from ((left, middle + sign * away * LINE_PX * 0.75) for sign, left in product((1, -1), sides))
