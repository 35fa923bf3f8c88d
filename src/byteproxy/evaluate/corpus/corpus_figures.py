"""A prepared corpus in figures: how much of what there is, how long documents are, what was left out.

No text is read: lengths are differences of the Arrow offsets, which are memory-mapped. Costs a pass over those and over
the columns of source, language and project, and 8 bytes of memory a document.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from byteproxy.corpus.records import FAULTY
from byteproxy.corpus.split import SPLITS
from byteproxy.progress import Progress, silent
from byteproxy.store.manifest import ViewInfo
from byteproxy.store.store import Store

PERCENTILES = (10, 25, 50, 75, 90, 99)


def corpus_figures(store: Store) -> dict[str, Any]:
    """All there is to say about a corpus, as JSON takes it.

    split: what was asked for, how each group was split (`SplitGroup`), and in `parts` what each split holds of each
        source and language, the largest first.
    sources: documents, bytes and projects are what is kept, `read` is what there was before anything was dropped of
    what could be read, `without` how many of those kept named no project (each is one of its own) and no language.
    lengths: by split, and of all. histogram: one entry for each power of two, see `histogram`.
    """
    manifest = store.manifest
    batches = list(_shards(store))
    by_split = {split: _lengths(batches[shard] for shard in store.shards(split)) for split in SPLITS}
    everything = np.concatenate(list(by_split.values()))
    kept, without = _grouped(batches, "source"), _without(batches)
    return {
        "corpus": str(store.path),
        "fingerprint": manifest.fingerprint,
        "records": manifest.records,
        "documents": len(everything),
        "bytes": int(everything.sum()),
        "splits": {
            split: {"documents": info.documents, "bytes": info.bytes, "projects": info.projects}
            for split, info in manifest.splits.items()
        },
        "split": _split_figures(store, batches),
        "sources": {
            name: {
                **kept.get(name, {"documents": 0, "bytes": 0, "projects": 0}),
                "read": {"documents": info.documents, "bytes": info.bytes},
                "without": without.get(name, {"project": 0, "language": 0}),
                "weight": info.weight,
            }
            for name, info in manifest.sources.items()
        },
        "languages": _largest_first(_grouped(batches, "language")),
        "lengths": {name: percentiles(lengths) for name, lengths in (*by_split.items(), ("all", everything))},
        "histogram": histogram(everything),
        **_rejections(store),
        "near_duplicates": manifest.near_duplicates,
        "views": {view.name: _view_figures(view) for view in manifest.views},
    }


def verified_figures(store: Store, progress: Progress = silent) -> dict[str, Any]:
    """What was read and found unaltered; raises InputError naming the first file that differs. progress: bytes."""
    kept = store.verify(progress)
    files = store.manifest.files
    return {
        "corpus": str(store.path),
        "files": len(files),
        "bytes": sum(file.size for file in files),
        "caches": len(kept),
        "cache_bytes": sum(cache.size for cache in kept),
        "views": [view.name for view in store.manifest.views],
        "fingerprint": store.manifest.fingerprint,
    }


def percentiles(lengths: np.ndarray) -> dict[str, float] | None:
    """The mean, the ends and the percentiles of lengths in bytes, each of which some document has; None of none."""
    if not len(lengths):
        return None
    found = np.percentile(lengths, (0, *PERCENTILES, 100), method="inverted_cdf").astype(np.int64).tolist()
    names = ("smallest", *(f"p{percentile}" for percentile in PERCENTILES), "largest")
    return {"mean": float(lengths.mean()), **dict(zip(names, found, strict=True))}


def histogram(lengths: np.ndarray) -> list[dict[str, int]]:
    """How many documents and how much text by the power of two of a length in bytes, from the shortest to the longest.

    An entry is of documents of `from` up to `to` bytes, both included; empty ones have an entry of their own.
    """
    power = np.frexp(lengths.astype(np.float64))[1]
    if not len(power):
        return []
    documents = np.bincount(power)
    text_bytes = np.bincount(power, weights=lengths)
    return [
        {
            "from": 1 << number >> 1,
            "to": max((1 << number) - 1, 0),
            "documents": int(documents[number]),
            "bytes": int(text_bytes[number]),
        }
        for number in range(int(power.min()), len(documents))
    ]


def _shards(store: Store) -> Iterator[pa.RecordBatch]:
    """For each shard: id, source, project, language and length of each document; nothing is copied but the lengths."""
    for shard in range(len(store.manifest.shards)):
        lengths = pa.array(store.text_lengths(shard))
        yield store.names(shard).select(["id", "source", "project", "language"]).append_column("bytes", lengths)


def _lengths(batches: Iterable[pa.RecordBatch]) -> np.ndarray:
    columns = [batch.column("bytes").to_numpy(zero_copy_only=False) for batch in batches]
    return np.concatenate([np.empty(0, np.int64), *columns])


def _grouped(batches: list[pa.RecordBatch], column: str) -> dict[str, dict[str, int]]:
    """Documents, bytes and projects for each value of a column, in the order in which they come up."""
    if not batches:
        return {}
    wanted = [("bytes", "count"), ("bytes", "sum"), ("project", "count_distinct")]
    found = pa.Table.from_batches(batches).group_by(column, use_threads=False).aggregate(wanted)
    names = {"bytes_count": "documents", "bytes_sum": "bytes", "project_count_distinct": "projects"}
    return {row[column]: {name: row[key] for key, name in names.items()} for row in found.to_pylist()}


def _without(batches: list[pa.RecordBatch]) -> dict[str, dict[str, int]]:
    """For each source, how many documents are a project of their own, and how many have no language."""
    found: dict[str, dict[str, int]] = {}
    for batch in batches:
        lacking = {
            "project": pc.equal(batch.column("project"), batch.column("id")),
            "language": pc.equal(pc.binary_length(batch.column("language")), 0),
        }
        for part, rows in lacking.items():
            for row in pc.value_counts(batch.column("source").filter(rows)).to_pylist():
                counts = found.setdefault(row["values"], {"project": 0, "language": 0})
                counts[part] += row["counts"]
    return found


def _split_figures(store: Store, batches: list[pa.RecordBatch]) -> dict[str, Any]:
    manifest, parts = store.manifest, dict[tuple[str, str], dict[str, dict[str, int]]]()
    for split in SPLITS:
        for (source, language), amounts in _amounts([batches[shard] for shard in store.shards(split)]).items():
            nothing: dict[str, dict[str, int]] = {one: {"documents": 0, "bytes": 0} for one in SPLITS}
            parts.setdefault((source, language), nothing)[split] = amounts
    total = {key: sum(one["bytes"] for one in splits.values()) for key, splits in parts.items()}
    return {
        "asked": {"validation": manifest.split.validation, "test": manifest.split.test},
        "salt": manifest.split.salt,
        "hold_out": list(manifest.split.hold_out),
        "groups": [asdict(group) for group in manifest.groups],
        "parts": [
            {"source": source, "language": language, **parts[source, language]}
            for source, language in sorted(parts, key=lambda key: (-total[key], key))
        ],
    }


def _amounts(batches: list[pa.RecordBatch]) -> dict[tuple[str, str], dict[str, int]]:
    """Documents and bytes of each source and language."""
    if not batches:
        return {}
    found = pa.Table.from_batches(batches).group_by(["source", "language"], use_threads=False)
    rows = found.aggregate([("bytes", "count"), ("bytes", "sum")]).to_pylist()
    return {
        (row["source"], row["language"]): {"documents": row["bytes_count"], "bytes": row["bytes_sum"]} for row in rows
    }


def _largest_first(groups: Mapping[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    return dict(sorted(groups.items(), key=lambda item: (-item[1]["bytes"], item[0])))


def _rejections(store: Store) -> dict[str, Any]:
    """Records that became no document, the damaged apart from those that aren't wanted, and where they are listed."""
    manifest = store.manifest
    file = manifest.rejected_file
    return {
        "faulty": {reason: count for reason, count in manifest.rejected.items() if reason in FAULTY},
        "unwanted": {reason: count for reason, count in manifest.rejected.items() if reason not in FAULTY},
        "lost": {"records": manifest.lost_records, "bytes_on_disk": manifest.lost_bytes},
        "rejected_file": None if file is None else str(store.path / file.name),
    }


def _view_figures(view: ViewInfo) -> dict[str, Any]:
    return {
        "alphabet_size": view.alphabet_size,
        "aligned": view.aligned,
        "symbols": view.symbols,
        "bytes_per_symbol": view.bytes_per_symbol if view.symbols else None,
        "fingerprint": view.fingerprint,
        "file": view.artefact.name if view.artefact else None,
        "spec": view.spec or None,
        "file_bytes": sum(file.size for file in view.files),
    }
