"""The lengths of documents as inline SVG in the colours of the page around it. The same input gives the same bytes."""

from collections.abc import Mapping, Sequence

from byteproxy.evaluate.corpus.tables import length_range, sized
from byteproxy.report.page import text as escaped

WIDTH, HEIGHT = 760.0, 300.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 8.0, 34.0, 44.0
_TYPE = 12.0
SERIES = (("documents", "share of documents", "--arm0"), ("bytes", "share of text", "--arm1"))
"""Key of the histogram, what is drawn, and its colour."""


def length_plot(histogram: Sequence[Mapping[str, int]]) -> str:
    """An inline `<svg>`: for each power of two, the share of all documents and the share of all text, in percent."""
    totals = {key: sum(one[key] for one in histogram) or 1 for key, _, _ in SERIES}
    shares = [[100 * one[key] / totals[key] for key, _, _ in SERIES] for one in histogram]
    top = _top(max((max(pair) for pair in shares), default=0))
    inner = HEIGHT - _TOP - _BOTTOM
    parts = [f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="documents and text by length"']
    parts.append(f' font-size="{_TYPE:g}">')
    for tick in range(0, top + 1, max(top // 5, 1)):
        y = HEIGHT - _BOTTOM - inner * tick / top
        colour = "--muted" if tick == 0 else "--grid"
        parts.append(
            f'<line x1="{_LEFT:g}" y1="{y:.1f}" x2="{WIDTH - _RIGHT:g}" y2="{y:.1f}" stroke="var({colour})"'
            ' stroke-width="0.8"/>'
        )
        parts.append(_text(_LEFT - 7, y + 4, f"{tick} %", "--muted", "end"))
    slot = (WIDTH - _LEFT - _RIGHT) / max(len(histogram), 1)
    wide = min(slot * 0.4, 26)
    every = -(-len(histogram) * 62 // int(WIDTH - _LEFT - _RIGHT)) or 1
    for place, (one, pair) in enumerate(zip(histogram, shares, strict=True)):
        middle = _LEFT + slot * (place + 0.5)
        for number, ((_, what, colour), share) in enumerate(zip(SERIES, pair, strict=True)):
            tall = inner * share / top
            parts.append(
                f'<rect x="{middle + (number - 1) * wide:.1f}" y="{HEIGHT - _BOTTOM - tall:.1f}" width="{wide - 1:.1f}"'
                f' height="{tall:.1f}" fill="var({colour})"><title>{_said(one, what, share)}</title></rect>'
            )
        if place % every == 0:
            label = "empty" if one["to"] == 0 else length_range(one).partition(" –")[0]
            parts.append(_text(middle, HEIGHT - _BOTTOM + 17, label, "--muted", "middle"))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, "length of a document, from … on", "--ink", "middle"))
    for number, (_, what, colour) in enumerate(SERIES):
        parts.append(_text(_LEFT + 150 * number, 14, what, colour, "start"))
    return "".join(parts) + "</svg>"


def _top(largest: float) -> int:
    """A round number of percent above all bars."""
    return next(top for top in (5, 10, 20, 25, 50, 100) if largest <= top)


def _said(one: Mapping[str, int], what: str, share: float) -> str:
    return escaped(
        f"{length_range(one)}: {share:.1f} % ({what}); {one['documents']:,} documents, {sized(one['bytes'])} of text"
    )


def _text(x: float, y: float, words: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="var({colour})" text-anchor="{anchor}">{escaped(words)}</text>'
