"""Histories of symbols that may stand behind raw bytes: the one that the view wrote, and what leaves it by one symbol.

A *context* is a history of whole symbols, and ends somewhere in the raw text. Those on the view's own way are there
where the passage is read as symbols. From each of them a *branch* leaves that way by one symbol: every one that the
text allows and the view did not write, shorter or longer. Its last symbol is read beside the others and unseen by them
(`attention.branches`).

A context has a say at each raw position from where it ends, as long as any symbol begins with the bytes since then. So
a raw position is told by all histories with at most one symbol off the view's own way; with what these leave out,
histories with two and more, see `distillation`.

All of this follows from the data alone. Cost: some vector operations for each byte of the longest symbol.
"""

from typing import NamedTuple

import numpy as np

from byteproxy.views.prefix_tree import NO_NODE, ROOT, PrefixTree
from byteproxy.vocab import FIRST_BYTE, FIRST_SYMBOL


class Covers(NamedTuple):
    """C contexts on the view's own way, X branches, E pairs of a context and a student that it tells.

    position_C: which position reads the passage up to there. first_C: the first context of each one's passage.
    own_C: the symbol (from 0) that the view wrote next, -1 at the end.
    parent_X: the context that a branch leaves. symbol_X: by which symbol.
    context_E: C and up for branches; ascending. student_E: as in `mixture.both_forms`. node_E: of the bytes since.
    """

    position_C: np.ndarray
    first_C: np.ndarray
    own_C: np.ndarray
    parent_X: np.ndarray
    symbol_X: np.ndarray
    context_E: np.ndarray
    student_E: np.ndarray
    node_E: np.ndarray


class _Text(NamedTuple):
    """Of each position: the student that it is, -1 for none; that one's passage; the byte that follows, -1 for none."""

    student: np.ndarray
    passage: np.ndarray
    byte: np.ndarray


def covers_of(
    tree: PrefixTree, raw: np.ndarray, symbol: np.ndarray, before: np.ndarray, targets: np.ndarray, first_id: int
) -> Covers:
    """The contexts of one view's symbols and whom they tell.

    raw, symbol, before: see `mixture.both_forms`. targets: int64 [positions]. first_id: of the view's symbols.
    """
    begins = np.flatnonzero(np.diff(symbol, prepend=-1))
    begins = begins[before[begins] == 0]  # else the symbol begins before the raw text does
    position, start = symbol[begins], raw[begins]
    own = np.where(targets[position] >= FIRST_SYMBOL, targets[position] - first_id, -1)
    length = np.where(own < 0, 0, np.diff(np.append(tree.path_start, len(tree.path)))[own] - 1)
    follows = np.zeros(len(position), bool)
    follows[1:] = (position[1:] == position[:-1] + 1) & (start[1:] == start[:-1] + length[:-1])
    passage = np.cumsum(~follows) - 1
    first = np.flatnonzero(~follows)[passage]
    of_raw = np.searchsorted(position, symbol)
    known = of_raw < len(position)
    known[known] = position[of_raw[known]] == symbol[known]
    text = _text(raw, np.where(known, of_raw, -1), passage, targets)
    context, student, node, at = _walk(tree, start, passage, text)
    parent, token, begin = _branches(tree, context, node, at, own)
    branch, told, inside, _ = _walk(tree, begin, passage[parent], text)
    context_E = np.concatenate([context, branch + len(position)])
    order = np.argsort(context_E, kind="stable")
    student_E, node_E = np.concatenate([student, told])[order], np.concatenate([node, inside])[order]
    return Covers(position, first, own, parent, token, context_E[order], student_E, node_E)


def _text(raw: np.ndarray, context: np.ndarray, passage: np.ndarray, targets: np.ndarray) -> _Text:
    """context: of each raw position, whose symbol covers its byte; -1 for none."""
    text = _Text(*(np.full(len(targets) + 1, -1) for _ in range(3)))
    text.student[raw] = np.arange(len(raw))
    text.passage[raw] = np.where(context < 0, -1, passage[context]) if len(passage) else -1
    byte = targets - FIRST_BYTE
    text.byte[:-1] = np.where((byte >= 0) & (byte < 256), byte, -1)
    return text


def _walk(tree: PrefixTree, start: np.ndarray, passage: np.ndarray, text: _Text) -> tuple[np.ndarray, ...]:
    """Contexts, students, nodes and raw positions: whom each context tells, the shortest prefixes first."""
    context, at, node = np.arange(len(start)), start, np.full(len(start), ROOT)
    found = []
    while len(context):
        here = (text.student[at] >= 0) & (text.passage[at] == passage[context])
        context, at, node = context[here], at[here], node[here]
        found.append((context, text.student[at], node, at))
        byte = text.byte[at]
        node = np.where(byte < 0, NO_NODE, tree.step(node, np.maximum(byte, 0)))
        on = node != NO_NODE
        context, at, node = context[on], at[on] + 1, node[on]
    nothing = np.zeros((4, 0), np.int64)
    context, student, node, at = np.concatenate([nothing, *(np.stack(one) for one in found)], axis=1)
    return context, student, node, at


def _branches(
    tree: PrefixTree, context: np.ndarray, node: np.ndarray, at: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Symbols that end where a context's walk passes, and weren't written: context, symbol, raw position after it."""
    counts = np.bincount(tree.node[tree.node >= 0], minlength=tree.nodes)[node]  # of the symbols that are the node
    pair = np.repeat(np.arange(len(node)), counts)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    symbol = tree.order[tree.first[node[pair]] + place]
    other = symbol != own[context[pair]]
    return context[pair][other], symbol[other], at[pair][other]
