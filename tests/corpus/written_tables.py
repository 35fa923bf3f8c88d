"""Tables as several writers write them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from byteproxy.corpus.fields import Fields
from byteproxy.corpus.parquet import TableUnit

STRINGS = [pa.string(), pa.large_string(), pa.string_view()]
BINARIES = [pa.binary(), pa.large_binary(), pa.binary_view()]
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
DICTIONARIES = [pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_binary())]


def write_parquet(table: pa.Table, path: Path, rows: int) -> None:
    pq.write_table(table, path, row_group_size=rows)


def write_file(table: pa.Table, path: Path, rows: int) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4", emit_dictionary_deltas=True, unify_dictionaries=True)
    with pa.ipc.new_file(path, table.schema, options=options) as writer:
        writer.write_table(table, rows)


def write_stream(table: pa.Table, path: Path, rows: int) -> None:
    with pa.ipc.new_stream(path, table.schema) as writer:
        writer.write_table(table, rows)


WRITERS: list[tuple[str, Callable[[pa.Table, Path, int], None]]] = [
    ("parquet", write_parquet),
    ("arrow", write_file),
    ("arrow", write_stream),
]


def unit_of(kind: Any, path: Path, fields: Fields | None = None) -> TableUnit:
    return TableUnit("s", kind, str(path), "f", path.stat().st_size, path.stat().st_mtime_ns, fields or Fields())


def column(values: list[bytes | None], kind: pa.DataType) -> pa.Array:
    """The values as a column of a type, also where they aren't UTF-8."""
    if pa.types.is_dictionary(kind):
        unique = list(dict.fromkeys(value for value in values if value is not None))
        indices = pa.array([None if value is None else unique.index(value) for value in values], kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, column(unique, kind.value_type))
    if kind in STRINGS:
        return pa.array(values, BINARIES[STRINGS.index(kind)]).view(kind)
    return pa.array(values, kind)
