"""Rows of Parquet and Arrow IPC files (files and streams, Feather version 2), each with a text. A file is one unit.

A Parquet file is read some hundred rows at a time, wanted columns only; an Arrow file is memory-mapped. Text may have
any string or binary type, be dictionary- or run-end-encoded, and be a column or a field of a struct. The rules decide
about bytes that aren't UTF-8, except in a Parquet dictionary of strings, which pyarrow reports as damaged.

Damage loses one piece, and one rejection says for how many rows it stands: the rest of the row group of a Parquet file,
the record batch of an Arrow file, everything that follows in an Arrow stream. If the number of rows can't be read, it
is estimated from those before. Arrow files carry no checksums, and most Parquet files don't either, so damage inside
uncompressed text goes unnoticed.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow._parquet import ParquetReader

from byteproxy.corpus.fields import Fields, record_of, usable
from byteproxy.corpus.parquet_columns import columns_of, found_at, leaves_of, names_of, there
from byteproxy.corpus.records import UNREADABLE, WRONG_TYPE, Passed, Record, Rules, key_of, lost_records, unheard
from byteproxy.corpus.source_files import printable
from byteproxy.errors import InputError

BATCH_ROWS = 256
FILE_MAGIC = b"ARROW1"
BROKEN = (OSError, pa.ArrowException)

Kind: TypeAlias = Literal["parquet", "arrow"]


class _Lost(NamedTuple):
    """Rows that can't be read.

    num_rows: how many numbers they take. detail: what is wrong. share: theirs of the file.
    before: the share of the file that the rows before them take, where nobody can tell how many rows are lost.
    """

    num_rows: int
    detail: str
    share: float = 0.0
    before: float | None = None


class _Column(NamedTuple):
    """Values, and which of the structs around them are there; None where there are no structs."""

    values: pa.Array
    valid: pa.BooleanArray | None

    def slice(self, start: int, rows: int) -> "_Column":
        return _Column(self.values.slice(start, rows), self.valid and self.valid.slice(start, rows))


@dataclass(frozen=True)
class TableUnit:
    """A table, as it was when it was listed.

    path: absolute. file: as records name it.
    """

    source: str
    kind: Kind
    path: str
    file: str
    size: int
    mtime_ns: int
    fields: Fields

    @property
    def what(self) -> str:
        return self.file

    @property
    def key(self) -> str:
        return key_of(self.kind, self.source, self.file, self.size, self.mtime_ns, self.fields)

    def check(self) -> list[str]:
        """The names of its columns and of the fields of structs in it.

        Raises InputError if the file can't be read, or has no column to take text from, or none of a type that fits
        under names that somebody gave on purpose and that are there.
        """
        try:
            schema = _schema(self.path, self.kind)
        except BROKEN as error:
            raise InputError(
                f"can't read {printable(self.path)} as {self.kind}: {error}; fetch it again, or leave it out by "
                "exclude="
            ) from None
        columns_of(schema, self.fields, self.path)
        return there(schema)

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        place = after
        try:
            columns = columns_of(_schema(self.path, self.kind), self.fields, self.path)
            parts = _parquet_parts if self.kind == "parquet" else _arrow_parts
            for first, part in parts(self.path, columns, after, lambda share: passed(int(share * self.size))):
                for record in self._records(first, part, columns, rules, after):
                    place = record.place
                    yield record
        except (*BROKEN, InputError) as error:  # not the file that was listed
            size = 0 if place else self.size
            yield Record(place + 1, self.file, 0, None, UNREADABLE, str(error), lost_records(size, 0, 0), size)

    def _records(
        self, first: int, part: "pa.RecordBatch | _Lost", columns: Fields, rules: Rules, after: int
    ) -> Iterator[Record]:
        """The records after `after` of a part that begins with the row `first`."""
        arrays = part if isinstance(part, _Lost) else _arrays(part, names_of(columns), first)
        if isinstance(arrays, _Lost):
            lost = arrays
            if first > after:
                size = int(lost.share * self.size)
                before = lost.before
                rows = lost.num_rows if before is None else lost_records(size, first - 1, int(before * self.size))
                yield Record(first, self.file, first, None, UNREADABLE, lost.detail, rows, size)
            return
        for start in range(max(0, after - first + 1), part.num_rows, BATCH_ROWS):
            lists = {name: _listed(array.slice(start, BATCH_ROWS)) for name, array in arrays.items()}
            texts = lists[columns.text[0]]
            ids, projects, languages = (
                [_name(lists, names, index) for index in range(len(texts))]
                for names in (columns.id, columns.project, columns.language)
            )
            for index, text in enumerate(texts):
                row = first + start + index
                if text is None:
                    yield Record(row, self.file, row, None, WRONG_TYPE, f"{columns.text[0]} is null, not string")
                else:
                    yield record_of(
                        text, self.source, self.file, row, rules, ids[index], projects[index], languages[index]
                    )


def _schema(path: str, kind: Kind) -> pa.Schema:
    if kind == "parquet":
        with _parquet(path) as file:
            return file.schema_arrow
    with pa.memory_map(os.fsencode(path)) as mapped, _opened(mapped) as reader:
        return reader.schema


def _native(path: str) -> pa.OSFile:
    """The file for pyarrow, which can't take a path as text where that isn't UTF-8."""
    return pa.OSFile(os.fsencode(path))


@contextmanager
def _parquet(path: str) -> Iterator[ParquetReader]:
    """A reader of the Parquet file. `ParquetFile` can't be had where any name of a column isn't UTF-8."""
    file = ParquetReader()
    # Without pre_buffer, pages are read as they are needed: a row group of a gigabyte isn't in memory.
    file.open(
        _native(path),
        buffer_size=1 << 20,
        pre_buffer=False,
        page_checksum_verification=True,
        arrow_extensions_enabled=True,
    )
    try:
        yield file
    finally:
        file.close()


def _parquet_parts(
    path: str, columns: Fields, after: int, passed: Callable[[float], None]
) -> Iterator[tuple[int, "pa.RecordBatch | _Lost"]]:
    """Batches of rows, each with the number of its first; row groups wholly before `after` are passed over.

    passed: told the share of the file that is behind.
    """
    with _parquet(path) as file:
        leaves = leaves_of(file.schema_arrow, names_of(columns))
        following = 1
        for group in range(file.num_row_groups):
            row, following = following, following + file.metadata.row_group(group).num_rows
            if following - 1 <= after:
                continue
            try:
                for batch in file.iter_batches(BATCH_ROWS, [group], leaves, use_threads=False):
                    yield row, batch
                    row += batch.num_rows
                    passed((row - 1) / file.metadata.num_rows)
            except BROKEN as error:
                share = (following - row) / max(file.metadata.num_rows, 1)
                yield row, _lost(row, following - row, error, share)


def _arrow_parts(
    path: str, columns: Fields, after: int, passed: Callable[[float], None]
) -> Iterator[tuple[int, "pa.RecordBatch | _Lost"]]:
    """Record batches, each with the number of its first row; those wholly before `after` are passed over.

    passed: told the share of the file that is behind.
    """
    with pa.memory_map(os.fsencode(path)) as mapped:
        with _opened(mapped) as reader:
            fields = sorted({found_at(reader.schema, name)[0] for name in names_of(columns)})
        mapped.seek(0)
        with _opened(mapped, pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)) as reader:
            row = 1
            behind = mapped.tell() / max(mapped.size(), 1)
            batches = getattr(reader, "num_record_batches", 0)  # a stream doesn't know
            for number, batch in enumerate(_batches(reader), 1):
                before = (number - 1) / batches if batches else behind
                share = 1 / batches if batches else 1 - before
                part = batch if isinstance(batch, pa.RecordBatch) else _lost(row, 1, batch, share, before)
                if row + part.num_rows - 1 > after:
                    yield row, part
                row += part.num_rows
                behind = mapped.tell() / max(mapped.size(), 1)
                passed(number / batches if batches else behind)


def _opened(mapped: pa.MemoryMappedFile, options: pa.ipc.IpcReadOptions | None = None) -> Any:
    """A reader of the Arrow file or stream."""
    is_file = mapped.read(len(FILE_MAGIC)) == FILE_MAGIC
    mapped.seek(0)
    return (pa.ipc.open_file if is_file else pa.ipc.open_stream)(mapped, options=options)


def _batches(reader: Any) -> Iterator["pa.RecordBatch | Exception"]:
    """The record batches; in place of one that can't be read, why. A stream ends there: where it goes on is unknown."""
    if isinstance(reader, pa.ipc.RecordBatchFileReader):
        for index in range(reader.num_record_batches):
            try:
                batch = reader.get_batch(index)
            except BROKEN as error:
                batch = error
            yield batch
        return
    while True:
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        except BROKEN as error:
            yield error
            return
        yield batch


def _lost(row: int, rows: int, error: Exception, share: float = 0.0, before: float | None = None) -> _Lost:
    what = f"rows {row} to {row + rows - 1} are lost" if before is None else "rows are lost, nobody can tell how many"
    return _Lost(rows, f"{what}: {error}", share, before)


def _arrays(batch: pa.RecordBatch, names: list[str], first: int) -> "dict[str, _Column] | _Lost":
    """The columns, text as bytes, checked: a damaged offset must not be followed. `first` is the batch's first row."""
    try:
        return {name: _column(batch, found_at(batch.schema, name)) for name in names}
    except BROKEN as error:
        return _lost(first, batch.num_rows, error)


def _column(batch: pa.RecordBatch, path: tuple[int, ...]) -> _Column:
    """The column at a path of places: of a column, of a field of its structs, and so on. Raises as `_checked` does."""
    first, *inner = path
    values, valid = batch.to_struct_array().field(first), None  # batch.column decodes the name, which need not be UTF-8
    for place in inner:
        values.validate()
        valid = values.is_valid() if valid is None else pc.and_(valid, values.is_valid())
        values = values.field(place)
    return _Column(_checked(values), valid)


def _checked(column: pa.Array) -> pa.Array:
    """The column with binary values in place of strings. Raises ArrowException where it is damaged."""
    if pa.types.is_dictionary(column.type):
        dictionary = _checked(column.dictionary)
        if not pa.types.is_integer(dictionary.type):
            # 64-bit offsets: what is taken from a dictionary can be much larger than it is.
            dictionary = dictionary.cast(pa.large_binary())
        return pa.DictionaryArray.from_arrays(column.indices, dictionary)
    if pa.types.is_run_end_encoded(column.type):
        column = pa.RunEndEncodedArray.from_arrays(column.run_ends, _checked(column.values))
    for strings, binary in (
        (pa.string(), pa.binary()),
        (pa.large_string(), pa.large_binary()),
        (pa.string_view(), pa.binary_view()),
    ):
        column = column.view(binary) if column.type == strings else column
    column.validate(full=True)
    return column


def _listed(column: _Column) -> list[Any]:
    """The values: bytes, whole numbers or None."""
    values, valid = column
    if pa.types.is_dictionary(values.type):
        values = values.dictionary.take(values.indices)
    elif pa.types.is_run_end_encoded(values.type):
        values = pc.run_end_decode(values)
    listed = values.to_pylist()
    return (
        listed
        if valid is None
        else [value if there else None for value, there in zip(listed, valid.to_pylist(), strict=True)]
    )


def _name(lists: dict[str, list[Any]], names: tuple[str, ...], index: int) -> str:
    """The first usable value of a row; what isn't UTF-8 in it is written as \\xff."""
    values = (lists[name][index] for name in names)
    return usable(value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value for value in values)
