"""One document of a corpus, found by its name, with the symbols that the corpus holds of it in every view."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from byteproxy.corpus.split import SPLITS, Split
from byteproxy.errors import InputError
from byteproxy.evaluate.views.viewed import Viewed
from byteproxy.store.store import Store

NAMES_SHOWN = 3


class Place(NamedTuple):
    """Where a document is, and what is known about it."""

    shard: int
    row: int
    split: Split
    id: str
    source: str
    project: str
    language: str

    @property
    def name(self) -> str:
        """Its name within the corpus."""
        return f"{self.source}/{self.id}"


class Seen(NamedTuple):
    """A document in all its views.

    viewed: by those that can be built again, all of which give the symbols that are stored. spec is the view's name.
    symbols: how many are stored, by view; why_not: for the views that can't be built again, what is missing.
    """

    place: Place
    text: bytes
    viewed: list[Viewed]
    symbols: dict[str, int]
    why_not: dict[str, str]


def find(store: Store, name: str | None, split: Split | None) -> Place:
    """The document of that name: its id, or "source/id"; without a name the first one of the split, or of train.

    split: where to look; None looks everywhere. Costs a pass over the ids.
    Raises InputError where there is none, or where documents of several sources have that id.
    """
    if name is None:
        return _first(store, split or "train")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{store.path} holds no document {name!r}: all ids are Unicode, and this is not") from None
    found = list(_named(store, name, SPLITS if split is None else (split,)))
    names = list(dict.fromkeys(place.name for place in found))
    if not found:
        raise InputError(_no_such(store, name, split))
    if len(names) > 1:
        raise InputError(f"{store.path} holds several documents {name!r}: say which one, {' or '.join(names)}")
    return found[0]


def seen(store: Store, place: Place) -> Seen:
    """A document with what every view makes of it.

    Raises InputError if a view that can be built again doesn't give the symbols that are stored.
    """
    text = store.text(place.shard, place.row)
    viewed, symbols, why_not = [], {}, {}
    for entry in store.manifest.views:
        stored = store.symbols(entry.name, place.shard, place.row)
        symbols[entry.name] = len(stored)
        try:
            view = store.view(entry.name)
        except InputError as error:
            why_not[entry.name] = str(error)
            continue
        encoded = view.encode(text)
        if not np.array_equal(stored, encoded.symbols):
            raise InputError(
                f"view {entry.name!r} gives {place.name} {len(encoded.symbols):,} symbols, and the {len(stored):,} "
                f"stored in {store.path} aren't the same: look for altered files with `byteproxy corpus verify`, then "
                "prepare again"
            )
        viewed.append(Viewed(entry.name, view, encoded))
    return Seen(place, text, viewed, symbols, why_not)


def document_figures(shown: Seen) -> dict[str, Any]:
    """What there is to say about a document, as JSON takes it; `agrees` is None where the view can't be built."""
    place = shown.place
    views = {
        name: {
            "symbols": count,
            "bytes_per_symbol": len(shown.text) / count if count else None,
            "agrees": None if name in shown.why_not else True,
        }
        for name, count in shown.symbols.items()
    }
    for one in shown.viewed:
        views[one.spec] |= {"alphabet_size": one.view.alphabet_size, "aligned": one.view.aligned}
    about = {name: getattr(place, name) for name in ("id", "source", "project", "language", "split", "shard", "row")}
    return {**about, "bytes": len(shown.text), "views": views}


def agreement(shown: Seen, name: str) -> str:
    """What is known about the symbols that are stored in a view."""
    if name in shown.why_not:
        return f"{shown.symbols[name]:,} symbols stored; not compared: {shown.why_not[name]}"
    return f"{shown.symbols[name]:,} symbols; stored symbols agree"


def _first(store: Store, split: Split) -> Place:
    for shard in store.shards(split):
        batch = store.names(shard)
        if batch.num_rows:
            return _place(batch, shard, 0, split)
    raise InputError(f"the {split} split of {store.path} holds no documents: name another with --split")


def _named(store: Store, name: str, splits: Iterable[Split]) -> Iterable[Place]:
    for split in splits:
        for shard in store.shards(split):
            batch = store.names(shard)
            whole = pc.binary_join_element_wise(batch.column("source"), batch.column("id"), "/")
            hits = pc.or_(pc.equal(batch.column("id"), name), pc.equal(whole, name))
            for row in pc.indices_nonzero(hits).to_pylist():
                yield _place(batch, shard, row, split)


def _no_such(store: Store, name: str, split: Split | None) -> str:
    """The refusal, with names that look like the one that isn't there, or else any."""
    shards = range(len(store.manifest.shards)) if split is None else store.shards(split)
    alike: list[str] = []
    for shard in shards:
        ids = store.names(shard).column("id")
        alike += ids.filter(pc.match_substring(ids, name, ignore_case=True))[: NAMES_SHOWN - len(alike)].to_pylist()
        if len(alike) == NAMES_SHOWN:
            break
    where = f"{store.path}" if split is None else f"the {split} split of {store.path}"
    if alike:
        return f"{where} holds no document {name!r}: name one by its id, such as {', '.join(alike)}"
    first = [store.names(shard).column("id")[0].as_py() for shard in shards if store.manifest.shards[shard].documents]
    return f"{where} holds no document {name!r}: name one by its id, such as {', '.join(first[:1]) or 'none'}"


def _place(batch: pa.RecordBatch, shard: int, row: int, split: Split) -> Place:
    names = {name: batch.column(name)[row].as_py() for name in ("id", "source", "project", "language")}
    return Place(shard, row, split, **names)
