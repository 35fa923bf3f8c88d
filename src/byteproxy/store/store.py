"""A prepared corpus to read from: memory-mapped, so opening costs a look at each file's size, and reading no copy."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SIDES, Side
from byteproxy.errors import InputError
from byteproxy.progress import Progress, silent
from byteproxy.store.format import FileInfo, Manifest, file_info, read_batch, read_manifest
from byteproxy.store.passages import Anchors, Passages, cut_shard, join_passages


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
        for file in store._files():
            try:
                size = (path / file.name).stat().st_size
            except OSError as error:
                raise InputError(f"{path / file.name} can't be read ({error.strerror}): {_REPAIR}") from error
            if size != file.size:
                raise InputError(f"{path / file.name} has {size} bytes and should have {file.size}: {_REPAIR}")
        return store

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Store.open, (self.path,)

    def verify(self, progress: Progress = silent) -> None:
        """Read every file and compare its hash; InputError naming the first that differs. Progress is in bytes."""
        total = sum(file.size for file in self._files())
        done = 0
        for file in self._files():
            path = self.path / file.name
            try:
                found = file_info(path)
            except OSError as error:
                raise InputError(f"{path} can't be read ({error.strerror}): {_REPAIR}") from error
            if found != file:
                raise InputError(f"{path} was altered since it was written: {_REPAIR}")
            done += file.size
            progress(done, total)

    def shards(self, side: Side) -> list[int]:
        """The numbers of the shards of one side, in order."""
        if side not in SIDES:
            raise InputError(f"there is no side {side!r}: it is one of {', '.join(SIDES)}")
        return [number for number, shard in enumerate(self.manifest.shards) if shard.side == side]

    def documents(self, side: Side) -> Iterator[Document]:
        """The documents of one side in the order in which they were read."""
        for shard in self.shards(side):
            batch = self._shard(shard)
            names = [batch.column(name) for name in ("id", "source", "project")]
            for row in range(batch.num_rows):
                identifier, source, project = (column[row].as_py() for column in names)
                yield Document(id=identifier, text=self.text(shard, row), source=source, project=project)

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

    def passages(self, side: Side, view_names: tuple[str, ...], max_bytes: int) -> Passages:
        """One side cut into passages of at most `max_bytes`, which cover every byte and symbol exactly once.

        Cuts are at anchors that all the named views share; with none named, at those of the first view that there is,
        so that raw text is cut like compressed text, or anywhere if there is none. They are at line ends where one is
        at least half of max_bytes on. Where there is no anchor within max_bytes, a passage is longer. Empty documents
        have none.

        """
        if max_bytes < 1:
            raise InputError(f"max_bytes is {max_bytes}: give at least 1")
        for name in view_names:
            if not self.manifest.view(name).aligned:
                raise InputError(f"view {name!r} is not aligned with the text, so it has no passages: name another")
        first = self.manifest.cutting_view
        cutting = view_names or (() if first is None else (first.name,))
        parts = [
            cut_shard(
                shard,
                self.text_buffer(shard),
                self._text_offsets(shard),
                [self._anchors(name, shard) for name in cutting],
                len(view_names),
                max_bytes,
            )
            for shard in self.shards(side)
        ]
        return join_passages(parts, len(view_names))

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

    def _files(self) -> list[FileInfo]:
        views = [file for view in self.manifest.views for file in view.files]
        return [shard.file for shard in self.manifest.shards] + views

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


_REPAIR = "run the preparation again to restore it"


def _buffer(buffer: pa.Buffer | None, dtype: np.dtype) -> np.ndarray:
    return np.empty(0, dtype=dtype) if buffer is None else np.frombuffer(buffer, dtype=dtype)


def _list_offsets(column: pa.LargeListArray) -> np.ndarray:
    """Where each list starts: int64 [rows + 1]."""
    return _buffer(column.buffers()[1], np.dtype(np.int64))[: len(column) + 1]


def _values(column: pa.LargeListArray) -> np.ndarray:
    """The values of all lists, end to end."""
    values: np.ndarray = column.values.to_numpy(zero_copy_only=True)
    return values
