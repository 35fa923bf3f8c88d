"""How hard each byte of a document is to predict from what stands before it: one teacher-forced pass over the text.

Documents are read in windows of up to 512 bytes that move on by half, so that every byte but a document's first has at
least 256 bytes of context where they exist. Windows of like lengths go together, end to end, so no matrix product pads
anything, and attention little (under a tenth, `tests/neural/padding.py`). Costs two passes of the model over each byte,
in float32.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from byteproxy.model.attention.layout import Layout, layout_of, length_batches
from byteproxy.model.network import Transformer
from byteproxy.progress import Progress, silent
from byteproxy.vocab import BYTES, FIRST_BYTE, RAW, byte_ids, opening

CONTEXT = 512


@torch.no_grad()
def entropies(model: Transformer, documents: Sequence[bytes], progress: Progress = silent) -> list[np.ndarray]:
    """Bits of each byte of each document before it is known: float16 [bytes], as they are kept, exact to 1 in 2,000.

    model: with activations of whatever type it was made for. progress: bytes.
    """
    found = [np.zeros(len(document), np.float16) for document in documents]
    total, done = sum(map(len, documents)), 0
    ids_B = torch.arange(FIRST_BYTE, FIRST_BYTE + BYTES)
    for windows, layout in _batches(documents):
        ids = [
            np.concatenate(([opening(RAW)], byte_ids(documents[document][begin : end - 1])))
            for document, begin, end, _ in windows
        ]
        hidden_ND = model.hidden(torch.from_numpy(np.concatenate(ids)), layout)
        log_NB = model.lm_head.logits(hidden_ND, ids_B).log_softmax(-1)
        bits = (-(log_NB.exp() * log_NB).sum(-1) / np.log(2)).numpy()
        ends = np.cumsum(layout.lengths).tolist()
        for (document, _, end, wanted), at in zip(windows, ends, strict=True):
            found[document][wanted:end] = bits[at - (end - wanted) : at]
            done += end - wanted
        progress(done, total)
    return found


def _batches(documents: Sequence[bytes]) -> Iterator[tuple[list[tuple[int, int, int, int]], Layout]]:
    """Windows as (document, begin, end, first byte that is wanted of it), a batch at a time, and its layout."""
    half = CONTEXT // 2
    windows = [
        (document, begin, min(begin + CONTEXT, len(text)), begin + half if begin else 0)
        for document, text in enumerate(documents)
        for begin in range(0, max(len(text) - half, min(len(text), 1)), half)
    ]
    lengths = np.array([end - begin for _, begin, end, _ in windows], np.int64)
    for batch in length_batches(lengths):
        yield [windows[at] for at in batch.tolist()], layout_of(lengths[batch], fine=True)
