"""A prepared corpus, memory-mapped: opening it costs a look at each file's size, and reading copies nothing.

What a file holds is checked when it is first mapped (`checks.py`), because compiled code follows it. A file that
`ensure_unaltered` has noted as right, and that nobody wrote to since, isn't checked again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SPLITS, Split
from byteproxy.errors import InputError
from byteproxy.files import open_inside
from byteproxy.progress import Progress, silent
from byteproxy.store import caches
from byteproxy.store.checks import RULES, check_anchors, check_shard, check_spans, check_view, offsets_of, values_of
from byteproxy.store.format import mapped_batch
from byteproxy.store.integrity import REPAIR, Checked, Notes, ensure_unaltered, identity, state_of, verify
from byteproxy.store.manifest import Manifest, read_manifest
from byteproxy.store.passage_index import VERSION as TABLE_VERSION
from byteproxy.store.passage_index import Table, kept_table
from byteproxy.store.passages import Anchors, Passages, Spans, cut_anywhere, cut_at_anchors, units_between
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
        self._mapped: dict[str, os.stat_result] = {}
        self._right: dict[str, list[int]] = {}
        self._notes: Notes | None = None

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The corpus in a folder; InputError naming the file that is missing, of another size or of another version."""
        path = Path(path)
        store = cls(path, read_manifest(path))
        for file in store.manifest.files:
            size = state_of(path / file.name).st_size
            if size != file.size:
                raise InputError(f"{path / file.name} has {size} bytes and should have {file.size}: {REPAIR}")
        return store

    def __reduce__(self) -> tuple[object, tuple[Path], dict[str, Any]]:
        return Store.open, (self.path,), {"_right": self._right}

    def verify(self, progress: Progress = silent) -> list[caches.Cache]:
        """Read every file, caches included, and compare its hash and what it holds with what it should be.

        Progress is in bytes. Returns the caches that were read beside the files of the manifest.
        Raises InputError naming the first file that differs.
        """
        kept = caches.found(self.path)
        done = sum(file.size for file in self.manifest.files)
        total = done + sum(cache.size for cache in kept)
        verify(self.path, self.manifest.files, lambda done, _, note="": progress(done, total))
        for one in self._checked():
            one.check()
        for cache in kept:
            caches.check(cache)
            done += cache.size
            progress(done, total)
        return kept

    def ensure_unaltered(self, progress: Progress = silent) -> int:
        """Verify the files of the manifest, reading only those that were written to since the last time.

        progress: bytes read, of all that have to be. Returns how many were.
        """
        read, states = ensure_unaltered(self.path, self._checked(), progress)
        self._notes = None
        self._right = {name: identity(state) for name, state in states.items()}
        return read

    def ensure_whole(self, shard: int, view_names: tuple[str, ...]) -> None:
        """InputError where a file of a shard that is mapped was cut since: to read behind its end would be a SIGBUS.

        A look at each file's entry in its folder. One that was replaced, or removed, is still mapped as it was; between
        this look and reading a file may yet be cut, which nothing catches.
        """
        files = [self.manifest.shards[shard].file, *(self.manifest.view(name).files[shard] for name in view_names)]
        for file in files:
            known = self._mapped.get(file.name)
            try:
                now = os.stat(self.path / file.name)
            except OSError:
                continue
            same = known is not None and (now.st_dev, now.st_ino) == (known.st_dev, known.st_ino)
            if known is not None and same and now.st_size < known.st_size:
                raise InputError(f"{self.path / file.name} was cut to {now.st_size:,} bytes while in use: {REPAIR}")

    def view(self, name: str) -> View:
        """The view of that name, out of the corpus itself.

        Raises InputError where the corpus doesn't say how it is made, or where that gives another view today.
        """
        entry = self.manifest.view(name)
        if entry.artefact is not None:
            view = registry.load(self._own(entry.artefact.name))
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

    def shards(self, split: Split) -> list[int]:
        """The numbers of the shards of one split, in order."""
        if split not in SPLITS:
            raise InputError(f"there is no split {split!r}: it is one of {', '.join(SPLITS)}")
        return [number for number, shard in enumerate(self.manifest.shards) if shard.split == split]

    def documents(self, split: Split) -> Iterator[Document]:
        """The documents of one split in the order in which they were read."""
        for shard in self.shards(split):
            batch = self._shard(shard)
            names = [batch.column(name) for name in ("id", "source", "project", "language")]
            for row in range(batch.num_rows):
                identifier, source, project, language = (column[row].as_py() for column in names)
                yield Document(identifier, self.text(shard, row), source, project, language)

    def names(self, shard: int) -> pa.RecordBatch:
        """The columns id, source, project and language of a shard's documents."""
        return self._shard(shard).select(["id", "source", "project", "language"])

    def text_lengths(self, shard: int) -> np.ndarray:
        """The bytes of each document of a shard, int64 [documents], without reading any text."""
        return np.diff(self._text_offsets(shard))

    def text(self, shard: int, row: int) -> bytes:
        """The text of one document; a copy."""
        offsets = self._text_offsets(shard)
        return self.text_buffer(shard)[offsets[row] : offsets[row + 1]].tobytes()

    def symbols(self, view_name: str, shard: int, row: int) -> np.ndarray:
        """The symbols of one document: uint16 or uint32 [symbols]."""
        offsets = offsets_of(self._view(view_name, shard).column("symbols"))
        return self.symbol_buffer(view_name, shard)[offsets[row] : offsets[row + 1]]

    def text_buffer(self, shard: int) -> np.ndarray:
        """The texts of a shard, end to end: uint8 [bytes]."""
        texts = _buffer(self._shard(shard).column("text").buffers()[2], np.dtype(np.uint8))
        return texts[: self._text_offsets(shard)[-1]]

    def symbol_buffer(self, view_name: str, shard: int) -> np.ndarray:
        """The symbols of a shard, end to end: uint16 or uint32 [symbols]."""
        return values_of(self._view(view_name, shard).column("symbols"))

    def span_buffer(self, view_name: str, shard: int) -> np.ndarray:
        """The spans of a shard's symbols, end to end: uint8, uint16 or uint32 [symbols], in bytes of text.

        The type is the smallest that holds the shard's largest span. InputError where the view isn't aligned.
        """
        if not self.manifest.view(view_name).aligned:
            raise InputError(f"view {view_name!r} is not aligned with the text, so it has no spans: name another")
        return values_of(self._view(view_name, shard).column("spans"))

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
        split: Split,
        view_names: tuple[str, ...],
        max_bytes: int,
        progress: Progress = silent,
        units: bool = False,
    ) -> Table:
        """The passages of all shards of one split, in the order of sources, shards, documents and text; see `table`.

        progress: passages made; the total is 0. The second time it costs nothing.
        units: let the lengths in views count units instead of symbols. Costs a pass over the spans, once.
        """
        what = [TABLE_VERSION, self.manifest.fingerprint_for(view_names), split, view_names, max_bytes, units]
        key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
        cuts = _Cuts(self, self.shards(split), view_names, max_bytes, units)
        text_bytes = np.array([shard.text_bytes for shard in self.manifest.shards], np.int64)
        return kept_table(self.path, key, cuts, list(self.manifest.sources), len(view_names), text_bytes, progress)

    def sources_of(self, shard: int) -> np.ndarray:
        """The source of each document of a shard, as a number in the manifest's order: int64 [documents]."""
        names = pa.array(list(self.manifest.sources), pa.string())
        return pc.index_in(self._shard(shard).column("source"), names).to_numpy().astype(np.int64)

    def _own(self, name: str) -> Path:
        """The path of one of the corpus's files; InputError where it can't be opened, or is a link to elsewhere."""
        path = self.path / name
        try:
            open_inside(path).close()
        except OSError as error:
            raise InputError(f"{path} can't be read ({error.strerror}): {REPAIR}") from error
        return path

    def _anchors(self, view_name: str, shard: int) -> Anchors:
        batch = self._view(view_name, shard)
        with _said_of(self.path / self.manifest.view(view_name).files[shard].name):
            check_anchors(batch, self._text_offsets(shard))  # again, as cheap as it is: what is cut here is followed
        counts = np.diff(offsets_of(batch.column("anchor_bytes")))
        document = np.repeat(np.arange(len(counts)), counts)
        byte_starts = self._text_offsets(shard)[document]
        symbol_starts = offsets_of(batch.column("symbols"))[document]
        return Anchors(
            document,
            byte_starts + values_of(batch.column("anchor_bytes")),
            symbol_starts + values_of(batch.column("anchor_symbols")),
        )

    def _spans(self, view_name: str, shard: int) -> Spans:
        batch = self._view(view_name, shard)
        with _said_of(self.path / self.manifest.view(view_name).files[shard].name):
            check_anchors(batch, self._text_offsets(shard))
            check_spans(batch, self._text_offsets(shard))
        return Spans(offsets_of(batch.column("symbols")), self.span_buffer(view_name, shard))

    def _shard(self, shard: int) -> pa.RecordBatch:
        if shard not in self._shards:
            info = self.manifest.shards[shard]
            sources = tuple(self.manifest.sources)
            self._shards[shard] = self._map(self._of_shard(shard), lambda batch: check_shard(batch, info, sources))
        return self._shards[shard]

    def _view(self, view_name: str, shard: int) -> pa.RecordBatch:
        key = view_name, shard
        if key not in self._views:
            info, offsets = self.manifest.view(view_name), self._text_offsets(shard)
            self._views[key] = self._map(
                self._of_view(info.name, shard), lambda batch: check_view(batch, info, offsets)
            )
        return self._views[key]

    def _map(self, one: Checked, check: Callable[[pa.RecordBatch], None]) -> pa.RecordBatch:
        """Map a file, and check what it holds unless that was done with this very file."""
        path = self.path / one.file.name
        batch, found = mapped_batch(path, one.file.size)
        self._notes = self._notes or Notes(self.path)
        if not self._notes.tell_of(one, found) and self._right.get(one.file.name) != identity(found):
            with _said_of(path):
                check(batch)
            self._right[one.file.name] = identity(found)
        self._mapped[one.file.name] = found
        return batch

    def _checked(self) -> list[Checked]:
        """Every file of the manifest, with what looks at what it holds."""
        shards = [self._of_shard(number) for number in range(len(self.manifest.shards))]
        views = [self._of_view(view.name, number) for view in self.manifest.views for number in range(len(shards))]
        others = [view.artefact for view in self.manifest.views] + [self.manifest.rejected_file]
        return [*shards, *views, *(Checked(file, "", lambda: None) for file in others if file is not None)]

    def _of_shard(self, shard: int) -> Checked:
        info = self.manifest.shards[shard]
        facts = json.dumps([RULES, info.documents, info.text_bytes, list(self.manifest.sources)])
        return Checked(info.file, facts, lambda: self._unnoted()._shard(shard))

    def _of_view(self, view_name: str, shard: int) -> Checked:
        info = self.manifest.view(view_name)
        facts = json.dumps([RULES, info.alphabet_size, info.aligned, self.manifest.shards[shard].file.sha256])
        return Checked(info.files[shard], facts, lambda: self._unnoted()._view(view_name, shard))

    def _unnoted(self) -> "Store":
        """This store, with nothing mapped and nothing known to be right."""
        store = Store(self.path, self.manifest)
        store._notes = Notes(None)
        return store

    def _text_offsets(self, shard: int) -> np.ndarray:
        return offsets_of(self._shard(shard).column("text"))


class _Cuts(NamedTuple):
    """The passages of one split, shard by shard."""

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


@contextmanager
def _said_of(path: Path) -> Iterator[None]:
    """What is raised within becomes an InputError that names the file."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{path} can't be used ({error}): {REPAIR}") from error


def _kind_of(spec: str) -> str:
    return spec.partition(":")[0]


def _buffer(buffer: pa.Buffer | None, dtype: np.dtype) -> np.ndarray:
    return np.empty(0, dtype=dtype) if buffer is None else np.frombuffer(buffer, dtype=dtype)
