"""Cache the entropy of every byte of a corpus, as a view's model predicts it, beside the shards.

The pass takes hours where encoding takes seconds. So it is done in parts of about a megabyte of text, and each part is
saved at once in `.entropies/MODEL/SHARD-PART`. A stop costs one part, and other views of the same model need no pass. A
part that is truncated, altered, or of another shard is made again. The folder may be deleted at any time. Disk: 2 bytes
per byte of text. Memory: one part.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.progress import Progress, remark, silent
from byteproxy.store.checks import offsets_of
from byteproxy.store.format import read_batch
from byteproxy.store.integrity import ensure_same
from byteproxy.store.manifest import ShardInfo, read_manifest
from byteproxy.views.artefact import Format, content_of, from_content, read_as, to_content
from byteproxy.views.base import ContextView, View, in_context

FOLDER = ".entropies"
FORMAT = Format("byteproxy-entropies", "1", "entropies file", "byteproxy prepare")
PART_BYTES = 1 << 20


def add_entropies(out: Path, view: View, progress: Progress = silent) -> None:
    """Make what a view needs to know of every document before it can encode it; nothing for most views.

    progress: bytes of text that the model has read, of all there are; parts that are there already count as read.
    Raises InputError where a shard was altered, and when the disk is full.
    """
    contextual = in_context(view)
    if contextual is None:
        return
    out = Path(out)
    manifest = read_manifest(out)
    done, total = 0, sum(shard.text_bytes for shard in manifest.shards)
    for number, shard in enumerate(manifest.shards):
        shard_path = out / shard.file.name
        ensure_same(shard_path, shard.file)
        entropies = ShardEntropies(out, number, shard, read_batch(shard_path).column("text"), contextual)
        for size in entropies.ensure(lambda read, _, note="": progress(done + read, total)):  # noqa: B023
            done += size
            progress(done, total)


class ShardEntropies:
    """The entropies of one shard's documents, in parts."""

    def __init__(self, out: Path, number: int, shard: ShardInfo, texts: pa.Array, view: ContextView) -> None:
        """texts: of the shard's documents."""
        self._texts, self._shard, self._view = texts, shard, view
        self._folder, self._number = Path(out) / FOLDER / view.entropy_model[:16], number
        self._sizes = np.diff(offsets_of(texts))
        self._parts = ranges_of(self._sizes, PART_BYTES)
        self._kept: tuple[int, np.ndarray] = -1, np.empty(0, np.float16)

    def ensure(self, progress: Progress = silent) -> Iterator[int]:
        """Make the parts that are missing; the bytes of text in each, when it is there. progress: within a part."""
        for part, (first, last) in enumerate(self._parts):
            self._part(part, progress)
            yield int(self._sizes[first:last].sum())

    def of(self, first: int, last: int) -> list[np.ndarray]:
        """Entropies, float16 [bytes], of the documents from `first` to before `last`; made where they are missing."""
        found: list[np.ndarray] = []
        for part, (begin, end) in enumerate(self._parts):
            if begin < last and end > first:
                bounds = np.cumsum(self._sizes[begin:end])[:-1]
                documents = np.split(self._part(part, silent), bounds)
                found += documents[max(first - begin, 0) : last - begin]
        return found

    def _part(self, part: int, progress: Progress) -> np.ndarray:
        if self._kept[0] != part:
            self._kept = part, self._read(part, progress)
        return self._kept[1]

    def _read(self, part: int, progress: Progress) -> np.ndarray:
        first, last = self._parts[part]
        path = self._folder / f"{self._number:05d}-{part:05d}.entropies"
        about = {
            "model": self._view.entropy_model,
            "shard": self._shard.file.sha256,
            "documents": f"{first} to {last}",
        }
        size = int(self._sizes[first:last].sum())
        if path.exists():
            try:
                bits, said = check_part(path)
                if about.items() <= said.items():
                    if len(bits) == size:
                        return bits
                    remark(f"{path} has {len(bits):,} entropies for {size:,} bytes of text; it is made again")
            except InputError as error:
                remark(f"{error}; it is made again")
        documents = [self._texts[row].as_py() for row in range(first, last)]
        bits = np.concatenate([np.empty(0, np.float16), *self._view.entropies(documents, progress)])
        write_aside(path, to_content(FORMAT, {"bits": bits}, about))
        return bits


def check_part(path: Path) -> tuple[np.ndarray, dict[str, str]]:
    """The entropies in a file, float16 [bytes], and what they are of; InputError where it was cut off or altered."""
    tensors, said = from_content(content_of(path, FORMAT.noun), FORMAT, path)
    with read_as(FORMAT, path):
        bits = tensors["bits"]
        if bits.ndim != 1 or bits.dtype != np.float16:
            raise ValueError(f"its entropies are {bits.dtype} {list(bits.shape)}")
        return bits, said


def ranges_of(sizes: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Consecutive ranges of documents, which have so many bytes each, of about `size` bytes together."""
    group = (np.cumsum(sizes) - sizes) // size
    return list(pairwise([0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(sizes)])) if len(sizes) else []
