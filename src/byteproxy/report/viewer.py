"""Held-out text as each arm reads it: bits per byte as the colour behind it, and where each view cuts it.

No script: radio buttons and checkboxes that stand before the panes say by CSS which of them are seen. Neighbours of one
colour share an element, so a pane costs about 15 bytes of page for each byte shown.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from byteproxy.evaluate.views.symbols_text import visible
from byteproxy.report.lenient import called, entries, mapping, named, sequence
from byteproxy.report.page import seen
from byteproxy.study.units import fixed, number

STEPS = 9
"""Colours: one for each whole number of bits, the last for all from there on."""
_MAX = 900_000  # letters of page for the whole viewer; what is beyond is left out, and said to be


class Pane(NamedTuple):
    """A document as one arm reads it, or as one view cuts it."""

    name: str
    is_arm: bool
    said: str
    inside: Markup


class Viewer(NamedTuple):
    """What there is to look at. picked: the arms seen at first. panes: of each document title, size and all panes.

    left_out: documents that would make the page too large. switches: the style by which inputs show and hide panes.
    """

    documents: Sequence[str]
    arms: Sequence[str]
    views: Sequence[str]
    picked: Sequence[str]
    panes: Sequence[tuple[str, int, Sequence[Pane]]]
    left_out: int
    switches: Markup


def viewer(results: Mapping[str, Any]) -> Viewer:
    """The excerpts of a study; of none, no panes."""
    documents = [entry for entry in entries(results.get("viewer")) if data_of(entry)]
    arms, views = _names(results, documents, "bits"), _names(results, documents, "cuts")
    panes: list[tuple[str, int, Sequence[Pane]]] = []
    room = _MAX
    for document in documents:
        found = list(_panes(document, arms, views))
        room -= sum(len(pane.inside) for pane in found)
        if room < 0 and panes:
            break
        panes.append((called(document.get("document")), len(data_of(document)), found))
    proxies = [name for name, arm in named(results.get("arms")).items() if arm.get("role") == "proxy" and name in arms]
    picked = list(dict.fromkeys([*arms[:1], *proxies, *arms]))[:2]
    names = [called(one.get("project") or one.get("document")) for one in documents[: len(panes)]]
    switches = _switches(len(panes), len(arms) + len(views))
    return Viewer(names, arms, views, picked, panes, len(documents) - len(panes), switches)


def data_of(document: Mapping[str, Any]) -> bytes:
    """The excerpt's bytes; none if that isn't what stands there."""
    values = sequence(document.get("text"))
    return bytes(values) if all(type(value) is int and 0 <= value < 256 for value in values) else b""


def shaded(data: bytes, bits: Sequence[object]) -> Markup:
    """The text with a colour for each character's bits per byte; bytes without a figure have none."""
    figures = [number(value) for value in bits[: len(data)]]
    figures += [None] * (len(data) - len(figures))
    runs = groupby(_characters(data), key=lambda span: step(figures[span[0] : span[1]]))
    html = []
    for colour, run in runs:
        spans = list(run)
        inside = inner(data[spans[0][0] : spans[-1][1]])
        html.append(inside if colour is None else f"<i class=s{colour}>{inside}</i>")
    return Markup("".join(html))


def step(bits: Sequence[float | None]) -> int | None:
    """The colour of a character, by the mean bits of its bytes; None if one of them has no figure."""
    known = [value for value in bits if value is not None]
    if len(known) < len(bits) or not known:
        return None
    return min(max(int(sum(known) / len(known)), 0), STEPS - 1)


def _characters(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each character begins and ends; a byte that is part of none stands alone."""
    sizes = [len(one.encode("utf-8", "surrogateescape")) for one in data.decode("utf-8", "surrogateescape")]
    ends = list(accumulate(sizes))
    return zip([0, *ends[:-1]], ends, strict=True) if ends else iter(())


def tinted(data: bytes, spans: Sequence[object]) -> Markup:
    """The text with two tints in turn, one element a symbol; symbols that cover nothing are not seen."""
    html, place, turn = [], 0, 0
    for span in spans:
        size = int(number(span) or 0)
        if size > 0 and place < len(data):
            html.append(f"<i class=k{turn}>{inner(data[place : place + size])}</i>")
            place, turn = place + size, 1 - turn
    return Markup("".join(html)) + inner(data[place:])


def inner(data: bytes) -> Markup:
    """The bytes as characters; what stands for others (blanks, newlines, \\x and two digits) is in `b`."""
    shown = [one for part in re.split(b"( +)", data) if part for one in visible(part)]
    html = []
    for stand_in, run in groupby(shown, key=lambda one: one.stand_in):
        characters = escape(seen("".join(one.characters for one in run)))
        # A line may break after blanks, as if they were there.
        html.append(f"<b>{characters}</b>{'<wbr>' * characters.endswith('·')}" if stand_in else characters)
    return Markup("".join(html))


def _names(results: Mapping[str, Any], documents: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    """Names of all arms or views that a document has figures for; arms in the study's order."""
    found = dict.fromkeys(str(name) for document in documents for name in mapping(document.get(key)))
    order = [name for name in named(results.get("arms")) if name in found] if key == "bits" else []
    return order + [name for name in found if name not in order]


def _panes(document: Mapping[str, Any], arms: Sequence[str], views: Sequence[str]) -> Iterator[Pane]:
    data = data_of(document)
    bits = {str(name): sequence(values) for name, values in mapping(document.get("bits")).items()}
    cuts = {str(name): sequence(values) for name, values in mapping(document.get("cuts")).items()}
    for name in arms:
        yield Pane(name, True, _total(bits.get(name, ()), data), shaded(data, bits.get(name, ())))
    for name in views:
        yield Pane(name, False, _sizes(cuts.get(name, ()), data), tinted(data, cuts.get(name, ())))


def _total(bits: Sequence[object], data: bytes) -> str:
    known = [value for value in map(number, bits) if value is not None]
    if len(known) != len(data):
        return "not scored here"
    return f"{fixed(sum(known) / len(data), 3)} bits per byte here"


def _sizes(spans: Sequence[object], data: bytes) -> str:
    if not spans:
        return "not cut here"
    return f"{len(spans):,} symbols of {fixed(len(data) / len(spans), 2)} bytes on average"


def _switches(documents: int, panes: int) -> Markup:
    """The rules that make a pane seen or not by its input."""
    shown = [f"#document{place}:checked ~ .panes .d{place} {{ display: grid; }}" for place in range(documents)]
    hidden = [f"#pane{place}:not(:checked) ~ .panes .p{place} {{ display: none; }}" for place in range(panes)]
    return Markup("\n".join(shown + hidden) + "\n")
