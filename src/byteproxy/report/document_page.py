"""The page that `byteproxy views inspect` leaves: a document through every view, symbol by symbol.

About 50 bytes of page for each symbol shown. Hovering over a symbol tells its number and its bytes.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from byteproxy.evaluate.views.symbols_text import Piece, Shown, cut, visible
from byteproxy.evaluate.views.viewed import Viewed, rest, summary
from byteproxy.report.page import render, seen

_COLOURS, _LISTED = 4, 16


class Part(NamedTuple):
    """A document as one view sees it. name: the view's, where the spec is another. inside: the text, coloured."""

    spec: str
    name: str
    summary: str
    inside: Markup
    note: str


def inspect_page(name: str, document: bytes, views: Iterable[Viewed], max_bytes: int) -> str:
    """The page as HTML.

    name: of the document. max_bytes: how much of it each view shows, and on to a symbol's end.
    """
    views = list(views)
    results: dict[str, Any] = {"file": name, "bytes": len(document)}
    results["views"] = {one.spec: one.figures(document) for one in views}
    parts = [viewed(one, document, max_bytes) for one in views]
    return render("document.html", title=name, size=len(document), views=parts, results=results)


def whole(document: bytes, max_bytes: int) -> Part:
    """A document as it is, up to `max_bytes`."""
    inside = _visible(visible(document[:max_bytes]))
    return Part("text", "", f"{len(document):,} bytes", inside, rest(document, min(max_bytes, len(document))))


def viewed(one: Viewed, document: bytes, max_bytes: int) -> Part:
    """A document in the colours of a view's symbols."""
    figures = one.figures(document)
    if one.view.aligned:
        pieces = list(cut(document, one.encoded, max_bytes))
        note = rest(document, sum(len(piece.text) for piece in pieces))
        inside = Markup("").join(_symbol(place, piece) for place, piece in enumerate(pieces))
    else:
        inside, note = (
            Markup(""),
            "Symbols of this view belong to no stretches of the text: there is nothing to colour.",
        )
    return Part(one.spec, "" if figures["name"] == one.spec else figures["name"], summary(figures), inside, note)


def _symbol(place: int, piece: Piece) -> Markup:
    """One span of colour."""
    return Markup('<i class=c{} title="{}">{}</i>').format(
        place % _COLOURS, seen(title(piece)), _visible(visible(piece.text))
    )


def _visible(runs: Iterable[Shown]) -> Markup:
    """Stand-ins are in `b`, so that they can't be taken for the text itself."""
    said = ((run.stand_in, escape(seen(run.characters))) for run in runs)
    return Markup("").join(Markup("<b>{}</b>").format(one) if stand_in else one for stand_in, one in said)


def title(piece: Piece) -> str:
    """The symbols' numbers and the bytes, such as "312 = b'def '"; both cut where they are long."""
    numbers = " ".join(map(str, piece.symbols[:_LISTED])) + (" …" if len(piece.symbols) > _LISTED else "")
    data = repr(piece.text[: 4 * _LISTED]) + ("…" if len(piece.text) > 4 * _LISTED else "")
    return f"{numbers} = {data}"
