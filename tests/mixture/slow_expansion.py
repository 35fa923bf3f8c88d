"""A slow, obvious way from a plan to positions and what they stand for, as an oracle for rows.

It encodes the texts anew, with the views themselves, and goes through them symbol by symbol.
"""

from typing import NamedTuple

from byteproxy.mixture.loader import Rows, Stream
from byteproxy.mixture.planner import Plan
from byteproxy.store.passage_index import KEY, PLACE_BITS
from byteproxy.store.store import Store
from byteproxy.views.base import View
from byteproxy.vocab import EOS, FIRST_BYTE, FIRST_SYMBOL, PAD, closing


class Position(NamedTuple):
    """What stands at a position, and the ids of the specials or bytes that it stands for."""

    symbol: int
    representation: int
    spelling: list[int]


Piece = list[Position]


class SlowPassages:
    """The passages of the train split: what they hold in each representation, position by position."""

    def __init__(self, store: Store, views: tuple[View, ...], max_bytes: int, composed: bool) -> None:
        names = tuple(view.name for view in views)
        self.texts: list[bytes] = []
        self.contents: list[list[Piece]] = []
        shards = {shard: _encoded(store, shard, views) for shard in store.shards("train")}
        for row in store.table("train", names, max_bytes).rows.tolist():
            whole, encoded = shards[row[KEY] >> PLACE_BITS]
            text = whole[row[1] : row[1] + row[2]]
            contents = [[Position(FIRST_BYTE + byte, 0, [FIRST_BYTE + byte]) for byte in text]]
            first = FIRST_SYMBOL
            for number, (symbols, spans) in enumerate(encoded, start=1):
                begin, count = row[1 + 2 * number], row[2 + 2 * number]
                content, at, waiting = [], 0, 0
                for symbol, span in zip(symbols[begin : begin + count], spans[begin : begin + count], strict=True):
                    waiting += 1
                    if composed and span == 0:
                        continue
                    covered = text[at : at + span]
                    content.append(Position(first + symbol, number, [FIRST_BYTE + byte for byte in covered]))
                    at, waiting = at + span, 0
                assert at == len(text)
                assert waiting == 0
                contents.append(content)
                first += views[number - 1].alphabet_size
            self.texts.append(text)
            self.contents.append(contents)

    def most(self, representation: int) -> int:
        """Positions of the longest."""
        return max(len(contents[representation]) for contents in self.contents)


def _encoded(store: Store, shard: int, views: tuple[View, ...]) -> tuple[bytes, list[tuple[list[int], list[int]]]]:
    """The text of a shard, and symbols and spans in each view."""
    texts = [store.text(shard, row) for row in range(store.manifest.shards[shard].documents)]
    encoded = []
    for view in views:
        own = [view.encode(text) for text in texts]
        encoded.append(
            (
                [symbol for one in own for symbol in one.symbols.tolist()],
                [span for one in own for span in one.span_bytes.tolist()],
            )
        )
    return b"".join(texts), encoded


def slow_pieces(passages: SlowPassages, plan: Plan, first: int, last: int, length: int) -> list[Piece]:
    """The pieces of some rows of a plan in order, each empty position being one."""
    found: list[Piece] = []
    for row in range(first, last):
        filled = 0
        for own, at, _, passage, representation, opening, begin, end, closed, ended in plan.pieces.tolist():
            if own != row:
                continue
            found += [[Position(PAD, 0, [PAD])] for _ in range(filled, at)]
            content = passages.contents[passage][representation]
            assert end <= len(content)
            marks = [closing(representation)] * closed + [EOS] * ended
            found.append(
                [
                    Position(opening, representation, [opening]),
                    *content[begin:end],
                    *(Position(mark, representation, [mark]) for mark in marks),
                ]
            )
            filled = at + len(found[-1])
        found += [[Position(PAD, 0, [PAD])] for _ in range(filled, length)]
    return found


def check_rows(rows: Rows, pieces: list[Piece]) -> None:
    """Rows are these pieces, spelled out or not."""
    positions = [position for piece in pieces for position in piece]
    assert rows.symbols.tolist() == [position.symbol for position in positions]
    assert rows.representations.tolist() == [position.representation for position in positions]
    if rows.expanded is None:
        return
    ids: list[int] = []
    ends, segment_ends = [], []
    for piece in pieces:
        for position in piece:
            ids += position.spelling
            ends.append(len(ids))
        segment_ends += [len(ids)] * len(piece)
    assert rows.expanded.ids.tolist() == ids
    assert rows.expanded.ends.tolist() == ends
    assert rows.expanded.segment_ends.tolist() == segment_ends


def shown_bytes(stream: Stream, pieces: list[Piece]) -> list[int]:
    """Bytes of text shown in each representation."""
    counts = [0] * stream.vocab.representations
    for piece in pieces:
        for position in piece:
            counts[position.representation] += sum(symbol >= FIRST_BYTE for symbol in position.spelling)
    return counts
