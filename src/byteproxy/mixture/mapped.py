"""Addresses of a run's shards in memory, and how compiled code reads them.

A shard is mapped when it is first needed. Compiled code follows addresses without checks, so each address is checked
against its shard before it is handed out; a few vectorised operations check all pieces of a call. Once a second, each
shard in use is checked to have the size that was mapped.
"""

import time
from typing import Any, NamedTuple

import numpy as np
from numba.core import types
from numba.extending import intrinsic

from byteproxy.errors import InputError
from byteproxy.jit import nb
from byteproxy.mixture.row_pieces import FROM, PASSAGE, REPRESENTATION, TO
from byteproxy.store.passage_index import BYTE_START, BYTES, KEY, PLACE_BITS, start_column
from byteproxy.store.store import Store
from byteproxy.vocab import Vocab

LOOK_SECONDS = 1.0
"""Between two looks at whether a shard was cut: a look costs some microseconds, on a network some hundred."""


class Content(NamedTuple):
    """Addresses of text and symbols behind pieces, of their passages or of the pieces themselves: int64 [pieces] each.

    text, text_bytes: address of the first byte, and how many bytes there are.
    symbols, symbol_bytes: address of the first symbol, and bytes of a symbol.
    spans, span_bytes: address of that symbol's span, and bytes of a span; both 0 of a raw piece.
    covers: how many symbols (or bytes, if raw) there are: of a passage, to the end of the shard; of a piece, more than
        positions where these are units.
    """

    text: np.ndarray
    text_bytes: np.ndarray
    symbols: np.ndarray
    symbol_bytes: np.ndarray
    spans: np.ndarray
    span_bytes: np.ndarray
    covers: np.ndarray


class Mapped:
    """The texts and symbols of each shard, and with `spans` the symbols' spans too."""

    def __init__(self, store: Store, views: tuple[str, ...], vocab: Vocab, spans: bool) -> None:
        self.store, self.views, self.with_spans = store, views, spans
        shards = len(store.manifest.shards)
        self.mapped = np.zeros(shards, bool)
        self.looked = np.full(shards, -np.inf)
        self.addresses = np.zeros((1 + len(views), shards), np.int64)
        self.sizes = np.zeros((1 + len(views), shards), np.int64)
        self.item_bytes = np.ones(1 + len(views), np.int64)
        self.span_addresses = np.zeros((1 + len(views), shards), np.int64)
        self.span_bytes = np.zeros((1 + len(views), shards), np.int64)
        self.first_ids = np.array([vocab.first_id(number) for number in range(vocab.representations)], np.int64)
        self._kept: list[np.ndarray] = []

    def checked(self, pieces: np.ndarray, table: np.ndarray) -> np.ndarray:
        """The address of each piece's content, int64 [pieces]; InputError where it lies outside of its shard.

        Compiled code trusts these, so a table that doesn't belong to its shards must not get any further.
        """
        passage, representation = pieces[:, PASSAGE], pieces[:, REPRESENTATION]
        shard = table[passage, KEY] >> PLACE_BITS
        if len(shard) and not 0 <= int(shard.min()) <= int(shard.max()) < len(self.mapped):
            raise self.damaged()
        for number in np.unique(shard[~self.mapped[shard]]).tolist():
            self._map(number)
        now = time.monotonic()
        for number in np.unique(shard[now - self.looked[shard] > LOOK_SECONDS]).tolist():
            self.store.ensure_whole(number, self.views)
            self.looked[number] = now
        start = table[passage, start_column(0) + 2 * representation]
        room = self.sizes[representation, shard]
        if len(start) and ((start < 0) | (start > room) | (pieces[:, TO] > room - start)).any():
            raise self.damaged()
        return self.addresses[representation, shard] + (start + pieces[:, FROM]) * self.item_bytes[representation]

    def content(self, pieces: np.ndarray, table: np.ndarray) -> Content:
        """Addresses of the passages behind checked pieces. Raises InputError if a text lies outside of its shard."""
        passage, representation = pieces[:, PASSAGE], pieces[:, REPRESENTATION]
        shard = table[passage, KEY] >> PLACE_BITS
        text_start, text_bytes = table[passage, BYTE_START], table[passage, BYTES]
        room = self.sizes[0, shard]
        if ((text_start < 0) | (text_start > room) | (text_bytes < 0) | (text_bytes > room - text_start)).any():
            raise self.damaged()
        start = table[passage, start_column(0) + 2 * representation]
        span_bytes = self.span_bytes[representation, shard]
        return Content(
            text=self.addresses[0, shard] + text_start,
            text_bytes=text_bytes,
            symbols=self.addresses[representation, shard] + start * self.item_bytes[representation],
            symbol_bytes=self.item_bytes[representation],
            spans=self.span_addresses[representation, shard] + start * span_bytes,
            span_bytes=span_bytes,
            covers=self.sizes[representation, shard] - start,
        )

    def damaged(self) -> InputError:
        """The error for a table of passages that doesn't fit the shards."""
        return InputError(f"the table of passages in {self.store.path} is damaged: delete its folder .passages")

    def _map(self, shard: int) -> None:
        buffers = [self.store.text_buffer(shard), *(self.store.symbol_buffer(name, shard) for name in self.views)]
        for representation, buffer in enumerate(buffers):
            self.addresses[representation, shard] = buffer.ctypes.data
            self.sizes[representation, shard] = len(buffer)
            self.item_bytes[representation] = buffer.itemsize
        self._kept += buffers
        for representation, name in enumerate(self.views if self.with_spans else (), start=1):
            spans = self.store.span_buffer(name, shard)
            if len(spans) != self.sizes[representation, shard]:
                raise InputError(f"view {name!r} of {self.store.path} has not as many spans as symbols: verify it")
            self.span_addresses[representation, shard] = spans.ctypes.data
            self.span_bytes[representation, shard] = spans.itemsize
            self._kept.append(spans)
        self.mapped[shard] = True


def _pointer_to(kind: Any):  # type: ignore[no-untyped-def]
    @intrinsic
    def pointer(typing_context, address):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], context.get_value_type(types.CPointer(kind)))

        return types.CPointer(kind)(types.int64), generate

    return pointer


bytes_at, uint16_at, uint32_at = map(_pointer_to, (types.uint8, types.uint16, types.uint32))


@nb.njit(cache=True)
def item_at(address, item_bytes, place):  # type: ignore[no-untyped-def]
    """Number `place` of the unsigned numbers of 1, 2 or 4 bytes at an address, as int64."""
    if item_bytes == 1:
        return np.int64(bytes_at(address)[place])
    if item_bytes == 2:
        return np.int64(uint16_at(address)[place])
    return np.int64(uint32_at(address)[place])
