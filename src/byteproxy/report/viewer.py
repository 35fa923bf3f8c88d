"""Held-out text as each arm reads it: bits per byte as the colour behind it, and where each view cuts it.

No script: radio buttons and checkboxes that stand before the panes say by CSS which of them are seen. Neighbours of one
colour share an element, so a pane costs about 15 bytes of page for each byte shown.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

from byteproxy.evaluate.views.symbols_text import visible
from byteproxy.report.lenient import called, colours, entries, mapping, named, sequence, text, wrapped
from byteproxy.report.page import swatch
from byteproxy.study.units import fixed, number

STEPS = 9
"""Colours: one for each whole number of bits, the last for all from there on."""
LIGHT = ("#f5f0e5", "#f1e2cc", "#eed4b3", "#edc49b", "#ecb385", "#eca271", "#eb9060", "#e97c52", "#e66748")
DARK = ("#28251f", "#352c1e", "#43321c", "#53381a", "#633d18", "#744118", "#86451b", "#984821", "#ab4a2b")
"""Evenly spaced in OKLab's lightness and chroma."""
_MOST = 900_000  # letters of page for the whole viewer; what is beyond is left out, and said to be


def viewer(results: Mapping[str, Any]) -> tuple[str, str]:
    """The viewer as HTML, and its style; a sentence where there is nothing to show."""
    documents = [entry for entry in entries(results.get("viewer")) if data_of(entry)]
    if not documents:
        return "<p class=note>There are no excerpts yet.</p>", ""
    hues = colours(named(results.get("arms")))
    arms = _names(results, documents, "bits")
    views = _names(results, documents, "cuts")
    panes: list[str] = []
    room = _MOST
    for document in documents:
        panes.append(_document(len(panes), document, arms, views, hues))
        room -= len(panes[-1])
        if room < 0 and len(panes) > 1:
            panes.pop()
            break
    left_out = len(documents) - len(panes)
    note = f"<p class=note>{left_out} more in results.json are left out here.</p>" if left_out else ""
    proxies = [name for name, arm in named(results.get("arms")).items() if arm.get("role") == "proxy" and name in arms]
    picked = list(dict.fromkeys([*arms[:1], *proxies, *arms]))[:2]
    html = (
        f"{_legend()}<div class=viewer>{_pickers(documents[: len(panes)], arms, views, picked)}"
        f"<div class=panes>{''.join(panes)}</div></div>{note}"
    )
    return html, STYLE + _switches(len(panes), len(arms) + len(views))


def data_of(document: Mapping[str, Any]) -> bytes:
    """The excerpt's bytes; none if that isn't what stands there."""
    values = sequence(document.get("text"))
    return bytes(values) if all(type(value) is int and 0 <= value < 256 for value in values) else b""


def shaded(data: bytes, bits: Sequence[object]) -> str:
    """The text with a colour for each character's bits per byte; bytes without a figure have none."""
    figures = [number(value) for value in bits[: len(data)]]
    figures += [None] * (len(data) - len(figures))
    runs = groupby(_characters(data), key=lambda span: step(figures[span[0] : span[1]]))
    html = []
    for colour, run in runs:
        spans = list(run)
        inside = inner(data[spans[0][0] : spans[-1][1]])
        html.append(inside if colour is None else f"<i class=s{colour}>{inside}</i>")
    return "".join(html)


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


def tinted(data: bytes, spans: Sequence[object]) -> str:
    """The text with two tints in turn, one element a symbol; symbols that cover nothing are not seen."""
    html, place, turn = [], 0, 0
    for span in spans:
        size = int(number(span) or 0)
        if size > 0 and place < len(data):
            html.append(f"<i class=k{turn}>{inner(data[place : place + size])}</i>")
            place, turn = place + size, 1 - turn
    return "".join(html) + inner(data[place:])


def inner(data: bytes) -> str:
    """The bytes as characters; what stands for others (blanks, newlines, \\x and two digits) is in `b`."""
    shown = [one for part in re.split(b"( +)", data) if part for one in visible(part)]
    html = []
    for stand_in, run in groupby(shown, key=lambda one: one.stand_in):
        characters = text("".join(one.characters for one in run))
        # A line may break after blanks, as if they were there.
        html.append(f"<b>{characters}</b>{'<wbr>' * characters.endswith('·')}" if stand_in else characters)
    return "".join(html)


# The panes and what picks them.


def _names(results: Mapping[str, Any], documents: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    """Of all arms or views that a document has figures for; arms in the study's order."""
    found = dict.fromkeys(str(name) for document in documents for name in mapping(document.get(key)))
    order = [name for name in named(results.get("arms")) if name in found] if key == "bits" else []
    return order + [name for name in found if name not in order]


def _document(
    place: int, document: Mapping[str, Any], arms: Sequence[str], views: Sequence[str], hues: Mapping[str, int]
) -> str:
    data = data_of(document)
    bits = {str(name): sequence(values) for name, values in mapping(document.get("bits")).items()}
    cuts = {str(name): sequence(values) for name, values in mapping(document.get("cuts")).items()}
    panes: list[str] = []
    for name in arms:
        own, title = bits.get(name, ()), f"{swatch(hues.get(name))}{wrapped(name)}"
        panes.append(_pane(len(panes), title, _total(own, data), shaded(data, own)))
    for name in views:
        spans = cuts.get(name, ())
        panes.append(_pane(len(panes), f"Cut by {wrapped(name)}", _sizes(spans, data), tinted(data, spans)))
    title = text(document.get("document"))
    return f'<div class="document d{place}"><p class=note>{title}: {len(data):,} bytes</p>{"".join(panes)}</div>'


def _pane(place: int, title: str, figures: str, inside: str) -> str:
    return f'<div class="pane p{place}"><h3>{title} <small>{figures}</small></h3><pre tabindex=0>{inside}</pre></div>'


def _total(bits: Sequence[object], data: bytes) -> str:
    known = [value for value in map(number, bits) if value is not None]
    if len(known) != len(data):
        return "not scored here"
    return f"{fixed(sum(known) / len(data), 3)} bits per byte here"


def _sizes(spans: Sequence[object], data: bytes) -> str:
    if not spans:
        return "not cut here"
    return f"{len(spans):,} symbols of {fixed(len(data) / len(spans), 2)} bytes on average"


def _pickers(
    documents: Sequence[Mapping[str, Any]], arms: Sequence[str], views: Sequence[str], picked: Sequence[str]
) -> str:
    """Inputs, each before its label, and all before the panes that they switch. picked: the arms seen at first."""
    html = ["<b>Text</b>"]
    for place, document in enumerate(documents):
        name = called(document.get("project") or document.get("document"))
        html.append(_input("radio", f"document{place}", f"{place + 1}: {name}", place == 0, " name=document"))
    html.append("<br><b>Arms</b>")
    for place, name in enumerate(arms):
        html.append(_input("checkbox", f"pane{place}", name, name in picked))
    if views:
        html.append("<br><b>Cuts</b>")
    for place, name in enumerate(views):
        html.append(_input("checkbox", f"pane{place + len(arms)}", name, place < 2))
    return "".join(html) + "<br>"


def _input(kind: str, name: str, label: str, checked: bool, more: str = "") -> str:
    on = " checked" if checked else ""
    return f"<input type={kind} id={name}{more}{on}><label for={name}>{text(label)}</label>"


def _legend() -> str:
    labels = [*map(str, range(STEPS - 1)), f"{STEPS - 1} and more"]
    steps = "".join(f"<i class=s{place}>{label}</i>" for place, label in enumerate(labels))
    return (
        f"<p class=legend>Bits per byte, rounded down: {steps}</p><p class=note>The colour is what a byte costs the"
        " arm: few bits where it saw it coming. A character of several bytes has the mean of them, and a symbol's bits"
        " lie evenly on its bytes. ⏎ is a newline, → a tab, · a blank; \\x and two digits stand for a byte that is no"
        " character. Two tints in turn show where a view cuts.</p>"
    )


def _switches(documents: int, panes: int) -> str:
    """The rules that make a pane seen or not by its input."""
    shown = [f"#document{place}:checked ~ .panes .d{place} {{ display: grid; }}" for place in range(documents)]
    hidden = [f"#pane{place}:not(:checked) ~ .panes .p{place} {{ display: none; }}" for place in range(panes)]
    return "\n".join(shown + hidden) + "\n"


def _ramp(steps: Sequence[str]) -> str:
    return " ".join(f"--s{place}: {colour};" for place, colour in enumerate(steps))


STYLE = f"""
:root {{ {_ramp(LIGHT)} --k0: #cfe6ff; --k1: #ffe2b8; }}
@media (prefers-color-scheme: dark) {{ :root {{ {_ramp(DARK)} --k0: #1d4468; --k1: #5e4312; }} }}
{" ".join(f".s{place} {{ background: var(--s{place}); }}" for place in range(STEPS))}
.k0 {{ background: var(--k0); }} .k1 {{ background: var(--k1); }}
.legend i {{ font-style: normal; font-size: .85rem; padding: .25em .7em; display: inline-block; }}
.viewer input {{ position: absolute; opacity: 0; width: 0; height: 0; margin: 0; }}
.viewer > b {{ display: inline-block; width: 3.4em; color: var(--muted); font-size: .85rem; font-weight: 500; }}
.viewer label {{ display: inline-block; padding: .15em .8em; margin: 0 .4em .5em 0; border: 1px solid var(--muted);
  border-radius: 1em; font-size: .85rem; color: var(--muted); cursor: pointer; overflow-wrap: anywhere; }}
.viewer input:checked + label {{ color: var(--page); background: var(--accent); border-color: var(--accent); }}
.viewer input:focus-visible + label {{ outline: 2px solid var(--ink); outline-offset: 2px; }}
.document {{ display: none; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px 24px; margin-top: 1em; }}
.document > .note {{ grid-column: 1 / -1; margin: 0; }}
.pane h3 {{ overflow-wrap: anywhere; }}
.pane small {{ color: var(--muted); font-weight: 400; margin-left: .4em; }}
.pane pre {{ white-space: pre-wrap; overflow-wrap: anywhere; max-height: 80vh; padding: .8em; line-height: 1.6;
  font-size: .8rem; }}
.pane i {{ font-style: normal; padding: .14em 0; unicode-bidi: isolate; -webkit-box-decoration-break: clone;
  box-decoration-break: clone; }}
.pane pre b {{ font-weight: 400; opacity: .55; }}
@media (max-width: 760px) {{ .document {{ grid-template-columns: minmax(0, 1fr); }} }}
"""
