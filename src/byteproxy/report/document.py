"""The page that `byteproxy corpus show` leaves: where a document comes from, its text, its symbols in every view."""

import byteproxy
from byteproxy.evaluate.corpus.document import Seen, agreement
from byteproxy.evaluate.views.symbols_text import visible
from byteproxy.evaluate.views.viewed import rest
from byteproxy.report.inspected import inspect_page
from byteproxy.report.page import framed, text


def document_page(shown: Seen, most_bytes: int) -> str:
    """The page as HTML. most_bytes: how much of the text each view shows, and on to a symbol's end."""
    if not shown.viewed:
        return framed(
            shown.place.name,
            (
                f"<header><p class=kicker>byteproxy {text(byteproxy.__version__)}</p>"
                f"<h1>{text(shown.place.name)}</h1></header>",
                _about(shown),
                _text(shown, most_bytes),
            ),
        )
    before = _about(shown) + _text(shown, most_bytes)
    return inspect_page(shown.place.name, shown.text, shown.viewed, most_bytes, before)


def _about(shown: Seen) -> str:
    place = shown.place
    facts = [
        ("side", place.side),
        ("project", place.project),
        ("language", place.language or "unknown"),
        *((f"view {one.spec}", agreement(shown, one.spec)) for one in shown.viewed),
        *((f"view {name}", agreement(shown, name)) for name in shown.why_not),
    ]
    return f"<dl>{''.join(f'<dt>{text(name)}</dt><dd>{text(fact)}</dd>' for name, fact in facts)}</dl>"


def _text(shown: Seen, most_bytes: int) -> str:
    runs = visible(shown.text[:most_bytes])
    inside = "".join(f"<b>{text(run.characters)}</b>" if run.stand_in else text(run.characters) for run in runs)
    note = rest(shown.text, min(most_bytes, len(shown.text)))
    return (
        f"<section><details{'' if shown.viewed else ' open'}><summary>text</summary><p class=figures>"
        f"{len(shown.text):,} bytes</p><pre class=symbols tabindex=0>{inside}</pre>"
        f"{f'<p class=note>{text(note)}</p>' if note else ''}</details></section>"
    )
