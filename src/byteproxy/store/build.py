"""A corpus with its views, from what people name: all that `byteproxy prepare` does, from sources to encoded text."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from byteproxy.corpus.source import sources as read_sources
from byteproxy.errors import InputError
from byteproxy.progress import Stage, quietly
from byteproxy.store.encode import add_view
from byteproxy.store.entropy_cache import add_entropies
from byteproxy.store.prepare import USUAL, Preparation, prepare
from byteproxy.store.store import Store
from byteproxy.store.trained_views import named, trained_for
from byteproxy.views.base import in_context
from byteproxy.views.threads import cores


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

    sources: as `corpus.source.source` takes them. views: as `registry.build` takes them; those that need training are
    trained on the train split. workers: processes that read; None: one for each core that this process may use.
    Raises InputError for a source or view that can't be used, and as `prepare` and `add_view` do.
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
