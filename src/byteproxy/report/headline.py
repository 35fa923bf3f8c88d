"""The picture of a study's result: each arm's raw bits per byte at equal compute, with each seed's own.

On the page in its colours, for wide and for narrow screens; for a README as an SVG file with fixed colours that read on
white and on dark alike (all at about 4.3 : 1 on both).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import escape
from matplotlib.ticker import MaxNLocator

from byteproxy.files import ensure_ours, write_aside
from byteproxy.report.lenient import called, colours, distinct, mapping, named, plain
from byteproxy.report.mark_plots import Strip, strips
from byteproxy.report.page import HUES, Picture
from byteproxy.study.units import number, scientific, signed

COLOURS = ("#297dc8", "#b9622b", "#2a895e", "#bb5593", "#927621", "#208594", "#a16c63", "#8864d5")
"""Colours of series in the file, in the order of the page's hues."""
INK = "#727a85"
_WIDE, _NARROW = 720.0, 350.0
_FAR = 1.2  # a level farther off than this many times the arms' range is named at the edge, not drawn to scale


@dataclass(frozen=True)
class Row:
    """An arm: the mean and each seed's figure; own_symbols: they are bits of its symbols, not of raw bytes."""

    name: str
    colour: int
    mean: float
    seeds: Sequence[float]
    percent: float | None
    own_symbols: bool


@dataclass(frozen=True)
class Headline:
    """What the picture shows. base: the arm that percentages are to. level: PPMd's figure, maybe outside low..high."""

    rows: Sequence[Row]
    title: str
    base: str | None
    level: float | None
    low: float
    high: float
    ticks: Sequence[float]

    @property
    def own_symbols(self) -> bool:
        """Whether the figures of some arm are bits of its own symbols."""
        return any(row.own_symbols for row in self.rows)

    @property
    def level_inside(self) -> bool:
        """Whether the level is drawn to scale."""
        return self.level is not None and self.low <= self.level <= self.high

    @property
    def level_label(self) -> str:
        """The level's name and figure, with an arrow if it is outside."""
        if self.level is None:
            return ""
        left, right = "← " * (self.level < self.low), " →" * (self.level > self.high)
        return f"{left}PPMd {self.level:.3f}{right}"


def headline(results: Mapping[str, Any]) -> Headline | None:
    """What there is to show; None as long as no arm has a figure.

    Where the test split was opened for some arms only, those alone are shown: figures of two splits can't be compared.
    """
    arms, main = named(results.get("arms")), mapping(results.get("main"))
    given = colours(arms)
    splits = {name: mapping(arm.get("raw_bpb")).get("split") or "validation" for name, arm in arms.items()}
    split = "test" if "test" in splits.values() else "validation"
    arms = {name: arm for name, arm in arms.items() if splits[name] == split}
    means = {name: number(mapping(arm.get("raw_bpb")).get("mean")) for name, arm in arms.items()}
    by_seed = {name: _by_seed(arm) for name, arm in arms.items()}
    base = next((name for name, arm in arms.items() if arm.get("role") == "bytes" and means[name]), None)
    rows = []
    for name, arm in arms.items():
        mean = means[name]
        if mean is None:
            continue
        gap = _gap(by_seed[name], by_seed[base]) if base and name != base else None
        rows.append(Row(name, given[name], mean, list(by_seed[name].values()), gap, arm.get("scored") == "view"))
    if not rows:
        return None
    level = number(mapping(mapping(results.get("compressors")).get(split)).get("ppmd"))
    size = f", size {plain(called(main['size']))}" if main.get("size") else ""
    compute = f" of {scientific(main.get('flops'))} training FLOPs" if number(main.get("flops")) else ""
    title = f"Bits per byte of {split} text at equal compute{compute}{size}"
    return Headline(rows, title, base, level, *_scale(rows, level))


def _by_seed(arm: Mapping[str, Any]) -> dict[str, float]:
    seeds = mapping(mapping(arm.get("raw_bpb")).get("seeds"))
    return {str(seed): value for seed, found in seeds.items() if (value := number(found)) is not None}


def _gap(one: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """Percent above another arm, over the seeds that both have."""
    common = sorted(set(one) & set(other))
    against = sum(other[seed] for seed in common)
    return 100 * (sum(one[seed] for seed in common) / against - 1) if against else None


def _scale(rows: Iterable[Row], level: float | None) -> tuple[float, float, list[float]]:
    """From where to where the picture goes, and its ticks."""
    shown = [value for row in rows for value in (row.mean, *row.seeds)]
    low, high = min(shown), max(shown)
    span = max(high - low, 0.01 * abs(high), 1e-6)
    if level is not None and low - _FAR * span <= level <= high + _FAR * span:
        low, high = min(low, level), max(high, level)
    low, high = low - 0.08 * span, high + 0.08 * span
    return low, high, [float(tick) for tick in MaxNLocator(5).tick_values(low, high) if low <= tick <= high]


def headline_picture(shown: Headline) -> Picture:
    """The picture for the page."""
    columns = ("arm", "bits per byte", "percent", "of its own symbols", "seeds")
    rows = [(row.name, row.mean, row.percent, row.own_symbols, " ".join(map(str, row.seeds))) for row in shown.rows]
    return Picture(_svg(shown, _WIDE), "headline", columns, rows, _svg(shown, _NARROW))


def _svg(shown: Headline, width: float) -> str:
    names = distinct(row.name for row in shown.rows)
    found = [
        Strip(
            names[row.name] + ("*" if row.own_symbols else ""),
            row.colour,
            row.mean,
            row.seeds,
            (f"{row.mean:.3f}", "base" if row.name == shown.base else signed(row.percent, 1, "%").replace("–", "")),
        )
        for row in shown.rows
    ]
    places = max(len(f"{tick:.6g}".partition(".")[2]) for tick in shown.ticks) if shown.ticks else 0
    ticks = shown.ticks if width > 500 or len(shown.ticks) <= 3 else shown.ticks[::2]
    level = None if shown.level is None else (shown.level, shown.level_label, shown.level_inside)
    labels = {tick: f"{tick:.{places}f}" for tick in ticks}
    return strips("headline", shown.title, found, labels, (shown.low, shown.high), level, width)


def write_headline(results: Mapping[str, Any], path: Path) -> None:
    """Write the picture as an SVG file, whole or not at all.

    Raises InputError if that can't be, or if something else than a picture stands there.
    """
    ensure_ours(path, "picture in SVG", (b"<svg", b"<?xml"))
    write_aside(path, headline_svg(results).encode("utf-8", "replace"))


def headline_svg(results: Mapping[str, Any]) -> str:
    """The picture as the text of an SVG file, with nothing behind it, its title above and what it says below."""
    shown = headline(results)
    if shown is None:
        return _file(60.0, _words(36.0, "No arm has a figure yet."), "byteproxy: no figure yet")
    svg = _svg(shown, _WIDE)
    svg = re.sub(r"var\(--arm(\d+)\)", lambda found: COLOURS[int(found[1]) % HUES], svg)
    svg = svg.replace("stroke: var(--grid)", f"stroke: {INK}; stroke-opacity: 0.25")
    svg = re.sub(r"var\(--\w+\)", INK, svg)
    height = float(svg.split('viewBox="0 0 ')[1].split('"')[0].split()[1])
    inner = svg.replace("<svg ", f'<svg x="0" y="34" width="{_WIDE:.0f}" height="{height:g}" ', 1)
    note = "Fewer is better. Dots: each seed; bar: their mean."
    if shown.own_symbols:
        note += " * Bits of its own symbols per byte: it can't read raw bytes."
    parts = _words(22.0, shown.title, 600) + "\n" + inner + "\n" + _words(height + 54, note, size=12.0)
    return _file(height + 66, parts, shown.title)


def _file(height: float, inside: str, title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE:.0f} {height:.0f}" width="{_WIDE:.0f}"'
        f" height=\"{height:.0f}\" font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\""
        f' role="img" aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n{inside}\n</svg>\n'
    )


def _words(y: float, words: str, weight: int = 400, size: float = 14.0) -> str:
    return f'<text x="6" y="{y:.1f}" font-size="{size:g}" font-weight="{weight}" fill="{INK}">{escape(words)}</text>'
