"""The held-out text of a study: what finished runs are scored on, what curves are of, and what the viewer shows."""

from hashlib import blake2b

from byteproxy.corpus.document import Document
from byteproxy.evaluate.held_out import held_out_documents, held_out_texts
from byteproxy.store.store import Store
from byteproxy.study.recipe import Scoring
from byteproxy.study.run_files import HeldOut


def split_texts(store: Store, scoring: Scoring, split: HeldOut) -> list[bytes]:
    """The text that finished runs are scored on."""
    return [document.text for document in split_documents(store, scoring, split)]


def split_documents(store: Store, scoring: Scoring, split: HeldOut) -> list[Document]:
    """The documents that finished runs are scored on, cut to what is scored of each."""
    return held_out_documents(store, split, getattr(scoring, f"{split}_bytes"), scoring.document_bytes)


def curve_texts(store: Store, scoring: Scoring) -> list[bytes]:
    """The text that the curves of final runs are of."""
    return held_out_texts(store, "validation", scoring.curve_bytes, scoring.document_bytes)


def robust_texts(store: Store, scoring: Scoring) -> list[bytes]:
    """The text that gets typing errors and cut prompts."""
    return held_out_texts(store, "validation", scoring.robust_bytes, scoring.document_bytes)


def excerpts(store: Store, scoring: Scoring) -> list[Document]:
    """Stretches of validation documents, one a project, in an order keyed by their ids: from a line's start on, a third
    of the way into the document, so that it is code that is shown and no licence.
    """
    keyed = sorted(
        (blake2b(one.id.encode()).digest(), number, one.project)
        for number, one in enumerate(store.documents("validation"))
        if len(one.text) >= min(scoring.viewer_bytes, 200)
    )
    chosen: dict[str, int] = {}
    for _, number, project in keyed:
        if len(chosen) < scoring.viewer_documents:
            chosen.setdefault(project, number)
    order = list(chosen.values())
    found = {}
    for number, one in enumerate(store.documents("validation")):
        if number in order:
            latest = max(0, len(one.text) - scoring.viewer_bytes)
            begin = min(latest, one.text.find(b"\n", len(one.text) // 3) + 1)
            found[number] = Document(
                one.id, one.text[begin : begin + scoring.viewer_bytes], one.source, one.project, one.language
            )
    return [found[number] for number in order]
