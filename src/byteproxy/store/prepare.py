"""Filling a store: documents into shards, and later views beside them.

Both steps can be run again at any time: whatever is finished and still what it should be is kept, the rest is made
anew, and the files come out the same bytes as in one undisturbed run. Memory: an open shard per side, twice, and
about 100 bytes per document to recognise duplicates. Two preparations of one folder exclude each other.
"""

import fcntl
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SIDES, Side, Split
from byteproxy.errors import InputError
from byteproxy.progress import Progress, silent
from byteproxy.store.anchors import anchors_of
from byteproxy.store.format import (
    MANIFEST,
    PARTIAL_FILES,
    SHARD_FILES,
    SHARD_SCHEMA,
    VIEW_NAME,
    FileInfo,
    HashingFile,
    Manifest,
    ShardInfo,
    SideInfo,
    SourceInfo,
    ViewInfo,
    file_info,
    read_batch,
    read_manifest,
    shard_name,
    view_file_name,
    view_schema,
    write_batch,
    write_manifest,
    write_whole,
)
from byteproxy.views.base import Encoded, View

SHARD_BYTES = 64 << 20
SHARD_DOCUMENTS = 1 << 20  # keeps the ids of a shard far below the 2 GiB that 32-bit offsets reach
ENCODE_BYTES = 4 << 20  # a view may need a hundred times as much memory while it encodes
LOCK = ".byteproxy-store.lock"
DUPLICATE = "exact duplicate"


def prepare(
    documents: Iterable[Document],
    out: Path,
    split: Split,
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = silent,
) -> Manifest:
    """Write documents as shards, each of one side of the split, then the manifest.

    A document whose bytes were seen before is dropped, wherever it comes from: the first one stays. A shard has at most
    `shard_bytes` of text; a larger document gets one of its own.
    progress: bytes of text read; the total is 0, as it isn't known.
    Raises InputError when there are no documents, when the folder holds another corpus, and when the disk is full.
    """
    if shard_bytes < 1:
        raise InputError(f"shard_bytes is {shard_bytes}: give at least 1")
    out = Path(out)
    _make_folder(out)
    with _locked(out):
        finished = read_manifest(out) if (out / MANIFEST).exists() else None
        if finished is not None and (finished.split, finished.shard_bytes) != (split, shard_bytes):
            raise _other_corpus(out)
        filling = _Filling(out, split, shard_bytes, finished)
        done = 0
        for document in documents:
            filling.add(document)
            done += len(document.text)
            progress(done, 0)
        manifest = filling.finish()
        if finished is None:
            _remove_others(out, manifest)
            write_manifest(out, manifest)
        elif replace(finished, views=()) != manifest:
            raise _other_corpus(out)
        return finished or manifest


def add_view(out: Path, view: View, progress: Progress = silent) -> Manifest:
    """Encode every document with a view, into a file beside each shard; no shard is written to.

    progress: bytes of text encoded, of all there are; files that are already there count as encoded.
    Raises InputError when the folder holds another view of that name, when the view breaks its contract, and when the
    disk is full.
    """
    out = Path(out)
    if not VIEW_NAME.fullmatch(view.name):
        raise InputError(f"view name {view.name!r} can't be part of a file name: use letters, digits, '-', '_' and '.'")
    read_manifest(out)  # no lock file in a folder that is no corpus
    with _locked(out):
        manifest = read_manifest(out)
        before = next((known for known in manifest.views if known.name == view.name), None)
        if before is not None and before.fingerprint != view.fingerprint:
            raise InputError(
                f"{out} already holds another view named {view.name!r} (fingerprint {before.fingerprint[:12]}, not "
                f"{view.fingerprint[:12]}): prepare into another folder or give the view another name"
            )
        total = sum(shard.text_bytes for shard in manifest.shards)
        done = symbols = 0
        files = []
        for number, shard in enumerate(manifest.shards):
            path = out / view_file_name(number, view.name)
            info = _finished_view_file(path, view, shard, before.files[number] if before else None)
            info = info or _write_view_file(path, out / shard.file.name, view, shard, done, total, progress)
            if before is not None and info != before.files[number]:
                raise InputError(
                    f"{path} came out different from when view {view.name!r} was added: the view is no pure function "
                    "of the bytes (or another pyarrow wrote the file): prepare into another folder"
                )
            files.append(info)
            symbols += len(read_batch(path).column("symbols").values)
            done += shard.text_bytes
            progress(done, total)
        per_symbol = total / symbols if symbols else 0.0
        after = ViewInfo(
            view.name, view.fingerprint, view.alphabet_size, view.aligned, symbols, per_symbol, tuple(files)
        )
        if before is None:
            manifest = replace(manifest, views=(*manifest.views, after))
            write_manifest(out, manifest)
        return manifest


class _Filling:
    """The state of one preparation: an open shard per side, and what the manifest will say."""

    def __init__(self, out: Path, split: Split, shard_bytes: int, finished: Manifest | None) -> None:
        self.out, self.split, self.shard_bytes, self.finished = out, split, shard_bytes, finished
        self.open: dict[Side, list[Document]] = {side: [] for side in SIDES}
        self.open_bytes: Counter[Side] = Counter()
        self.shards: list[ShardInfo] = []
        self.projects: dict[Side, set[str]] = {side: set() for side in SIDES}
        self.sources: dict[str, _Source] = {}
        self.seen: set[bytes] = set()
        self.duplicates = 0

    def add(self, document: Document) -> None:
        content = hashlib.sha256(document.text).digest()
        self.sources.setdefault(document.source, _Source()).add(document, content)
        if content in self.seen:
            self.duplicates += 1
            return
        self.seen.add(content)
        side = self.split.side_of(document.project)
        documents, size = self.open[side], len(document.text)
        if documents and (self.open_bytes[side] + size > self.shard_bytes or len(documents) >= SHARD_DOCUMENTS):
            self._close(side)
        self.open[side].append(document)
        self.open_bytes[side] += size
        self.projects[side].add(document.project)

    def finish(self) -> Manifest:
        for side in SIDES:
            if self.open[side]:
                self._close(side)
        if not self.shards:
            raise InputError(f"there are no documents to prepare into {self.out}: name a source that has some")
        return Manifest(
            split=self.split,
            shard_bytes=self.shard_bytes,
            sources={name: source.info() for name, source in self.sources.items()},
            sides={side: self._side_info(side) for side in SIDES},
            rejected={DUPLICATE: self.duplicates},
            shards=tuple(self.shards),
        )

    def _side_info(self, side: Side) -> SideInfo:
        shards = [shard for shard in self.shards if shard.side == side]
        return SideInfo(
            documents=sum(shard.documents for shard in shards),
            bytes=sum(shard.text_bytes for shard in shards),
            projects=len(self.projects[side]),
        )

    def _close(self, side: Side) -> None:
        """Write the open shard of a side, unless its file is already there."""
        documents, number = self.open[side], len(self.shards)
        batch = _shard_batch(documents)
        path = self.out / shard_name(number)
        info = None
        if self.finished is not None or path.exists():
            hashing = HashingFile()
            write_batch(hashing, batch)
            info = hashing.info(path.name)
            known = self.finished.shards[number : number + 1] if self.finished is not None else ()
            if self.finished is not None and [shard.file for shard in known] != [info]:
                raise _other_corpus(self.out)
        if info is None or not path.exists() or file_info(path) != info:
            info = write_whole(path, lambda file: write_batch(file, batch))
        self.shards.append(ShardInfo(info, side, len(documents), self.open_bytes[side]))
        self.open[side], self.open_bytes[side] = [], 0


@dataclass
class _Source:
    """What was read of one source so far."""

    documents: int = 0
    text_bytes: int = 0
    hash: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, document: Document, content: bytes) -> None:
        self.documents += 1
        self.text_bytes += len(document.text)
        for name in (document.id, document.project):
            encoded = name.encode("utf-8", "surrogatepass")
            self.hash.update(len(encoded).to_bytes(8, "little") + encoded)
        self.hash.update(content)

    def info(self) -> SourceInfo:
        return SourceInfo(self.documents, self.text_bytes, self.hash.hexdigest())


def _shard_batch(documents: list[Document]) -> pa.RecordBatch:
    columns = {name: [getattr(document, name) for document in documents] for name in SHARD_SCHEMA.names}
    try:
        return pa.record_batch(columns, schema=SHARD_SCHEMA)
    except UnicodeEncodeError as error:
        raise InputError(f"a document's id, source or project {error.object!r} is not Unicode: rename it") from error


def _finished_view_file(path: Path, view: View, shard: ShardInfo, known: FileInfo | None) -> FileInfo | None:
    """The view file of a shard if an earlier run finished it, else None."""
    if not path.exists():
        return None
    try:
        metadata = read_batch(path).schema.metadata or {}
    except InputError:
        return None
    if metadata != {key.encode(): value.encode() for key, value in _view_metadata(view, shard).items()}:
        return None
    info = file_info(path)
    return info if known in (None, info) else None


def _view_metadata(view: View, shard: ShardInfo) -> dict[str, str]:
    """What a view file says about itself, so that a leftover of an unfinished run can be told to be of use."""
    return {
        "byteproxy.alphabet_size": str(view.alphabet_size),
        "byteproxy.fingerprint": view.fingerprint,
        "byteproxy.shard_sha256": shard.file.sha256,
        "byteproxy.view": view.name,
    }


def _write_view_file(
    path: Path, shard_path: Path, view: View, shard: ShardInfo, done: int, total: int, progress: Progress
) -> FileInfo:
    """Encode the documents of one shard; `done` of `total` bytes of text were encoded before."""
    batch = read_batch(shard_path)
    if file_info(shard_path) != shard.file:
        raise InputError(f"{shard_path} was altered since it was written: run the preparation again to restore it")
    texts = batch.column("text")
    sizes = np.diff(np.frombuffer(texts.buffers()[1], dtype=np.int64)[: len(texts) + 1])
    dtype = np.dtype(np.uint16 if view.alphabet_size <= 1 << 16 else np.uint32)
    encoded: list[np.ndarray] = []
    anchors: list[tuple[np.ndarray, np.ndarray]] = []
    for first, last in _batches(sizes):
        documents = [texts[row].as_py() for row in range(first, last)]
        through = view.encode_batch(documents)
        for row, (text, one) in enumerate(zip(documents, through, strict=True), start=first):
            _check_contract(view, one, len(text), batch.column("id")[row])
            encoded.append(one.symbols.astype(dtype, copy=False))
            if view.aligned:
                anchors.append(anchors_of(np.frombuffer(text, dtype=np.uint8), one.span_bytes.astype(np.uint32)))
        done += int(sizes[first:last].sum())
        progress(done, total)
    columns = [_lists(encoded, dtype)]
    if view.aligned:
        columns += [_lists([pair[side] for pair in anchors], np.dtype(np.int64)) for side in (0, 1)]
    schema = view_schema(pa.from_numpy_dtype(dtype), view.aligned, _view_metadata(view, shard))
    lists = [
        pa.LargeListArray.from_arrays(offsets, values, type=kind)
        for (offsets, values), kind in zip(columns, schema.types, strict=True)
    ]
    viewed = pa.record_batch(lists, schema=schema)
    return write_whole(path, lambda file: write_batch(file, viewed))


def _batches(sizes: np.ndarray) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of documents of about ENCODE_BYTES."""
    group = (np.cumsum(sizes) - sizes) // ENCODE_BYTES
    bounds = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(sizes)]
    yield from pairwise(bounds)


def _lists(arrays: list[np.ndarray], dtype: np.dtype) -> tuple[pa.Array, pa.Array]:
    """Offsets and values of a list column."""
    offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
    np.cumsum([len(array) for array in arrays], out=offsets[1:])
    return pa.array(offsets), pa.array(np.concatenate([np.empty(0, dtype=dtype), *arrays], dtype=dtype))


def _check_contract(view: View, encoded: Encoded, size: int, document: object) -> None:
    """Views come from outside too, and a wrong one must not end up as a corpus that is quietly wrong."""
    symbols, spans = encoded
    if len(symbols) and not 0 <= int(symbols.min()) <= int(symbols.max()) < view.alphabet_size:
        reason = f"symbols outside of its alphabet of {view.alphabet_size}"
    elif view.aligned and (len(spans) != len(symbols) or int(spans.sum(dtype=np.int64)) != size):
        reason = f"spans that don't cover its {size} bytes"
    else:
        return
    raise InputError(f"view {view.name!r} gives document {document} {reason}: the view is faulty, use another")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for this process alone, and clear away what a killed one was writing."""
    try:
        lock = (folder / LOCK).open("ab")
    except OSError as error:
        raise InputError(f"cannot write into {folder} ({error.strerror}): use another folder") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            reason = f"another process is preparing {folder}: wait until it is done or use another folder"
            raise InputError(reason) from error
        for path in folder.iterdir():
            if PARTIAL_FILES.fullmatch(path.name):
                path.unlink()
        yield


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder} ({error.strerror}): use another") from error
    ours = (folder / LOCK).exists() or (folder / MANIFEST).exists()
    if not ours and any(SHARD_FILES.fullmatch(path.name) for path in folder.iterdir()):
        raise InputError(f"{folder} holds shards that byteproxy didn't write: use an empty folder")


def _remove_others(out: Path, manifest: Manifest) -> None:
    """Remove shards that an unfinished preparation of other documents left behind."""
    kept = {shard.file.name for shard in manifest.shards}
    for path in out.iterdir():
        if SHARD_FILES.fullmatch(path.name) and path.name not in kept:
            path.unlink()


def _other_corpus(out: Path) -> InputError:
    return InputError(
        f"{out} already holds a corpus of other documents, another split or another shard size: use another folder"
    )
