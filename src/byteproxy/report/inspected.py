"""The page that `byteproxy views inspect` leaves: a document through every view, symbol by symbol.

About 50 bytes of page for each symbol shown. Hovering over a symbol tells its number and its bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import byteproxy
from byteproxy.evaluate.views.symbols_text import Piece, cut, visible
from byteproxy.evaluate.views.viewed import Viewed, rest, summary
from byteproxy.report.page import framed, json_details, text, wrapped

COLOURS = 4
_LISTED = 16


def inspect_page(name: str, document: bytes, views: Iterable[Viewed], most_bytes: int, before: str = "") -> str:
    """The page as HTML.

    name: of the document. most_bytes: how much of it each view shows, and on to a symbol's end.
    before: HTML to stand before the views.
    """
    views = list(views)
    figures = {viewed.spec: viewed.figures(document) for viewed in views}
    places = " · ".join(f'<a href="#view{number}">{text(spec)}</a>' for number, spec in enumerate(figures))
    return framed(
        name,
        (
            f"<header><p class=kicker>byteproxy {text(byteproxy.__version__)}</p><h1>{wrapped(name)}</h1>"
            f"<p>{len(document):,} bytes as {_seen_by(len(views))}: {places}.</p>"
            f"<p class=note>Each colour is a symbol, or several that share the bytes; hover over it for its number."
            " ⏎ is a newline, → a tab, · a blank of a symbol that is blank. \\x and two digits stand for a byte that is"
            " no character, or is a part of one that two symbols share.</p></header>",
            before,
            *(
                _section(number, viewed, figures[viewed.spec], document, most_bytes)
                for number, viewed in enumerate(views)
            ),
            json_details({"file": name, "bytes": len(document), "views": figures}),
        ),
        _STYLE,
    )


def _seen_by(count: int) -> str:
    return "1 view sees them" if count == 1 else f"{count} views see them"


def _section(number: int, viewed: Viewed, figures: Mapping[str, Any], document: bytes, most_bytes: int) -> str:
    if viewed.view.aligned:
        pieces = list(cut(document, viewed.encoded, most_bytes))
        note = rest(document, sum(len(piece.text) for piece in pieces))
        shown = "".join(_symbol(place, piece) for place, piece in enumerate(pieces))
        inside = f"<pre class=symbols tabindex=0>{shown}</pre>" if shown else ""
    else:
        inside, note = "", "Symbols of this view belong to no stretches of the text: there is nothing to colour."
    inside += f"<p class=note>{note}</p>" if note else ""
    name = "" if figures["name"] == viewed.spec else f" <code>{text(figures['name'])}</code>"
    return (
        f'<section id="view{number}"><details open><summary>{text(viewed.spec)}</summary>'
        f"<p class=figures>{name} {summary(figures)}</p>{inside}</details></section>"
    )


def _symbol(place: int, piece: Piece) -> str:
    """One span of colour; stand-ins are in `b`, so that they can't be taken for the text itself."""
    inside = "".join(
        f"<b>{text(shown.characters)}</b>" if shown.stand_in else text(shown.characters)
        for shown in visible(piece.text)
    )
    return f'<i class=c{place % COLOURS} title="{text(title(piece))}">{inside}</i>'


def title(piece: Piece) -> str:
    """The symbols' numbers and the bytes, such as "312 = b'def '"; both cut where they are long."""
    numbers = " ".join(map(str, piece.symbols[:_LISTED])) + (" …" if len(piece.symbols) > _LISTED else "")
    data = repr(piece.text[: 4 * _LISTED]) + ("…" if len(piece.text) > 4 * _LISTED else "")
    return f"{numbers} = {data}"


_STYLE = """
:root { --c0: #cfe6ff; --c1: #ffe2b8; --c2: #cdf0d8; --c3: #f3d6f2; }
@media (prefers-color-scheme: dark) { :root { --c0: #1d4468; --c1: #5e4312; --c2: #1c5236; --c3: #57305a; } }
section { margin-top: 2em; content-visibility: auto; contain-intrinsic-height: auto 400px; }
section summary { font-size: 1.15rem; overflow-wrap: break-word; }
.figures { color: var(--muted); font-size: .9rem; margin: .4em 0 .8em; }
.symbols { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 75vh; line-height: 1.75; }
.symbols i { font-style: normal; border-radius: 3px; padding: .12em 0; unicode-bidi: isolate;
  -webkit-box-decoration-break: clone; box-decoration-break: clone; }
.symbols i:hover { outline: 2px solid var(--ink); }
.symbols b { font-weight: 400; color: var(--muted); }
.c0 { background: var(--c0); } .c1 { background: var(--c1); }
.c2 { background: var(--c2); } .c3 { background: var(--c3); }
"""
