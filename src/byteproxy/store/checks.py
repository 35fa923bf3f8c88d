"""Check what the files of a corpus hold, before compiled code follows the numbers in them.

A hash proves that a file is what its manifest says, not that either is what a preparation would have written. Compiled
code follows offsets, spans and anchors without checks, and would read or write outside of a buffer. So each file is
checked here when it is first mapped, and everything noted as verified (`integrity.py`) has passed too. The checks are
vectorised: they read every symbol once and every span twice. Texts aren't read, because any bytes are a text.

Arrow itself checks the offsets of lists and strings, in `format.mapped_batch`.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from byteproxy.store.format import SHARD_SCHEMA
from byteproxy.store.manifest import ShardInfo, ViewInfo

RULES = 1
"""Counts changes to what is looked at here, so that what passed before passes again."""

_SYMBOLS = (pa.uint16(), pa.uint32())
_SPANS = (pa.uint8(), pa.uint16(), pa.uint32())
_SLICE = 1 << 22


def check_shard(batch: pa.RecordBatch, info: ShardInfo, sources: tuple[str, ...]) -> None:
    """ValueError where a shard is not what the manifest says of it, or a document's source is none of the corpus's."""
    if not batch.schema.equals(SHARD_SCHEMA):
        raise ValueError("its columns are not those of a shard")
    if batch.num_rows != info.documents:
        raise ValueError(f"it has {batch.num_rows:,} documents and should have {info.documents:,}")
    if any(column.null_count for column in batch.columns):
        raise ValueError("a value is missing")
    offsets = offsets_of(batch.column("text"))
    if offsets[0] != 0 or offsets[-1] != info.text_bytes:
        raise ValueError(f"it has {int(offsets[-1] - offsets[0]):,} bytes of text and should have {info.text_bytes:,}")
    if pc.index_in(batch.column("source"), pa.array(sources, pa.string())).null_count:
        raise ValueError("a document is of a source that the corpus has not")


def check_view(batch: pa.RecordBatch, info: ViewInfo, text_offsets: np.ndarray) -> None:
    """ValueError where a view file doesn't fit its shard, or holds what its view can't have written.

    text_offsets: int64 [documents + 1], of the shard's texts.
    """
    check_columns(batch, info, len(text_offsets) - 1)
    symbols = values_of(batch.column("symbols"))
    for first in range(0, len(symbols), _SLICE):
        most = int(symbols[first : first + _SLICE].max())
        if most >= info.alphabet_size:
            raise ValueError(f"it has a symbol {most:,}, and its alphabet {info.alphabet_size:,}")
    if info.aligned:
        check_anchors(batch, text_offsets)
        check_spans(batch, text_offsets)


def check_columns(batch: pa.RecordBatch, info: ViewInfo, documents: int) -> None:
    """ValueError where a view file has other columns than such a view's, or lists for other documents."""
    names = ["symbols", *(["spans", "anchor_bytes", "anchor_symbols"] if info.aligned else [])]
    if batch.schema.names != names:
        raise ValueError(f"its columns are {', '.join(batch.schema.names)} and should be {', '.join(names)}")
    if batch.num_rows != documents:
        raise ValueError(f"it has {batch.num_rows:,} documents, and its shard {documents:,}")
    for name, kinds in zip(names, (_SYMBOLS, _SPANS, (pa.int64(),), (pa.int64(),)), strict=False):
        column = batch.column(name)
        if not pa.types.is_large_list(column.type) or column.type.value_type not in kinds:
            raise ValueError(f"its {name} are of type {column.type}")
        if column.null_count or column.values.null_count:
            raise ValueError(f"one of its {name} is missing")
        offsets = offsets_of(column)
        if offsets[0] != 0 or offsets[-1] != len(column.values):
            raise ValueError(f"its {name} are not those of its documents")
    for one, other in ((0, 1), (2, 3)) if info.aligned else ():
        if not np.array_equal(offsets_of(batch.column(one)), offsets_of(batch.column(other))):
            raise ValueError(f"it has not as many {names[one]} as {names[other]}")


def check_anchors(batch: pa.RecordBatch, text_offsets: np.ndarray) -> None:
    """ValueError unless each document's anchors go from (0, 0) to its end in text and symbols, ascending in both.

    batch: whose columns are checked. Costs a few operations an anchor.
    """
    starts = offsets_of(batch.column("anchor_bytes"))
    counts = np.diff(starts)
    sizes, symbols = np.diff(text_offsets), np.diff(offsets_of(batch.column("symbols")))
    wanted = np.where((sizes > 0) | (symbols > 0), 2, 1)
    if (counts < wanted).any() or ((counts > wanted) & (sizes == 0)).any():
        raise ValueError("a document has too few anchors, or too many")
    firsts, lasts = starts[:-1], starts[1:] - 1
    for name, ends in (("anchor_bytes", sizes), ("anchor_symbols", symbols)):
        anchors = values_of(batch.column(name))
        if (anchors[firsts] != 0).any() or (anchors[lasts] != ends).any():
            raise ValueError(f"its {name} don't go from a document's begin to its end")
        rising = anchors[1:] > anchors[:-1]  # not a difference, which may overflow
        rising[firsts[1:] - 1] = True  # from one document to the next
        rising[firsts[(sizes == 0) & (counts > 1)]] = True  # symbols of no text
        if not rising.all():
            raise ValueError(f"its {name} don't ascend")


def check_spans(batch: pa.RecordBatch, text_offsets: np.ndarray) -> None:
    """ValueError unless spans sum to the bytes between anchors, and so to each document, and none is left over behind.

    batch: whose columns and anchors are checked. Costs two reads of each span.
    """
    spans = values_of(batch.column("spans"))
    starts = offsets_of(batch.column("anchor_bytes"))
    symbol_starts = offsets_of(batch.column("symbols"))
    documents = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    at_byte = text_offsets[documents] + values_of(batch.column("anchor_bytes"))
    at_symbol = symbol_starts[documents] + values_of(batch.column("anchor_symbols"))
    inner = np.flatnonzero(documents[1:] == documents[:-1])  # stretches from one anchor to the next
    if not len(inner):
        return
    if not np.array_equal(_summed(spans, at_symbol), at_byte):
        raise ValueError("its spans don't cover the text")
    if (spans[at_symbol[inner + 1] - 1] == 0)[at_byte[inner + 1] > at_byte[inner]].any():
        raise ValueError("an anchor stands within a unit")


def _summed(spans: np.ndarray, places: np.ndarray) -> np.ndarray:
    """How many bytes the spans before each place cover, int64 [places]; places: int64, ascending."""
    found = np.empty(len(places), np.int64)
    before = done = 0
    for first in range(0, len(spans) + 1, _SLICE):
        sums = np.zeros(min(_SLICE, len(spans) - first) + 1, np.int64)
        np.cumsum(spans[first : first + _SLICE], dtype=np.int64, out=sums[1:])
        until = int(np.searchsorted(places, first + _SLICE))
        found[done:until] = before + sums[places[done:until] - first]
        before, done = before + int(sums[-1]), until
    return found


def offsets_of(column: pa.Array) -> np.ndarray:
    """Where each list, or text, of a column with 64-bit offsets begins: int64 [rows + 1]."""
    buffer = column.buffers()[1]
    if buffer is None or not len(column):
        return np.zeros(1, np.int64)
    return np.frombuffer(buffer, np.int64)[column.offset : column.offset + len(column) + 1]


def values_of(column: pa.Array) -> np.ndarray:
    """The values of all lists of a column, end to end."""
    values: np.ndarray = column.values.to_numpy(zero_copy_only=True)
    return values
