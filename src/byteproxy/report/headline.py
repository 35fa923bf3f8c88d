"""The picture that tells a study's result: each arm's raw bits per byte at equal compute, with each seed's own.

Twice, from the same figures: as HTML that takes the page's colours and width, and, for a README, as an SVG file with
fixed colours that read on white and on dark alike (all at about 4.3 : 1 on both).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.ticker import MaxNLocator

from byteproxy.files import ensure_ours, write_aside
from byteproxy.report.lenient import called, colours, distinct, mapping, named, plain, text, wrapped
from byteproxy.report.page import PALETTE, swatch, take_away
from byteproxy.report.study_tables import signed
from byteproxy.study.units import fixed, number, scientific

COLOURS = ("#297dc8", "#b9622b", "#2a895e", "#bb5593", "#927621", "#208594", "#a16c63", "#757a81")
"""Of arms in the file, in the order of the page's."""
INK = "#727a85"
_WIDTH, _ROW, _TOP, _SIZE = 720.0, 34.0, 58.0, 14.0
_LETTER = 0.66 * _SIZE  # an upper estimate of a letter's mean width
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

    def place(self, value: float) -> float:
        """Where a value lies from low (0) to high (1); what is outside lies at the edge."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

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

    Where the test side was opened for some arms only, those alone are shown: figures of two sides can't be compared.
    """
    arms, main = named(results.get("arms")), mapping(results.get("main"))
    given = colours(arms)
    sides = {name: mapping(arm.get("raw_bpb")).get("side") or "validation" for name, arm in arms.items()}
    side = "test" if "test" in sides.values() else "validation"
    arms = {name: arm for name, arm in arms.items() if sides[name] == side}
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
    level = number(mapping(mapping(results.get("compressors")).get(side)).get("ppmd"))
    size = f", size {plain(called(main['size']))}" if main.get("size") else ""
    compute = f" of {scientific(main.get('flops'))} training FLOPs" if number(main.get("flops")) else ""
    title = f"Bits per byte of {side} text at equal compute{compute}{size}"
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


def headline_html(results: Mapping[str, Any]) -> str:
    """The picture for the page; a sentence as long as there is nothing to show."""
    shown = headline(results)
    if shown is None:
        return "<p class=note>No arm has a figure yet.</p>"
    grid = "".join(f"<i class=tick style=left:{100 * shown.place(tick):.2f}%></i>" for tick in shown.ticks)
    if shown.level is not None and shown.level_inside:
        grid += f"<i class=level style=left:{100 * shown.place(shown.level):.2f}%></i>"
    lines = []
    for row in shown.rows:
        colour = f"background:var(--arm{row.colour % PALETTE})"
        dots = "".join(f'<i class=seed style="left:{100 * shown.place(seed):.2f}%;{colour}"></i>' for seed in row.seeds)
        dots += f'<i class=mean style="left:{100 * shown.place(row.mean):.2f}%;{colour}"></i>'
        small = "<small>bits of its symbols</small>" if row.own_symbols else ""
        lines.append(
            f"<div class=name>{swatch(row.colour)}{wrapped(row.name)}{small}</div><div class=track>{grid}{dots}</div>"
            f"<div class=value><b>{row.mean:.3f}</b><small>{_percent(row, shown.base)}</small></div>"
        )
    ticks = "".join(
        f"<span style=left:{100 * shown.place(tick):.2f}%>{_tick(tick, shown.ticks)}</span>"
        for tick in _sparse(shown.ticks)
    )
    label = ""
    if shown.level is not None:
        at = shown.place(shown.level)
        anchor = f"right:{100 - 100 * at:.2f}%" if at > 0.5 else f"left:{100 * at:.2f}%"
        label = f"<span class=named style={anchor}>{shown.level_label}</span>"
    return (
        f"<figure class=headline><figcaption>{text(shown.title)}</figcaption><div class=dots>"
        f"<div></div><div class=axis>{label}</div><div></div>{''.join(lines)}"
        f"<div></div><div class=axis>{ticks}</div><div></div></div>"
        f"<p class=note>Fewer is better. Dots: each seed; bar: their mean.{_base_note(shown)}</p>"
        f"{take_away(headline_svg(results), 'headline', _COLUMNS, _rows(shown))}</figure>"
    )


_COLUMNS = ("arm", "bits per byte", "percent", "of its own symbols", "seeds")


def _rows(shown: Headline) -> list[tuple[object, ...]]:
    return [(row.name, row.mean, row.percent, row.own_symbols, " ".join(map(str, row.seeds))) for row in shown.rows]


def _base_note(shown: Headline) -> str:
    return f" Percent: against {text(shown.base)}." if shown.base else ""


def _percent(row: Row, base: str | None) -> str:
    if row.percent is None:
        return "base" if row.name == base else ""
    return signed(row.percent, 1, "%")


def _tick(tick: float, ticks: Sequence[float]) -> str:
    """With as many places as all of them need."""
    return f"{tick:.{max(len(f'{one:.6g}'.partition('.')[2]) for one in ticks)}f}"


def _sparse(ticks: Sequence[float]) -> Sequence[float]:
    """Every second one where there are more than have room on a narrow screen."""
    return ticks if len(ticks) <= 5 else ticks[::2]


def write_headline(results: Mapping[str, Any], path: Path) -> None:
    """Write the picture as an SVG file, whole or not at all.

    Raises InputError if that can't be, or if something else than a picture stands there.
    """
    ensure_ours(path, "picture in SVG", (b"<svg", b"<?xml"))
    write_aside(path, headline_svg(results).encode("utf-8", "replace"))


def headline_svg(results: Mapping[str, Any]) -> str:
    """The picture as the text of an SVG file, with nothing behind it."""
    shown = headline(results)
    if shown is None:
        return _file(60.0, [_words(16.0, 36.0, "No arm has a figure yet.")], "byteproxy: no figure yet")
    names = distinct(row.name for row in shown.rows)
    left = 34 + max(map(len, names.values())) * _LETTER
    right = _WIDTH - 128

    def x(value: float) -> float:
        return left + (right - left) * shown.place(value)

    bottom = _TOP + _ROW * len(shown.rows) + 6
    parts = [_words(12.0, 22.0, shown.title, weight=600)]
    parts += [_line(x(tick), _TOP - 6, bottom, ' stroke-opacity="0.25"') for tick in shown.ticks]
    parts += [
        _words(x(tick), bottom + 18, _tick(tick, shown.ticks), size=12.0, anchor="middle") for tick in shown.ticks
    ]
    if shown.level is not None:
        at = x(shown.level)
        anchor = "end" if shown.place(shown.level) > 0.5 else "start"
        if shown.level_inside:
            parts.append(_line(at, _TOP - 6, bottom, ' stroke-dasharray="3 4"'))
        parts += [_words(at, _TOP - 11, shown.level_label, size=12.0, anchor=anchor)]
    for place, row in enumerate(shown.rows):
        y = _TOP + _ROW * (place + 0.5)
        colour = COLOURS[row.colour % PALETTE]
        mark = "*" if row.own_symbols else ""
        parts.append(f'<circle cx="18" cy="{y:.1f}" r="5" fill="{colour}"/>')
        parts.append(_words(30.0, y + 5, names[row.name] + mark, weight=600))
        parts += [
            f'<circle cx="{x(seed):.1f}" cy="{y:.1f}" r="5" fill="{colour}" fill-opacity="0.55"/>' for seed in row.seeds
        ]
        parts.append(
            f'<rect x="{x(row.mean) - 1.5:.1f}" y="{y - 11:.1f}" width="3" height="22" rx="1.5" fill="{colour}"/>'
        )
        parts.append(_words(right + 14, y + 5, fixed(row.mean, 3), weight=600))
        parts.append(_words(right + 62, y + 5, _percent(row, shown.base), size=12.0))
    note = "Fewer is better. Dots: each seed; bar: their mean."
    if any(row.own_symbols for row in shown.rows):
        note += " * Bits of its own symbols per byte: it can't read raw bytes."
    parts.append(_words(12.0, bottom + 42, note, size=12.0))
    return _file(bottom + 54, parts, shown.title)


def _file(height: float, parts: Iterable[str], title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height:.0f}" width="{_WIDTH:.0f}"'
        f" height=\"{height:.0f}\" font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\""
        f' role="img" aria-label="{text(title)}">\n<title>{text(title)}</title>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _words(x: float, y: float, words: str, size: float = _SIZE, weight: int = 400, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" font-weight="{weight}" text-anchor="{anchor}"'
        f' fill="{INK}">{text(words)}</text>'
    )


def _line(x: float, top: float, bottom: float, more: str) -> str:
    return f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{INK}"{more}/>'


STYLE = """
.headline { margin: 2em 0; max-width: 900px; }
.headline .note { margin: .6em 0 0; }
.dots { display: grid; grid-template-columns: fit-content(15em) minmax(0, 1fr) max-content; column-gap: 1.2em;
  align-items: stretch; font-variant-numeric: tabular-nums; }
.dots small { display: block; color: var(--muted); font-size: .78rem; font-weight: 400; line-height: 1.2; }
.dots .name { padding: .45em 0; font-weight: 600; overflow-wrap: break-word; line-height: 1.25; align-self: center; }
.dots .name small { padding-left: 1.6em; }
.dots .value { align-self: center; text-align: right; line-height: 1.2; padding: .3em 0; }
.track { position: relative; min-height: 2.7em; border-bottom: 1px solid var(--grid); }
.track i { position: absolute; }
.tick, .level { top: 0; bottom: 0; border-left: 1px solid var(--grid); }
.level { border-left: 2px dashed var(--muted); margin-left: -1px; }
.seed { width: 11px; height: 11px; margin: -5.5px; top: 50%; border-radius: 50%; opacity: .5; }
.mean { width: 3px; height: 24px; margin: -12px -1.5px; top: 50%; border-radius: 2px; }
.axis { position: relative; height: 1.7em; color: var(--muted); font-size: .82rem; }
.axis span { position: absolute; transform: translateX(-50%); padding-top: .3em; }
.axis .named { transform: none; white-space: nowrap; padding: 0; }
@media (max-width: 760px) { .dots { grid-template-columns: fit-content(7.5em) minmax(0, 1fr) max-content;
  column-gap: .7em; font-size: .9rem; } .dots .name small { padding-left: 0; } }
"""
