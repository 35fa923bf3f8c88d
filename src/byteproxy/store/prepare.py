"""Fill a store: sources of any size become shards, in several processes, restartable at any moment.

The folder is claimed before anything is written (`corpus_folder.py`). Three phases follow. *Read*: every unit of every
source becomes staged parts (`staging.py`); damaged records are counted, and too many of them stop the run. *Select*:
decide which records are kept, and in which split (`select.py`). *Write*: the shards, the list of rejected records, then
the manifest. What is finished and still right is kept, and the files come out byte for byte as in one undisturbed run,
with any number of workers.

Memory: a shard twice, a part twice for each worker, and what `select.py` needs. Disk: the text twice until it is done.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow.compute as pc

from byteproxy.corpus.document import Document
from byteproxy.corpus.records import NEAR_DUPLICATE, TOO_LARGE, TOO_SMALL, Passed, Record, Rules, Source, Unit, unheard
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.parsing import read_json
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.store.corpus_folder import SOURCES, STAGED, claimed, make_folder, remove_other_shards, remove_staged
from byteproxy.store.format import MANIFEST
from byteproxy.store.integrity import verify
from byteproxy.store.manifest import Manifest, NearDuplicates, ShardInfo, SplitInfo, read_manifest, write_manifest
from byteproxy.store.reader_pool import stage_units
from byteproxy.store.rejected import Faults, count_rejected, write_rejected
from byteproxy.store.select import Selection, by_part, select
from byteproxy.store.shards import OtherCorpusError, write_shards
from byteproxy.store.staging import Parts, Staging

SHARD_BYTES = 64 << 20


@dataclass(frozen=True)
class Preparation:
    """The settings that decide a corpus, apart from its sources.

    near_duplicates: what is dropped where two documents are similar: "held_out" drops a held-out document that is like
        one of the train split, "train" a train document that is like a held-out one; either drops a held-out document
        that is like an earlier held-out one. "keep" drops nothing and makes no signatures.
    shard_bytes: bytes of text in a shard at most; a larger document gets one of its own.
    max_faulty: share of all records read that may be damaged; above it the preparation stops.
    """

    split: SplitOptions = field(default_factory=SplitOptions)
    rules: Rules = field(default_factory=Rules)
    near_duplicates: NearDuplicates = "held_out"
    shard_bytes: int = ranged(SHARD_BYTES, 1, 2**62 - 1)
    max_faulty: float = ranged(0.01, 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.near_duplicates not in get_args(NearDuplicates):
            raise InputError(f"near_duplicates is {self.near_duplicates!r}: give held_out, train or keep")
        ensure_in_range(self)


USUAL = Preparation()
AS_THEY_ARE = Rules(smallest=0, largest=0)


def prepare(
    sources: Sequence[Source],
    out: Path,
    preparation: Preparation = USUAL,
    workers: int = 1,
    stage: Stage = quietly,
) -> Manifest:
    """Write the documents of sources as shards, each of one split, then the manifest.

    A document whose bytes were seen before is dropped, wherever it comes from: the first one in the order of sources,
    units and records stays.
    workers: processes that read. Stages: "read" (bytes on disk, after each unit), "compare" (train documents, where
    near-duplicates are looked for), "write" (bytes of text), or "verify" where all is there already.
    Raises InputError when too many records are damaged or none becomes a document, when the folder holds another
    corpus, and when the disk is full.
    """
    if workers < 1:
        raise InputError(f"workers is {workers}: give at least 1")
    weights = {source.name: float(source.weight) for source in sources}
    if len(weights) < len(sources):
        names = [source.name for source in sources]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two sources are named {twice!r}: give each a name of its own")
    return _prepared(sources, weights, Path(out), preparation, workers, stage)


def prepare_documents(
    documents: Iterable[Document],
    out: Path,
    split: SplitOptions,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = silent,
    near_duplicates: NearDuplicates = "keep",
) -> Manifest:
    """Prepare given documents, empty ones included. All of them are read anew at each call.

    progress: bytes of text read; the total is 0, as it isn't known.
    """
    preparation = Preparation(split, AS_THEY_ARE, near_duplicates, shard_bytes)
    return _prepared([_Given(documents, progress)], {}, Path(out), preparation, 1, quietly)


class _Given:
    """Given documents as a source of one unit. Nobody can tell it from another, so its key is empty."""

    name = source = what = "given documents"
    weight = 1.0
    size = 0
    key = ""

    def __init__(self, documents: Iterable[Document], progress: Progress) -> None:
        self.documents, self.progress = documents, progress

    def units(self) -> list[Unit]:
        return [self]

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        done = 0
        for place, document in enumerate(self.documents, start=1):
            yield Record(place, document.id, 0, document)
            done += len(document.text)
            self.progress(done, 0)


def _prepared(
    sources: Sequence[Source],
    weights: dict[str, float],
    out: Path,
    preparation: Preparation,
    workers: int,
    stage: Stage,
) -> Manifest:
    units = [unit for source in sources for unit in source.units()]
    with claimed(out) as lock:
        finished = read_manifest(out) if (out / MANIFEST).exists() else None
        if finished is not None and not _same_settings(finished, preparation):
            raise OtherCorpusError(out)
        if finished is not None and not finished.groups:
            raise InputError(
                f"{out} holds a corpus that an earlier version split by another rule, so its documents would change "
                "splits: go on using it as it is, or prepare into another folder"
            )
        key = _key(units, weights, preparation)
        if finished is not None and _is_as_it_was(out, finished, key, stage):
            remove_staged(out)
            return finished
        signed = preparation.split.holds_out and preparation.near_duplicates != "keep"
        staging = Staging(out / STAGED, preparation.rules, signed)
        make_folder(staging.folder)
        faults = Faults(out, staging.folder, preparation.max_faulty, listed=finished is None)
        with stage("read", "B") as progress:
            stage_units(units, staging, workers, lock, faults.add, progress)
        faults.check()
        faults.refuse_empty([source.name for source in sources], [unit.source for unit in units])
        try:
            manifest = _filled(out, faults, preparation, weights, finished, stage)
        except OtherCorpusError:
            remove_staged(out)
            raise
        if key:
            write_aside(out / SOURCES, json.dumps({"sources": key}).encode())
        remove_staged(out)
        return manifest


def _filled(
    out: Path,
    faults: Faults,
    preparation: Preparation,
    weights: dict[str, float],
    finished: Manifest | None,
    stage: Stage,
) -> Manifest:
    """The folder filled from what was staged."""
    parts = Parts(out / STAGED, faults.units)
    near = preparation.near_duplicates
    selection = select(parts, preparation.split, near, weights, stage) if faults.records else None
    if selection is None or not (selection.fate >= 0).any():
        raise InputError(_no_documents(out, faults))
    with stage("write", "B") as progress:
        shards = write_shards(out, parts, selection, preparation.shard_bytes, finished, progress)
    manifest = Manifest(
        split=preparation.split,
        shard_bytes=preparation.shard_bytes,
        rules=preparation.rules,
        near_duplicates=near,
        records=faults.records,
        sources=selection.sources,
        splits=_splits(parts, selection, shards),
        rejected=count_rejected(faults.units, selection),
        rejected_file=write_rejected(out, parts, selection, finished),
        shards=tuple(shards),
        groups=selection.groups,
        lost_records=faults.lost_records,
        lost_bytes=faults.lost_bytes,
    )
    if finished is None:
        remove_other_shards(out, manifest)
        write_manifest(out, manifest)
    elif replace(finished, views=()) != manifest:
        raise OtherCorpusError(out)
    return finished or manifest


def _no_documents(out: Path, faults: Faults) -> str:
    """Why there are none, by the reason that most records were rejected for, and what to do."""
    if not faults.records:
        return f"there are no documents to prepare into {out}: the sources hold no records; name one that has some"
    reason, count = next(iter(faults.reasons.most_common(1)), (NEAR_DUPLICATE, faults.records))
    remedy = {
        TOO_LARGE: "allow larger ones (--max-bytes), or cut them into smaller ones",
        TOO_SMALL: "allow smaller ones (--min-bytes), or name a source that has some text",
    }.get(reason, "mend the sources, or name one that has some")
    listing = faults.listing()
    return (
        f"there are no documents to prepare into {out}: {count:,} of {faults.records:,} records that were read are "
        f"rejected as {reason}{'; ' * bool(listing)}{listing}; {remedy}"
    )


def _same_settings(manifest: Manifest, preparation: Preparation) -> bool:
    """Whether a corpus was prepared with the settings that it keeps."""
    names = ("split", "shard_bytes", "rules", "near_duplicates")
    return all(getattr(manifest, name) == getattr(preparation, name) for name in names)


def _key(units: list[Unit], weights: dict[str, float], preparation: Preparation) -> str:
    """A hash of all that decides the corpus; empty where nobody can tell."""
    keys = [unit.key for unit in units]
    if not all(keys):
        return ""
    return sha256(json.dumps([asdict(preparation), list(weights.items()), keys]).encode()).hexdigest()


def _is_as_it_was(out: Path, manifest: Manifest, key: str, stage: Stage) -> bool:
    """Whether the sources are those that the corpus was made from, and its own files unaltered."""
    files = [file for file in (*(shard.file for shard in manifest.shards), manifest.rejected_file) if file]
    try:
        if not key or read_json(out / SOURCES) != {"sources": key}:
            return False
        with stage("verify", "B") as progress:
            verify(out, files, progress)
    except (OSError, ValueError):
        return False
    return True


def _splits(parts: Parts, selection: Selection, shards: list[ShardInfo]) -> dict[str, SplitInfo]:
    splits: dict[str, SplitInfo] = {}
    for number, split in enumerate(SPLITS):
        projects: set[str] = set()
        for part, rows in by_part(selection.starts, np.flatnonzero(selection.fate == number)):
            projects.update(pc.unique(parts[part].column("project").take(rows - selection.starts[part])).to_pylist())
        own = [shard for shard in shards if shard.split == split]
        documents, text_bytes = (sum(getattr(shard, name) for shard in own) for name in ("documents", "text_bytes"))
        splits[split] = SplitInfo(documents=documents, bytes=text_bytes, projects=len(projects))
    return splits
