"""A prepared corpus to read from: memory-mapped, so opening costs a look at each file's size, and reading no copy."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SIDES, Side
from byteproxy.errors import InputError
from byteproxy.progress import Progress, silent
from byteproxy.store.format import Manifest, read_batch, read_manifest
from byteproxy.store.passages import Anchors, Passages, Spans, cut_anywhere, cut_at_anchors, units_between
from byteproxy.store.table import VERSION as TABLE_VERSION
from byteproxy.store.table import Table, kept_table
from byteproxy.store.verified import REPAIR, ensure_unaltered, verify
from byteproxy.views import registry
from byteproxy.views.base import View


class Store:
    """The documents, symbols and passages of a prepared corpus.

    Shards go by their number. Buffers and slices are read-only views of the mapped files. A store can be pickled: the
    copy opens the same folder again.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Use `Store.open`."""
        self.path = path
        self.manifest = manifest
        self._shards: dict[int, pa.RecordBatch] = {}
        self._views: dict[tuple[str, int], pa.RecordBatch] = {}

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The corpus in a folder; InputError naming the file that is missing, of another size or of another version."""
        path = Path(path)
        store = cls(path, read_manifest(path))
        for file in store.manifest.files:
            try:
                size = (path / file.name).stat().st_size
            except OSError as error:
                raise InputError(f"{path / file.name} can't be read ({error.strerror}): {REPAIR}") from error
            if size != file.size:
                raise InputError(f"{path / file.name} has {size} bytes and should have {file.size}: {REPAIR}")
        return store

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Store.open, (self.path,)

    def verify(self, progress: Progress = silent) -> None:
        """Read every file and compare its hash; InputError naming the first that differs. Progress is in bytes."""
        verify(self.path, self.manifest.files, progress)

    def ensure_unaltered(self, progress: Progress = silent) -> None:
        """As `verify`, but reads only files that were written to since they were last verified here."""
        ensure_unaltered(self.path, self.manifest.files, progress)

    def view(self, name: str) -> View:
        """The view of that name, out of the corpus itself.

        Raises InputError where the corpus doesn't say how it is made, or where that gives another view today.
        """
        entry = self.manifest.view(name)
        if entry.artefact is not None:
            view = registry.load(self.path / entry.artefact.name)
        elif entry.spec and not registry.is_artefact(entry.spec) and not registry.kind(_kind_of(entry.spec)).trained:
            view = registry.build(entry.spec, lambda: ()).view
        else:
            raise InputError(
                f"{self.path} holds the symbols of view {name!r} and neither the view nor what it is made from: "
                "build or load it by itself"
            )
        if view.fingerprint != entry.fingerprint:
            raise InputError(
                f"view {name!r} of {self.path} has the fingerprint {view.fingerprint[:12]} now, and had "
                f"{entry.fingerprint[:12]} when it was added, so its symbols would be others: use the versions of "
                "then, or prepare again into another folder"
            )
        return view

    def shards(self, side: Side) -> list[int]:
        """The numbers of the shards of one side, in order."""
        if side not in SIDES:
            raise InputError(f"there is no side {side!r}: it is one of {', '.join(SIDES)}")
        return [number for number, shard in enumerate(self.manifest.shards) if shard.side == side]

    def documents(self, side: Side) -> Iterator[Document]:
        """The documents of one side in the order in which they were read."""
        for shard in self.shards(side):
            batch = self._shard(shard)
            names = [batch.column(name) for name in ("id", "source", "project", "language")]
            for row in range(batch.num_rows):
                identifier, source, project, language = (column[row].as_py() for column in names)
                yield Document(identifier, self.text(shard, row), source, project, language)

    def text(self, shard: int, row: int) -> bytes:
        """The text of one document; a copy."""
        offsets = self._text_offsets(shard)
        return self.text_buffer(shard)[offsets[row] : offsets[row + 1]].tobytes()

    def symbols(self, view_name: str, shard: int, row: int) -> np.ndarray:
        """The symbols of one document: uint16 or uint32 [symbols]."""
        offsets = _list_offsets(self._view(view_name, shard).column("symbols"))
        return self.symbol_buffer(view_name, shard)[offsets[row] : offsets[row + 1]]

    def text_buffer(self, shard: int) -> np.ndarray:
        """The texts of a shard, end to end: uint8 [bytes]."""
        texts = _buffer(self._shard(shard).column("text").buffers()[2], np.dtype(np.uint8))
        return texts[: self._text_offsets(shard)[-1]]

    def symbol_buffer(self, view_name: str, shard: int) -> np.ndarray:
        """The symbols of a shard, end to end: uint16 or uint32 [symbols]."""
        return _values(self._view(view_name, shard).column("symbols"))

    def span_buffer(self, view_name: str, shard: int) -> np.ndarray:
        """The spans of a shard's symbols, end to end: uint8, uint16 or uint32 [symbols], in bytes of text.

        The type is the smallest that holds the shard's largest span. InputError where the view isn't aligned.
        """
        if not self.manifest.view(view_name).aligned:
            raise InputError(f"view {view_name!r} is not aligned with the text, so it has no spans: name another")
        return _values(self._view(view_name, shard).column("spans"))

    def passages(self, shard: int, view_names: tuple[str, ...], max_bytes: int) -> Passages:
        """A shard cut into passages of at most `max_bytes`, which cover every byte and symbol exactly once.

        Cuts are at the named view's anchors; with several named, where a symbol of each of them ends; with none, at the
        anchors of the first view that there is, so that raw text is cut like compressed text, or anywhere if there is
        none. They are at line ends where one is at least half of max_bytes on. Where there is no place to cut within
        max_bytes, a passage is longer. Empty documents have none.
        """
        if max_bytes < 1:
            raise InputError(f"max_bytes is {max_bytes}: give at least 1")
        for name in view_names:
            if not self.manifest.view(name).aligned:
                raise InputError(f"view {name!r} is not aligned with the text, so it has no passages: name another")
        text, offsets = self.text_buffer(shard), self._text_offsets(shard)
        first = self.manifest.cutting_view
        cutting = view_names or (() if first is None else (first.name,))
        if len(cutting) != 1:
            return cut_anywhere(shard, text, offsets, [self._spans(name, shard) for name in cutting], max_bytes)
        found = cut_at_anchors(shard, text, offsets, self._anchors(cutting[0], shard), max_bytes)
        named = slice(len(view_names))
        return replace(found, symbol_start=found.symbol_start[named], symbol_end=found.symbol_end[named])

    def table(
        self,
        side: Side,
        view_names: tuple[str, ...],
        max_bytes: int,
        progress: Progress = silent,
        units: bool = False,
    ) -> Table:
        """The passages of all shards of one side, in the order of sources, shards, documents and text; see `table`.

        progress: passages made; the total is 0. The second time it costs nothing.
        units: let the lengths in views count units instead of symbols. Costs a pass over the spans, once.
        """
        what = [TABLE_VERSION, self.manifest.fingerprint_for(view_names), side, view_names, max_bytes, units]
        key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
        cuts = _Cuts(self, self.shards(side), view_names, max_bytes, units)
        return kept_table(self.path, key, cuts, list(self.manifest.sources), len(view_names), progress)

    def sources_of(self, shard: int) -> np.ndarray:
        """The source of each document of a shard, as a number in the manifest's order: int64 [documents]."""
        names = pa.array(list(self.manifest.sources), pa.string())
        return pc.index_in(self._shard(shard).column("source"), names).to_numpy().astype(np.int64)

    def _anchors(self, view_name: str, shard: int) -> Anchors:
        batch = self._view(view_name, shard)
        counts = np.diff(_list_offsets(batch.column("anchor_bytes")))
        document = np.repeat(np.arange(len(counts)), counts)
        byte_starts = self._text_offsets(shard)[document]
        symbol_starts = _list_offsets(batch.column("symbols"))[document]
        return Anchors(
            document,
            byte_starts + _values(batch.column("anchor_bytes")),
            symbol_starts + _values(batch.column("anchor_symbols")),
        )

    def _spans(self, view_name: str, shard: int) -> Spans:
        offsets = _list_offsets(self._view(view_name, shard).column("symbols"))
        return Spans(offsets, self.span_buffer(view_name, shard))

    def _shard(self, shard: int) -> pa.RecordBatch:
        if shard not in self._shards:
            self._shards[shard] = read_batch(self.path / self.manifest.shards[shard].file.name)
        return self._shards[shard]

    def _view(self, view_name: str, shard: int) -> pa.RecordBatch:
        key = view_name, shard
        if key not in self._views:
            self._views[key] = read_batch(self.path / self.manifest.view(view_name).files[shard].name)
        return self._views[key]

    def _text_offsets(self, shard: int) -> np.ndarray:
        batch = self._shard(shard)
        return _buffer(batch.column("text").buffers()[1], np.dtype(np.int64))[: batch.num_rows + 1]


class _Cuts(NamedTuple):
    """What the table of a side is made of."""

    store: Store
    shards: list[int]
    view_names: tuple[str, ...]
    max_bytes: int
    units: bool

    def sources(self) -> list[set[int]]:
        return [set(np.unique(self.store.sources_of(shard)).tolist()) for shard in self.shards]

    def shard(self, at: int) -> tuple[Passages, np.ndarray, np.ndarray]:
        shard = self.shards[at]
        passages = self.store.passages(shard, self.view_names, self.max_bytes)
        counts = passages.symbol_end - passages.symbol_start
        if self.units:
            for own, name, start, end in zip(
                counts, self.view_names, passages.symbol_start, passages.symbol_end, strict=True
            ):
                own[:] = units_between(self.store.span_buffer(name, shard), start, end)
        return passages, counts, self.store.sources_of(shard)


def _kind_of(spec: str) -> str:
    return spec.partition(":")[0]


def _buffer(buffer: pa.Buffer | None, dtype: np.dtype) -> np.ndarray:
    return np.empty(0, dtype=dtype) if buffer is None else np.frombuffer(buffer, dtype=dtype)


def _list_offsets(column: pa.LargeListArray) -> np.ndarray:
    """Where each list starts: int64 [rows + 1]."""
    return _buffer(column.buffers()[1], np.dtype(np.int64))[: len(column) + 1]


def _values(column: pa.LargeListArray) -> np.ndarray:
    """The values of all lists, end to end."""
    values: np.ndarray = column.values.to_numpy(zero_copy_only=True)
    return values
