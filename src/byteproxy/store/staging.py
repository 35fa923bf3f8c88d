"""Stage the units of sources as files beside the corpus: each is read once, in any process, and not again after a stop.

A unit becomes one or more parts, `.staged/000012-000003.arrow`. A part is one record batch with all that the later
phases need of its records, rejections included. A part appears whole or not at all, but isn't synced: a part of an
earlier run is used only if every text has its digest and the other columns have theirs. Cost: the corpus once more on
disk, 512 bytes per document for signatures, and twice a part in memory.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from byteproxy.corpus import near_duplicates
from byteproxy.corpus.document import Document
from byteproxy.corpus.records import BAD_NAME, UNREADABLE, Record, Rules, Unit
from byteproxy.errors import InputError
from byteproxy.files import aside
from byteproxy.store.format import read_batch, write_batch

PART_BYTES = 64 << 20
PART_RECORDS = 1 << 16
SIGNATURE_BYTES = 512
MAPPED_PARTS = 4096  # a process may have some 65,000 mappings
VERSION = 3

_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("id", "source", "project", "language")),
        *(pa.field(name, pa.string(), nullable=False) for name in ("file", "reason", "detail")),
        *(pa.field(name, pa.int64(), nullable=False) for name in ("line", "place", "records", "lost_bytes")),
        pa.field("digest", pa.binary(32), nullable=False),
        pa.field("text", pa.large_binary(), nullable=False),
    ]
)
_SIGNATURE = pa.field("signature", pa.binary(SIGNATURE_BYTES), nullable=False)


Tell: TypeAlias = Callable[[int, int], None]
"""Called with the bytes on disk and the records of a unit that are behind."""


class Staged(NamedTuple):
    """The result of staging a unit: numbers of parts, records and rejections.

    records, reasons: with those that were lost together, as far as that can be told.
    lost_records, lost_bytes: of those, how many could not be read where a file is damaged, and their bytes on disk.
    """

    parts: int
    records: int
    reasons: Counter[str]
    lost_records: int = 0
    lost_bytes: int = 0

    @property
    def documents(self) -> int:
        """Records that became documents."""
        return self.records - self.reasons.total()


class Parts:
    """The staged parts of several units, in their global order; each is mapped when it is asked for."""

    def __init__(self, folder: Path, units: Sequence[Staged]) -> None:
        self._paths = [
            _part_path(folder, number, part) for number, unit in enumerate(units) for part in range(unit.parts)
        ]
        self._next = partial(_part_path, folder, len(units))
        self._added = 0
        self._batch = lru_cache(MAPPED_PARTS)(read_batch)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, part: int) -> pa.RecordBatch:
        return self._batch(self._paths[part])

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return (self[part] for part in range(len(self)))

    def add(self, records: list[Record]) -> None:
        """Stage further records as a part after all others; it is no unit's, so no later run takes it for one."""
        signed = _SIGNATURE.name in self[0].schema.names
        batch, _ = _batch(records, "", signed)
        path = self._next(self._added)
        with aside(path, synced=False) as file:
            write_batch(file, batch)
        self._paths.append(path)
        self._added += 1


@dataclass(frozen=True)
class Staging:
    """Stages units.

    folder: where the parts go. signed: whether near-duplicates will be looked for.
    """

    folder: Path
    rules: Rules
    signed: bool

    def stage(self, number: int, unit: Unit, tell: Tell) -> Staged:
        """Read a unit into parts, from where those that are there end.

        number: of the unit among all. tell: called now and then, with how far the unit is.
        """
        header = {"version": VERSION, "unit": unit.key, "rules": asdict(self.rules), "signed": self._signed}
        found = list(_found_parts(self.folder, number, header)) if unit.key else []
        if not (found and found[-1]["last"]):
            after = found[-1]["place"] if found else 0
            behind = 0

            def passed(size: int) -> None:
                nonlocal behind
                behind = size

            def counted(records: Iterable[Record], before: int) -> Iterator[Record]:
                for count, record in enumerate(records, before + 1):
                    yield record
                    tell(behind, count)

            before = sum(about["records"] for about in found)
            for records, last in _in_parts(counted(unit.read(self.rules, after, passed), before)):
                after = records[-1].place if records else after
                header |= {"part": len(found), "last": last, "place": after, **_counted(records)}
                found.append(self._write(_part_path(self.folder, number, len(found)), records, unit.source, header))
        reasons: Counter[str] = Counter()
        for about in found:
            reasons.update(about["reasons"])
        records, lost_records, lost_bytes = (
            sum(about[name] for about in found) for name in ("records", "lost_records", "lost_bytes")
        )
        staged = Staged(len(found), records, reasons, lost_records, lost_bytes)
        tell(unit.size, staged.records)
        return staged

    @property
    def _signed(self) -> list[int]:
        """Which signatures there are; none where they aren't needed."""
        return [near_duplicates.ALGORITHM_VERSION, near_duplicates.SEED] if self.signed else []

    def _write(self, path: Path, records: list[Record], source: str, header: dict[str, Any]) -> dict[str, Any]:
        """Write a part, and return what it says about itself."""
        batch, reasons = _batch(records, source, self.signed)
        about = {**header, "reasons": reasons, "columns": _columns_digest(batch)}
        with aside(path, synced=False) as file:
            write_batch(file, batch.replace_schema_metadata({"byteproxy": json.dumps(about)}))
        return about


def _counted(records: list[Record]) -> dict[str, int]:
    """How many records these are, and how many of them and which bytes on disk were lost."""
    lost = [record for record in records if record.lost_bytes]
    return {
        "records": sum(record.records for record in records),
        "lost_records": sum(record.records for record in lost),
        "lost_bytes": sum(record.lost_bytes for record in lost),
    }


def are_documents(batch: pa.RecordBatch) -> np.ndarray:
    """Which records of a part are documents: bool [records]."""
    return np.diff(text_offsets(batch.column("reason"))) == 0


def text_offsets(column: pa.Array) -> np.ndarray:
    """Where each value of a column of strings or bytes begins: int32 or int64 [values + 1]."""
    if not len(column):
        return np.zeros(1, dtype=np.int64)
    dtype = np.int64 if column.type in (pa.large_binary(), pa.large_string()) else np.int32
    return np.frombuffer(column.buffers()[1], dtype=dtype)[: len(column) + 1]


def fixed_bytes(column: pa.Array) -> np.ndarray:
    """The values of a column of fixed width: uint8 [values, width]; a view."""
    width = column.type.byte_width
    if not len(column):
        return np.empty((0, width), dtype=np.uint8)
    return np.frombuffer(column.buffers()[1], dtype=np.uint8)[: len(column) * width].reshape(-1, width)


def _part_path(folder: Path, unit: int, part: int) -> Path:
    return folder / f"{unit:06d}-{part:06d}.arrow"


def _in_parts(records: Iterable[Record]) -> Iterator[tuple[list[Record], bool]]:
    """Records in groups of a bounded size, and whether a group is the last; the last may be empty.

    Those of one place stay together, as reading can't go on between them.
    """
    part: list[Record] = []
    size = 0
    for record in records:
        added = 0 if record.document is None else len(record.document.text)
        full = size + added > PART_BYTES or len(part) >= PART_RECORDS
        if part and full and record.place != part[-1].place:
            yield part, False
            part, size = [], 0
        part.append(record)
        size += added
    yield part, True


def _found_parts(folder: Path, unit: int, header: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the parts of a unit say about themselves, from the first as far as they are whole and what is wanted."""
    part = 0
    while (path := _part_path(folder, unit, part)).exists():
        try:
            batch = read_batch(path)
            about = json.loads(batch.schema.metadata[b"byteproxy"])
            if {**about, **header, "part": part} != about or not _is_intact(batch, about["columns"]):
                return
        except (InputError, ValueError, TypeError, KeyError):
            return
        yield about
        if about["last"]:
            return
        part += 1


def _is_intact(batch: pa.RecordBatch, columns: str) -> bool:
    if _columns_digest(batch) != columns:
        return False
    digests, offsets = fixed_bytes(batch.column("digest")), text_offsets(batch.column("text")).tolist()
    text = memoryview(batch.column("text").buffers()[2] or b"")
    found = b"".join(sha256(text[start:end]).digest() for start, end in pairwise(offsets))
    return digests.tobytes() == found


def _columns_digest(batch: pa.RecordBatch) -> str:
    """A hash of all columns but the text."""
    others = batch.drop_columns(["text"]).replace_schema_metadata(None)
    return sha256(others.serialize()).hexdigest()


def _batch(records: list[Record], source: str, signed: bool) -> tuple[pa.RecordBatch, Counter[str]]:
    """Records as a part, and how many were rejected for what; one whose names can't be written becomes a rejection."""
    try:
        return _batch_of(records, source, signed)
    except UnicodeEncodeError:
        return _batch_of([_with_sound_names(record) for record in records], source, signed)


def _batch_of(records: list[Record], source: str, signed: bool) -> tuple[pa.RecordBatch, Counter[str]]:
    none = Document("", b"", source, "")
    documents = [none if record.document is None else record.document for record in records]
    texts = [document.text for document in documents]
    reasons = ["" if record.document is not None else record.reason or UNREADABLE for record in records]
    columns: list[Any] = [
        *([getattr(document, name) for document in documents] for name in ("id", "source", "project", "language")),
        *([record.file for record in records], reasons, [record.detail for record in records]),
        *([getattr(record, name) for record in records] for name in ("line", "place", "records", "lost_bytes")),
        [sha256(text).digest() for text in texts],
        texts,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    schema = _SCHEMA
    if signed:
        arrays.append(_signatures(texts))
        schema = schema.append(_SIGNATURE)
    counts: Counter[str] = Counter()
    for record, reason in zip(records, reasons, strict=True):
        if reason:
            counts[reason] += record.records
    return pa.record_batch(arrays, schema=schema), counts


def _signatures(texts: list[bytes]) -> pa.Array:
    """The signature of each text, as bytes; that of a rejection, which nobody looks at, is that of no text."""
    signatures = np.ascontiguousarray(near_duplicates.signatures(texts))
    return pa.FixedSizeBinaryArray.from_buffers(_SIGNATURE.type, len(texts), [None, pa.py_buffer(signatures)])


def _with_sound_names(record: Record) -> Record:
    document = record.document
    names = (document.id, document.source, document.project, document.language) if document is not None else ()
    file, detail, *shown = (
        name.encode("utf-8", "backslashreplace").decode() for name in (record.file, record.detail, *names)
    )
    if (file, detail, *shown) == (record.file, record.detail, *names):
        return record
    reason = record.reason or BAD_NAME
    said = detail or ", ".join(filter(None, shown))
    return Record(record.place, file, record.line, None, reason, said, record.records, record.lost_bytes)
