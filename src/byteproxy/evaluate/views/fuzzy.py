"""How fuzzy a neural view is, and what its windows cost, on the same text as every other figure.

Under its fit rule the strings behind a symbol are prefixes of one another (`views.coder`), so what two of them share is
the shorter one. The paper says that over 90 % of raw chunks with one symbol share a prefix of at least 0.8 of their
length (arXiv 2602.04289); `lcp80_share` is that. Costs one walk over the text.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from byteproxy.views.base import View
from byteproxy.views.neural_view import NO_CUTS, NeuralView

ALIKE = 0.8
"""Share of the longer string from which on two strings count as alike."""


def neural_figures(view: View, texts: Sequence[bytes]) -> dict[str, Any]:
    """What only a neural view has, as JSON takes it; nothing for any other.

    nodes: strings that fit. nodes_estimate: 2^W / h, h being the mean entropy of the byte after a window in these
    texts.
    compile_seconds: that expanding them took; None for a view out of a file.
    window_bits_per_byte: information of the windows' bytes under the predictor, whose context ends with each window;
        code_bits_per_byte: what its symbols take, each the logarithm of how many there are: W bits a window, and more
        where stretches are left raw.
    fuzzy: see `fuzzy`.
    """
    if not isinstance(view, NeuralView):
        return {}
    cuts = view.cuts(view.entropies(texts)) if view.entropy_model else [NO_CUTS] * len(texts)
    walked = [view.windows(text, own) for text, own in zip(texts, cuts, strict=True)]
    symbols = sum(len(view.between(text, own).symbols) for text, own in zip(texts, cuts, strict=True))
    nodes = np.concatenate([np.empty((0, 2), np.uint32), *walked])[:, 0]
    text_bytes = sum(map(len, texts))
    bits = view.about.code.bits
    last = view.tree.entropy[nodes][view.tree.depth[nodes] < view.tree.depth.max()] if len(nodes) else np.zeros(0)
    return {
        "nodes": view.nodes,
        "nodes_estimate": float(2**bits / last.mean()) if last.size and last.mean() > 0 else None,
        "compile_seconds": view.compile_seconds,
        "window_bits_per_byte": float(view.tree.bits[nodes].sum(dtype=np.float64)) / text_bytes if text_bytes else None,
        "code_bits_per_byte": float(np.log2(view.alphabet_size)) * symbols / text_bytes if text_bytes else None,
        "fuzzy": fuzzy(view.tree.symbol, view.tree.depth, nodes),
    }


def fuzzy(symbol: np.ndarray, size: np.ndarray, nodes: np.ndarray) -> dict[str, float | None]:
    """Shares of what is ambiguous in a text.

    symbol, size: of each string, in bytes. nodes: the strings of the text's windows, with repetitions.
    collision_share: of the symbols in the text, those that stand for more than one string there.
    occurrence_share: of the windows, those with such a symbol.
    lcp80_share: of all pairs of different strings with one symbol, those that share at least 0.8 of the longer one.
    possible_share: of the symbols that any string has, those that more than one has, whether it occurs or not.
    """
    used, count = np.unique(nodes, return_counts=True)
    order = np.argsort(symbol[used], kind="stable")
    used, count = used[order], count[order]
    own, begin, strings = np.unique(symbol[used], return_index=True, return_counts=True)
    several = strings > 1
    pairs = alike = 0
    for first, number in zip(begin[several].tolist(), strings[several].tolist(), strict=True):
        for one, other in combinations(size[used[first : first + number]].tolist(), 2):
            pairs += 1
            alike += min(one, other) >= ALIKE * max(one, other)
    _, held = np.unique(symbol, return_counts=True)
    return {
        "collision_share": float(several.mean()) if len(own) else None,
        "occurrence_share": float(count[np.repeat(several, strings)].sum() / count.sum()) if len(own) else None,
        "lcp80_share": alike / pairs if pairs else None,
        "possible_share": float((held > 1).mean()) if len(held) else None,
    }
