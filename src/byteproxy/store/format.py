"""The prepared corpus on disk: names and content of its files, and how a file appears whole or not at all.

    manifest.json                     describes the folder; written last, so a folder without it is unfinished
    shard-00000.arrow                 id, source, project, language: string; text: large_binary; one row per document
    shard-00000.bpe-4096.arrow        the same documents through a view: symbols, spans and anchors
    view-bpe-4096.json                the view itself, if its kind is trained
    rejected.jsonl                    every record that became no document, with the reason; absent if there is none

Shards are uncompressed Arrow IPC files of one record batch each, so a column is one contiguous part of the
memory-mapped file. Lists and texts have 64-bit offsets, and anchors are 64-bit: no document is too large for them.
"""

import errno
import hashlib
import io
import json
import math
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa

from byteproxy.corpus.records import Rules
from byteproxy.corpus.split import SPLITS, Split, SplitGroup, SplitOptions
from byteproxy.errors import InputError, did_you_mean
from byteproxy.files import aside, inside, open_inside, write_aside
from byteproxy.parsing import read_json

FORMAT = "byteproxy-store"
VERSION = 3
"""Version of shards and views, and of manifests without split groups and lost records."""
MANIFEST_VERSION = 4
MANIFEST = "manifest.json"
REJECTED_FILE = "rejected.jsonl"
SHARD_FILES = re.compile(r"shard-\d{5,}(\.[\w.-]+)?\.arrow")

NearDuplicates = Literal["held_out", "train", "keep"]

VIEW_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")

SHARD_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_binary(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("project", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class FileInfo:
    """A file as it was written."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class SourceInfo:
    """What was read from one source, duplicates included, and how often it is shown relative to its size.

    sha256 covers the ids, projects, languages and texts in order.
    """

    documents: int
    bytes: int
    sha256: str
    weight: float = 1.0


@dataclass(frozen=True)
class SplitInfo:
    """What one split holds."""

    documents: int
    bytes: int
    projects: int


@dataclass(frozen=True)
class ShardInfo:
    """One shard: its file, the split that all its documents are on, and how much it holds."""

    file: FileInfo
    split: Split
    documents: int
    text_bytes: int


@dataclass(frozen=True)
class ViewInfo:
    """One view of the whole corpus: `files` has one entry per shard, in the shards' order.

    units: symbols with a span above 0, each of which ends a unit; 0 of a view that isn't aligned.
    artefact: the file of the view itself; None for a kind that isn't trained.
    spec: what such a kind is built from, as in `views.registry`; empty where that wasn't said.
    """

    name: str
    fingerprint: str
    alphabet_size: int
    aligned: bool
    symbols: int
    units: int
    bytes_per_symbol: float
    files: tuple[FileInfo, ...]
    artefact: FileInfo | None = None
    spec: str = ""


@dataclass(frozen=True)
class Manifest:
    """Everything about a prepared corpus.

    records: all that were read; each is a document of a split or rejected.
    sources: in the order in which they were read. rejected: how many for each reason that occurred; `rejected_file`
        lists them. views: in the order in which they were added. groups: how the text of each source and language was
        split; empty of a corpus of format 3, whose projects' hashes alone decided.
    lost_records, lost_bytes: of the rejected, about how many could not be read, and their bytes on disk.
    """

    split: SplitOptions
    shard_bytes: int
    rules: Rules
    near_duplicates: NearDuplicates
    records: int
    sources: dict[str, SourceInfo]
    splits: dict[str, SplitInfo]
    rejected: dict[str, int]
    rejected_file: FileInfo | None
    shards: tuple[ShardInfo, ...]
    views: tuple[ViewInfo, ...] = ()
    groups: tuple[SplitGroup, ...] = ()
    lost_records: int = 0
    lost_bytes: int = 0

    def view(self, name: str) -> ViewInfo:
        """The view of that name; InputError naming those that there are."""
        for view in self.views:
            if view.name == name:
                return view
        there = ", ".join(view.name for view in self.views) or "none"
        raise InputError(
            f"the corpus has no view {name!r} (there are: {there}): add it or name another"
            f"{did_you_mean(name, (view.name for view in self.views))}"
        )

    @property
    def files(self) -> list[FileInfo]:
        """Every file beside the manifest."""
        views = [file for view in self.views for file in (*view.files, view.artefact)]
        return [file for file in (*(shard.file for shard in self.shards), *views, self.rejected_file) if file]

    @property
    def cutting_view(self) -> ViewInfo | None:
        """The view at whose anchors passages are cut when none is named: the first aligned one."""
        return next((view for view in self.views if view.aligned), None)

    @property
    def fingerprint(self) -> str:
        """A hash of all that the corpus holds, every view included."""
        return hashlib.sha256(json.dumps(_content(self), sort_keys=True).encode()).hexdigest()

    def fingerprint_for(self, view_names: tuple[str, ...]) -> str:
        """A hash of what a run with these views reads, and of no more: it outlives the addition of other views."""
        cutting = () if view_names or self.cutting_view is None else (self.cutting_view,)
        return replace(self, views=tuple(map(self.view, view_names)) or cutting).fingerprint


def shard_name(shard: int) -> str:
    """The file of a shard's documents."""
    return f"shard-{shard:05d}.arrow"


def view_file_name(shard: int, view: str) -> str:
    """The file of a shard's symbols in a view."""
    return f"shard-{shard:05d}.{view}.arrow"


def artefact_name(view: str, suffix: str) -> str:
    """The file of a view itself."""
    return f"view-{view}{suffix}"


def view_schema(symbol_type: pa.DataType, span_type: pa.DataType | None, metadata: dict[str, str]) -> pa.Schema:
    """Columns of a view file; the metadata says what was encoded with what.

    symbol_type: uint16 or uint32. span_type: the smallest unsigned type that holds the shard's largest span, uint8 to
    uint32; None for a view that isn't aligned, which has symbols only.
    """
    types = {"symbols": symbol_type}
    if span_type is not None:
        types |= {"spans": span_type, "anchor_bytes": pa.int64(), "anchor_symbols": pa.int64()}
    return pa.schema([pa.field(name, _list_of(kind), nullable=False) for name, kind in types.items()], metadata)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, readable and the same for the same corpus."""
    version = MANIFEST_VERSION if manifest.groups or manifest.lost_records else VERSION
    content = {"format": FORMAT, "version": version, "fingerprint": manifest.fingerprint, **_content(manifest)}
    text = json.dumps(content, indent=2) + "\n"
    write_aside(folder / MANIFEST, text.encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared corpus; InputError naming the file if it is missing, damaged or of another version."""
    path = Path(folder) / MANIFEST
    try:
        content = read_json(path)
        found = content.pop("format"), content.pop("version")
        if found in ((FORMAT, VERSION), (FORMAT, MANIFEST_VERSION)):
            fingerprint = content.pop("fingerprint")
            manifest = _manifest_from(content)
            _ensure_possible(manifest, path)
            if manifest.fingerprint == fingerprint:
                return manifest
            raise ValueError("its content doesn't match its fingerprint")
    except OSError as error:
        raise InputError(
            f"{folder} holds no finished corpus (cannot read {path}: {error.strerror}): run the preparation (again)"
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is damaged ({reason}): restore it or prepare into another folder") from error
    raise InputError(
        f"{path} says format {found[0]} version {found[1]}, but this byteproxy reads {FORMAT} versions {VERSION} and "
        f"{MANIFEST_VERSION}: "
        "prepare the corpus again into another folder"
    )


class HashingFile(io.RawIOBase):
    """A file to be written front to back that knows its own size and hash; without a file beneath, only those."""

    def __init__(self, file: BinaryIO | None = None) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any) -> int:
        """Write all of some bytes, or of a buffer of bytes."""
        view = memoryview(data)
        self._hash.update(view)
        self._size += view.nbytes
        if self._file is not None:
            self._file.write(view)
        return view.nbytes

    def tell(self) -> int:
        """The size so far."""
        return self._size

    def info(self, name: str) -> FileInfo:
        """What was written so far."""
        return FileInfo(name, self._size, self._hash.hexdigest())


def write_whole(path: Path, write: Callable[[HashingFile], object]) -> FileInfo:
    """Write a file as `files.aside` does, and say what was written.

    write: gets the open file and writes all of it, front to back.
    """
    with aside(path) as file:
        hashing = HashingFile(file)
        write(hashing)
    return hashing.info(path.name)


def write_batch(file: HashingFile | BinaryIO, batch: pa.RecordBatch) -> None:
    """One record batch as a whole Arrow IPC file."""
    with pa.ipc.new_file(file, batch.schema, options=pa.ipc.IpcWriteOptions(compression=None)) as writer:
        writer.write_batch(batch)


def read_batch(path: Path) -> pa.RecordBatch:
    """The one record batch of an Arrow IPC file, memory-mapped; InputError as for `mapped_batch`."""
    return mapped_batch(path)[0]


def mapped_batch(path: Path, size: int | None = None) -> tuple[pa.RecordBatch, os.stat_result]:
    """The one record batch of an Arrow IPC file, memory-mapped, and the state of the file that is mapped.

    size: bytes that it has to have; None: any.
    Costs opening the file and a pass over its offsets and names, so that each value lies in the file whatever it says;
    texts, symbols, spans and anchors are not read.
    Raises InputError naming the file when it is missing, of another size or damaged.
    """
    try:
        with open_inside(path) as file:
            found = os.fstat(file.fileno())
            if size not in (None, found.st_size):
                raise OSError(errno.EIO, f"it has {found.st_size:,} bytes and should have {size:,}")
            # By its descriptor, so that it is the file that was looked at, and its name may be any bytes. Closing gives
            # the descriptor back, and the mapping lives on in the batch: a corpus may have more shards than a process
            # may have open files.
            with pa.memory_map(f"/dev/fd/{file.fileno()}") as source:
                batch = pa.ipc.open_file(source).get_batch(0)
        batch.validate(full=True)
    except (OSError, pa.ArrowException, IndexError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).partition("\n")[0]
        raise InputError(f"{path} is missing or damaged ({reason}): run the preparation again") from error
    return batch, found


def file_info(path: Path) -> FileInfo:
    """Size and hash of a regular file as it is now; reads all of it. OSError where it can't be read."""
    with open_inside(path) as file:
        return FileInfo(path.name, os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _list_of(value_type: pa.DataType) -> pa.DataType:
    return pa.large_list(pa.field("item", value_type, nullable=False))


def _content(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says; one of format 3 as it was written then, so that it keeps its fingerprint."""
    content = asdict(manifest)
    # A corpus outlives the names in code: what manifest.json calls a side is a split.
    content["sides"] = content.pop("splits")
    for shard in content["shards"]:
        shard["side"] = shard.pop("split")
    if not manifest.lost_records:
        del content["lost_records"], content["lost_bytes"]
    if not manifest.groups:
        del content["groups"], content["split"]["hold_out"]
    return content


def _manifest_from(content: dict[str, Any]) -> Manifest:
    rejected_file, split = content.pop("rejected_file"), content.pop("split")
    return Manifest(
        split=SplitOptions(**{**split, "hold_out": tuple(split.get("hold_out", ()))}),
        groups=tuple(SplitGroup(**group) for group in content.pop("groups", ())),
        rules=Rules(**content.pop("rules")),
        sources={name: SourceInfo(**source) for name, source in content.pop("sources").items()},
        splits={name: SplitInfo(**one) for name, one in content.pop("sides").items()},
        rejected_file=FileInfo(**rejected_file) if rejected_file else None,
        shards=tuple(_shard_from(**shard) for shard in content.pop("shards")),
        views=tuple(_view_from(**view) for view in content.pop("views")),
        **content,
    )


def _ensure_possible(manifest: Manifest, path: Path) -> None:
    """ValueError or InputError where a manifest says what no corpus has; whoever wrote it also wrote its fingerprint.

    What comes after takes names, counts and sizes as they are.
    """
    for file in manifest.files:
        inside(path.parent, file.name, path)
        if not isinstance(file.sha256, str):
            raise ValueError(f"{file.name} has no hash")
    counts: list[object] = [manifest.records, manifest.shard_bytes, *manifest.rejected.values()]
    counts += [file.size for file in manifest.files]
    counts += [count for one in manifest.sources.values() for count in (one.documents, one.bytes)]
    counts += [count for one in manifest.splits.values() for count in (one.documents, one.bytes, one.projects)]
    counts += [count for one in manifest.shards for count in (one.documents, one.text_bytes)]
    counts += [count for one in manifest.views for count in (one.symbols, one.units)]
    if not all(type(count) is int and 0 <= count < 1 << 62 for count in counts):
        raise ValueError("a count is no whole number, or below 0")
    weights = [one.weight for one in manifest.sources.values()]
    rates = [one.bytes_per_symbol for one in manifest.views]
    if not all(type(one) in (int, float) and 0 <= one < math.inf for one in (*weights, *rates)):
        raise ValueError("a weight or rate is no number, or below 0")
    if not all(isinstance(name, str) for name in (*manifest.sources, *manifest.rejected)):
        raise ValueError("a source has no name")
    if wrong := {shard.split for shard in manifest.shards} - set(SPLITS):
        raise ValueError(f"a shard is of split {wrong.pop()!r}")
    if not set(manifest.splits) <= set(SPLITS):
        raise ValueError("it has other splits than " + ", ".join(SPLITS))
    names = [view.name for view in manifest.views]
    if len(set(names)) < len(names) or not all(isinstance(one, str) and VIEW_NAME.fullmatch(one) for one in names):
        raise ValueError("two views have one name, or one has none")
    for view in manifest.views:
        if type(view.alphabet_size) is not int or not 1 <= view.alphabet_size <= 1 << 32:
            raise ValueError(f"view {view.name} has an alphabet of {view.alphabet_size!r}")
        if type(view.aligned) is not bool or not isinstance(view.fingerprint, str) or not isinstance(view.spec, str):
            raise ValueError(f"view {view.name} doesn't say what it is")
        if len(view.files) != len(manifest.shards):
            raise ValueError(f"view {view.name} has {len(view.files)} files for {len(manifest.shards)} shards")


def _shard_from(file: dict[str, Any], side: Split, **rest: Any) -> ShardInfo:
    return ShardInfo(FileInfo(**file), side, **rest)


def _view_from(files: list[dict[str, Any]], artefact: dict[str, Any] | None, **rest: Any) -> ViewInfo:
    return ViewInfo(
        files=tuple(FileInfo(**file) for file in files), artefact=FileInfo(**artefact) if artefact else None, **rest
    )
