"""A plot of labelled dots as inline SVG in the colours of the page around it. The same input gives the same bytes."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from byteproxy.report.page import PALETTE, shape
from byteproxy.report.page import text as escaped

WIDTH, HEIGHT = 390.0, 390.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 30.0, 44.0
_TYPE, _LETTER, _LINE = 12.0, 7.0, 14.0
_DOT = 4.5
_LONGEST = 26


class Dot(NamedTuple):
    """A dot; both coordinates are at least 0."""

    label: str
    x: float
    y: float


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Box") -> bool:
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


def scatter(dots: Sequence[Dot], x_label: str, y_label: str) -> str:
    """An inline `<svg>`: both axes begin at 0, each dot has its label beside it, or further off with a line to it."""
    x_ticks = _ticks(max((dot.x for dot in dots), default=0))
    y_ticks = _ticks(max((dot.y for dot in dots), default=0))

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (WIDTH - _LEFT - _RIGHT) * x / x_ticks[-1]
        return across, HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * y / y_ticks[-1]

    parts = [f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escaped(f"{y_label} over {x_label}")}"']
    parts.append(f' font-size="{_TYPE:g}">')
    for tick in y_ticks:
        left, y = place(0, tick)
        parts.append(_line(left, y, WIDTH - _RIGHT, y, "--muted" if tick == 0 else "--grid"))
        parts.append(_text(left - 8, y + 4, f"{tick:g}", "--muted", "end"))
    for tick in x_ticks:
        x, bottom = place(tick, 0)
        parts.append(_text(x, bottom + 17, f"{tick:g}", "--muted", "middle"))
    parts.append(_text(2, 14, y_label, "--ink", "start"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, x_label, "--ink", "middle"))
    centres = [place(dot.x, dot.y) for dot in dots]
    taken = [_Box(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y in centres]
    for number, (dot, (x, y)) in enumerate(zip(dots, centres, strict=True)):
        label = dot.label if len(dot.label) <= _LONGEST else dot.label[: _LONGEST - 1] + "…"
        box = _free_box(x, y, len(label) * _LETTER, taken)
        taken.append(box)
        colour = f"--arm{number % PALETTE}"
        near = max(box.left - x, x - box.right, 0), max(box.top - y, y - box.bottom, 0)
        if max(near) > 2 * _DOT:
            parts.append(_line(x, y, min(max(x, box.left), box.right), (box.top + box.bottom) / 2, colour))
        below = sum(math.dist((x, y), other) < _DOT for other in centres[:number])
        radius = max(_DOT - 1.5 * below, 1)  # dots in one place become rings
        parts.append(_mark(number, x, y, radius, f"{dot.label}: {dot.x:.3g}, {dot.y:.3g}"))
        parts.append(_text(box.left, box.bottom - 3, label, colour, "start"))
    return "".join(parts) + "</svg>"


def _ticks(largest: float) -> list[float]:
    """From 0 to at least `largest`, at round steps."""
    ticks = [float(tick) for tick in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(0, largest or 1)]
    return [round(tick, 9) for tick in ticks if tick >= 0]


def _free_box(x: float, y: float, width: float, taken: Sequence[_Box]) -> _Box:
    """The nearest place for a label within the picture that meets nothing; the last one tried if there is none."""
    box = _Box(x, y, x, y)
    for left, top in _places(x, y, width):
        box = _Box(left, top, left + width, top + _LINE)
        inside = left >= _LEFT and box.right <= WIDTH and top >= _TOP - _LINE and box.bottom < HEIGHT - _BOTTOM
        if inside and not any(box.meets(other) for other in taken):
            return box
    return box


def _places(x: float, y: float, width: float) -> Iterator[tuple[float, float]]:
    middle, gap = y - _LINE / 2, _DOT + 3
    sides = (x + gap, x - gap - width)
    yield from ((left, middle) for left in sides)
    yield from ((x - width / 2, top) for top in (y - gap - _LINE, y + gap))
    for away in range(1, 12):
        yield from ((left, middle + sign * away * _LINE * 0.75) for sign, left in product((-1, 1), sides))


_MARKS = {
    "square": "M-.9 -.9H.9V.9H-.9z",
    "triangle": "M0 -1.1L1.1 .9H-1.1z",
    "diamond": "M0 -1.2L1.2 0L0 1.2L-1.2 0z",
}
"""About 0, of radius 1."""


def _mark(number: int, x: float, y: float, radius: float, title: str) -> str:
    """The mark of a series: a circle, or another shape from the ninth on."""
    inside, colour = f"<title>{escaped(title)}</title>", f"var(--arm{number % PALETTE})"
    kind = shape(number)
    if kind not in _MARKS:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{colour}">{inside}</circle>'
    where = f"translate({x:.1f} {y:.1f}) scale({radius:g})"
    return f'<path d="{_MARKS[kind]}" transform="{where}" fill="{colour}">{inside}</path>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="var({colour})" stroke-width="0.8"/>'


def _text(x: float, y: float, words: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="var({colour})" text-anchor="{anchor}">{escaped(words)}</text>'
