"""The pieces that automata cut a text into, for tests."""

import numba as nb
import numpy as np

from byteproxy.views.bpe import automaton, engine, pre_tokenizers, scan


def tables_of(*patterns: str) -> engine.Cutting:
    """The tables for cuts by patterns, one after the other; `Unknown` where one is not understood."""
    made = automaton.automata([pre_tokenizers._node("Regex", pattern) for pattern in patterns])
    return engine._cutting(pre_tokenizers.Cuts(pre_tokenizers.AUTOMATA, made, {}), np.ones(1 << 16, np.uint8))


def ends_of_pieces(text: bytes, tables: engine.Cutting) -> list[int]:
    """0 and where each piece ends."""
    return [0, *_ends(np.frombuffer(text, np.uint8), tables)]


@nb.njit
def _ends(document, tables):  # type: ignore[no-untyped-def]
    text, ends, at = scan.pointer(document), [np.int64(0)], np.int64(0)
    inner = np.zeros(tables.size, np.int64)
    cuts = engine.Cutting(
        tables.rule,
        tables.size,
        scan.pointer(tables.starts),
        scan.pointer(tables.classes),
        scan.pointer(tables.entries),
        scan.pointer(tables.joined),
    )
    while at < len(document):
        at = scan.piece_end(text, at, len(document), cuts, scan.pointer(inner))
        ends.append(at)
    return ends[1:]
