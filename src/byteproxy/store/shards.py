"""Copy the selected documents out of the staged parts into shards. Memory: a shard twice."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from byteproxy.corpus.split import SPLITS
from byteproxy.errors import InputError
from byteproxy.progress import Progress
from byteproxy.store.format import SHARD_SCHEMA, FileInfo, HashingFile, file_info, shard_name, write_batch, write_whole
from byteproxy.store.manifest import Manifest, ShardInfo
from byteproxy.store.select import Selection, by_part
from byteproxy.store.staging import Parts

SHARD_DOCUMENTS = 1 << 20  # keeps the ids of a shard far below the 2 GiB that 32-bit offsets reach


def write_shards(
    out: Path, parts: Parts, selection: Selection, shard_bytes: int, finished: Manifest | None, progress: Progress
) -> list[ShardInfo]:
    """Write the shards of each split in turn, in the records' order, but those that are there as they should be.

    finished: what the folder holds; InputError, before anything is written over, where a shard would be another.
    progress: bytes of text written, of all.
    """
    shards: list[ShardInfo] = []
    done, total = 0, int(selection.sizes[selection.fate >= 0].sum())
    for split, rows in _planned(selection, shard_bytes):
        batch = _batch(parts, selection, rows)
        known = None if finished is None else [shard.file for shard in finished.shards[len(shards) : len(shards) + 1]]
        info = _written(out / shard_name(len(shards)), batch, known)
        shards.append(ShardInfo(info, SPLITS[split], len(rows), int(selection.sizes[rows].sum())))
        done += shards[-1].text_bytes
        progress(done, total)
    return shards


class OtherCorpusError(InputError):
    """The folder holds something else already."""

    def __init__(self, out: Path) -> None:
        super().__init__(
            f"{out} already holds a corpus of other documents, weights, rules, split or shard size: use another folder"
        )


def _planned(selection: Selection, shard_bytes: int) -> Iterator[tuple[int, np.ndarray]]:
    """The split and the records of each shard: as many as fit, one at least."""
    for split in range(len(SPLITS)):
        rows = np.flatnonzero(selection.fate == split)
        ends = np.cumsum(selection.sizes[rows])
        first = 0
        while first < len(rows):
            before = ends[first - 1] if first else 0
            fitting = int(np.searchsorted(ends, before + shard_bytes, side="right"))
            last = min(max(fitting, first + 1), first + SHARD_DOCUMENTS)
            yield split, rows[first:last]
            first = last


def _batch(parts: Parts, selection: Selection, rows: np.ndarray) -> pa.RecordBatch:
    pieces = [_picked(parts[part], own - selection.starts[part]) for part, own in by_part(selection.starts, rows)]
    return pa.record_batch(pa.concat_batches(pieces).columns, schema=SHARD_SCHEMA)


def _picked(part: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    """Some rows of a part, ascending; not copied if nothing is left out between them."""
    documents = part.select(SHARD_SCHEMA.names)
    if rows[-1] - rows[0] + 1 == len(rows):
        return documents.slice(int(rows[0]), len(rows))
    return documents.take(pa.array(rows))


def _written(path: Path, batch: pa.RecordBatch, known: list[FileInfo] | None) -> FileInfo:
    """Write a shard, unless its file is already there."""
    if known is not None or path.exists():
        hashing = HashingFile()
        write_batch(hashing, batch)
        info = hashing.info(path.name)
        if known is not None and known != [info]:
            raise OtherCorpusError(path.parent)
        if path.exists() and file_info(path) == info:
            return info
    return write_whole(path, lambda file: write_batch(file, batch))
