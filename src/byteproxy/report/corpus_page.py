"""The pages of a corpus: what it holds, and one document of it in all its views."""

from collections.abc import Mapping
from typing import Any

from byteproxy.evaluate.corpus import tables
from byteproxy.evaluate.corpus.split_table import by_source_and_language, split_notes
from byteproxy.evaluate.corpus.stored_document import Seen, agreement
from byteproxy.evaluate.corpus.tables import length_range, sized
from byteproxy.report.document_page import viewed, whole
from byteproxy.report.mark_plots import Bars, bars
from byteproxy.report.page import Picture, render

_SERIES = {"documents": "share of documents", "bytes": "share of text"}


def corpus_page(figures: Mapping[str, Any]) -> str:
    """The page about what `corpus_figures` returned, as HTML."""
    first = tables.by_split(figures), by_source_and_language(figures)
    kinds = tables.by_source, tables.by_field, tables.by_language, tables.by_length, tables.by_view, tables.by_reason
    return render(
        "corpus.html",
        title="What a corpus holds",
        results=figures,
        fingerprint=figures["fingerprint"][: tables.FINGERPRINT_SHOWN],
        lengths=length_plot(figures),
        first=first,
        notes=split_notes(figures),
        tables=[shown for kind in kinds if (shown := kind(figures)).rows],
    )


def length_plot(figures: Mapping[str, Any]) -> Picture:
    """For each power of two, the share of all documents and the share of all text, in percent."""
    totals = {key: sum(one[key] for one in figures["histogram"]) or 1 for key in _SERIES}
    found = []
    for one in figures["histogram"]:
        heights = [100 * one[key] / totals[key] for key in _SERIES]
        held = f"{one['documents']:,} documents, {sized(one['bytes'])} of text"
        hover = [
            f"{length_range(one)}: {height:.1f} % ({what}); {held}"
            for height, what in zip(heights, _SERIES.values(), strict=True)
        ]
        found.append(Bars("empty" if one["to"] == 0 else length_range(one).partition(" –")[0], heights, hover))
    return bars("document lengths", list(_SERIES.values()), found, "length of a document, from … on", "%")


def document_page(shown: Seen, max_bytes: int) -> str:
    """The page of a document as HTML. max_bytes: how much of the text each view shows, and on to a symbol's end."""
    place = shown.place
    facts = [
        ("split", place.split),
        ("project", place.project),
        ("language", place.language or "unknown"),
        *((f"view {one.spec}", agreement(shown, one.spec)) for one in shown.viewed),
        *((f"view {name}", agreement(shown, name)) for name in shown.why_not),
    ]
    return render(
        "document.html",
        title=place.name,
        size=len(shown.text),
        facts=facts,
        whole=whole(shown.text, max_bytes),
        views=[viewed(one, shown.text, max_bytes) for one in shown.viewed],
    )
