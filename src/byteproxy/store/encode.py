"""Add a view to a corpus: a file of symbols and spans beside each shard, and the view's own file.

It can run again at any time: it keeps what is finished and still right, and the files come out byte for byte as in one
undisturbed run. The hash of each file is noted once the file is synced, and what a killed run left is compared with it
before it becomes part of the corpus. Memory: symbols, spans and anchors of one shard, twice, and what the view needs.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from byteproxy.errors import InputError
from byteproxy.files import read_bytes
from byteproxy.parsing import MAX_JSON, parse_json
from byteproxy.progress import Progress, remark, silent
from byteproxy.store.anchors import anchors_of
from byteproxy.store.checks import offsets_of
from byteproxy.store.corpus_folder import ENCODED, locked
from byteproxy.store.entropy_cache import ShardEntropies, ranges_of
from byteproxy.store.format import (
    VERSION,
    VIEW_NAME,
    FileInfo,
    artefact_name,
    file_info,
    read_batch,
    view_file_name,
    view_schema,
    write_batch,
    write_whole,
)
from byteproxy.store.integrity import checksummed, ensure_same
from byteproxy.store.manifest import Manifest, ShardInfo, ViewInfo, read_manifest, write_manifest
from byteproxy.views.base import Encoded, View, in_context

ENCODE_BYTES = 4 << 20  # a view may need a hundred times as much memory while it encodes


def add_view(out: Path, view: View, progress: Progress = silent, spec: str = "") -> Manifest:
    """Encode every document with a view, into a file beside each shard; no shard is written to.

    A view of a trained kind is itself stored beside them. spec: what another kind is built from, see `views.registry`.
    progress: bytes of text encoded, of all there are; files that are already there count as encoded.
    Raises InputError when the folder holds another view of that name, when the view breaks its contract, and when the
    disk is full.
    """
    out = Path(out)
    if not VIEW_NAME.fullmatch(view.name):
        raise InputError(f"view name {view.name!r} can't be part of a file name: use letters, digits, '-', '_' and '.'")
    read_manifest(out)  # no lock file in a folder that is no corpus
    with locked(out):
        manifest = read_manifest(out)
        before = next((known for known in manifest.views if known.name == view.name), None)
        if before is not None and before.fingerprint != view.fingerprint:
            raise InputError(
                f"{out} already holds another view named {view.name!r} (fingerprint {before.fingerprint[:12]}, not "
                f"{view.fingerprint[:12]}): prepare into another folder or give the view another name"
            )
        files, symbols, units = _view_files(out, manifest, view, before, progress)
        artefact = _stored_artefact(out, view, None if before is None else before.artefact)
        if before is None:
            text_bytes = sum(shard.text_bytes for shard in manifest.shards)
            after = ViewInfo(
                name=view.name,
                fingerprint=view.fingerprint,
                alphabet_size=view.alphabet_size,
                aligned=view.aligned,
                symbols=symbols,
                units=units,
                bytes_per_symbol=text_bytes / symbols if symbols else 0.0,
                files=tuple(files),
                artefact=artefact,
                spec=spec if artefact is None else "",
            )
            manifest = replace(manifest, views=(*manifest.views, after))
            write_manifest(out, manifest)
        elif artefact != before.artefact:
            again = replace(before, artefact=artefact)
            manifest = replace(manifest, views=tuple(again if known is before else known for known in manifest.views))
            write_manifest(out, manifest)
        _Finished(out, view.name).forget()
        return manifest


def _view_files(
    out: Path, manifest: Manifest, view: View, before: ViewInfo | None, progress: Progress
) -> tuple[list[FileInfo], int, int]:
    """The files of a view, made where they are missing or altered, and how many symbols and units they hold."""
    total = sum(shard.text_bytes for shard in manifest.shards)
    done = symbols = units = 0
    files = []
    finished = _Finished(out, view.name)
    for number, shard in enumerate(manifest.shards):
        path = out / view_file_name(number, view.name)
        info = _finished_view_file(path, view, shard, before.files[number] if before else finished.noted.get(path.name))
        if info is None:
            info = _write_view_file(out, number, view, shard, done, total, progress)
            finished.note(info)
        if before is not None and info != before.files[number]:
            raise InputError(
                f"{path} came out different from when view {view.name!r} was added: the view is no pure function "
                "of the bytes (or another pyarrow wrote the file): prepare into another folder"
            )
        files.append(info)
        batch = read_batch(path)
        symbols += len(batch.column("symbols").values)
        if view.aligned:
            units += int(np.count_nonzero(batch.column("spans").values.to_numpy(zero_copy_only=True)))
        done += shard.text_bytes
        progress(done, total)
    return files, symbols, units


def _stored_artefact(out: Path, view: View, known: FileInfo | None) -> FileInfo | None:
    """The file of the view itself, written unless it is there as it was; None for a kind that isn't trained.

    Some kinds don't write the same bytes twice for the same view, so a file that had to be written again may differ.
    """
    save, suffix = getattr(view, "save", None), getattr(view, "suffix", None)
    if save is None or suffix is None:
        return None
    path = out / artefact_name(view.name, suffix)
    if known is None or not path.exists() or file_info(path) != known:
        save(path)
    return file_info(path)


def _finished_view_file(path: Path, view: View, shard: ShardInfo, known: FileInfo | None) -> FileInfo | None:
    """The view file of a shard if an earlier run finished it, else None.

    known: as it was written; None where nobody knows, and then it is as good as not there.
    """
    if known is None or not path.exists():
        return None
    try:
        same = file_info(path) == known
        metadata = read_batch(path).schema.metadata or {} if same else {}
    except (InputError, OSError):
        same, metadata = False, {}
    if not same:
        remark(f"{path} was altered since it was written, and is made again")
        return None
    wanted = {key.encode(): value.encode() for key, value in _view_metadata(view, shard).items()}
    return known if metadata == wanted else None


class _Finished:
    """The view files that a run finished before their view was part of the corpus: a line each, with its own checksum.

    A line that isn't whole was being written when the run was killed: its file is made again.
    """

    def __init__(self, out: Path, view: str) -> None:
        self._path = out / ENCODED.format(view=view)
        self.noted: dict[str, FileInfo] = {}
        with suppress(OSError):
            for line in read_bytes(self._path, MAX_JSON).splitlines():
                with suppress(ValueError, TypeError, LookupError):
                    said = parse_json(line)
                    if said.pop("seal") == checksummed(said):
                        info = FileInfo(**said)
                        self.noted[info.name] = info

    def note(self, info: FileInfo) -> None:
        """Note a file that is whole and synced; InputError where the disk is full."""
        line = json.dumps({**asdict(info), "seal": checksummed(asdict(info))})
        try:
            with self._path.open("ab") as file:
                file.write(f"\n{line}\n".encode())  # what was there may end within a line
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot write {self._path} ({error.strerror}): free space, then run again") from error

    def forget(self) -> None:
        """The manifest has them all now."""
        self._path.unlink(missing_ok=True)


def _view_metadata(view: View, shard: ShardInfo) -> dict[str, str]:
    """What a view file says about itself, so that a leftover of an unfinished run can be told to be of use."""
    return {
        "byteproxy.alphabet_size": str(view.alphabet_size),
        "byteproxy.fingerprint": view.fingerprint,
        "byteproxy.shard_sha256": shard.file.sha256,
        "byteproxy.version": str(VERSION),
        "byteproxy.view": view.name,
    }


def _write_view_file(
    out: Path, number: int, view: View, shard: ShardInfo, done: int, total: int, progress: Progress
) -> FileInfo:
    """Encode the documents of one shard; `done` of `total` bytes of text were encoded before."""
    path, shard_path = out / view_file_name(number, view.name), out / shard.file.name
    batch = read_batch(shard_path)
    ensure_same(shard_path, shard.file)
    texts = batch.column("text")
    sizes = np.diff(offsets_of(texts))
    contextual = in_context(view)
    entropies = None if contextual is None else ShardEntropies(out, number, shard, texts, contextual)
    dtype = np.dtype(np.uint16 if view.alphabet_size <= 1 << 16 else np.uint32)
    encoded: list[np.ndarray] = []
    spans: list[np.ndarray] = []
    anchors: list[tuple[np.ndarray, np.ndarray]] = []
    for first, last in ranges_of(sizes, ENCODE_BYTES):
        documents = [texts[row].as_py() for row in range(first, last)]
        if entropies is None or contextual is None:
            through = view.encode_batch(documents)
        else:
            through = contextual.encode_with_entropies(documents, entropies.of(first, last))
        for row, (text, one) in enumerate(zip(documents, through, strict=True), start=first):
            _check_contract(view, one, len(text), batch.column("id")[row])
            encoded.append(one.symbols.astype(dtype, copy=False))
            if view.aligned:
                spans.append(one.span_bytes.astype(np.min_scalar_type(int(one.span_bytes.max(initial=0)))))
                anchors.append(anchors_of(np.frombuffer(text, dtype=np.uint8), one.span_bytes.astype(np.uint32)))
        done += int(sizes[first:last].sum())
        progress(done, total)
    columns, span_type = [_lists(encoded, dtype)], None
    if view.aligned:
        widest = max((own.dtype for own in spans), key=lambda kind: kind.itemsize, default=np.dtype(np.uint8))
        span_type = pa.from_numpy_dtype(widest)
        columns.append(_lists(spans, widest))
        columns += [_lists([pair[split] for pair in anchors], np.dtype(np.int64)) for split in (0, 1)]
    schema = view_schema(pa.from_numpy_dtype(dtype), span_type, _view_metadata(view, shard))
    lists = [
        pa.LargeListArray.from_arrays(offsets, values, type=kind)
        for (offsets, values), kind in zip(columns, schema.types, strict=True)
    ]
    viewed = pa.record_batch(lists, schema=schema)
    return write_whole(path, lambda file: write_batch(file, viewed))


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
    elif view.aligned and (
        len(spans) != len(symbols) or int(spans.min(initial=0)) < 0 or int(spans.sum(dtype=np.int64)) != size
    ):
        reason = f"spans that don't cover its {size} bytes"
    elif view.aligned and size > 0 and spans[-1] == 0:
        reason = "a last symbol without a span, which belongs to no byte"
    else:
        return
    raise InputError(f"view {view.name!r} gives document {document} {reason}: the view is faulty, use another")
