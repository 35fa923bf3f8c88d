"""A corpus with its views, from what people name: all that `byteproxy prepare` does, from sources to encoded text."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from byteproxy.corpus.source import sources as read_sources
from byteproxy.errors import InputError
from byteproxy.progress import Stage, quietly
from byteproxy.store.encode import add_view
from byteproxy.store.entropies import add_entropies
from byteproxy.store.prepare import USUAL, Preparation, prepare
from byteproxy.store.store import Store
from byteproxy.store.trained_views import named, trained_for
from byteproxy.views.base import in_context
from byteproxy.views.batches import cores


class BuiltCorpus(NamedTuple):
    """A corpus. train_seconds: of each view that had to be trained; None for one that was trained before."""

    store: Store
    train_seconds: dict[str, float | None]


def build_corpus(
    sources: Iterable[str],
    views: Iterable[str],
    out: Path,
    preparation: Preparation = USUAL,
    workers: int | None = None,
    stage: Stage = quietly,
) -> BuiltCorpus:
    """Prepare sources into a folder and encode all documents by views; what is there already is kept.

    Args:
        sources: What to read, as `corpus.source.source` takes it: "stdlib", or a path with options behind a colon.
        views: As `registry.build` takes them; those that need training are trained on the train side.
        out: Folder of the corpus: new, empty, or the same corpus from before.
        preparation: All that decides the corpus, except its sources.
        workers: Processes that read; None: one for each core that this process may use.
        stage: Shows the progress of each part.

    Raises:
        InputError: Where no source is named, a source or a view can't be used, too many records are damaged, the
            folder holds another corpus, or the disk is full.
    """
    sources = list(sources)
    if not sources:
        raise InputError("no source is named: give stdlib, or the path of a file or a folder")
    known = named(views)
    manifest = prepare(read_sources(sources), out, preparation, cores() if workers is None else workers, stage)
    train_seconds: dict[str, float | None] = {}
    for spec, view in known.items():
        if view is None:
            view, train_seconds[spec] = trained_for(Store(out, manifest), spec, stage)
        if in_context(view) is not None:
            with stage(f"read for {view.name}", "B") as progress:
                add_entropies(out, view, progress)
        with stage(f"encode {view.name}", "B") as progress:
            manifest = add_view(out, view, progress, spec)
    return BuiltCorpus(Store(out, manifest), train_seconds)
