"""Cut documents that are in several splits into documents of one split each.

Cuts are made at a line end if there is one shortly before (`corpus/pieces.py`). The gap between two splits is no
document. Memory: the documents that are cut, twice.
"""

import numpy as np

from byteproxy.corpus.document import Document
from byteproxy.corpus.pieces import cut_before
from byteproxy.corpus.reading import Record
from byteproxy.corpus.split import GAP
from byteproxy.store.staging import Parts

NEAR_BYTES = 1024
"""How far before its place a cut is looked for."""


def add_pieces(
    parts: Parts, starts: np.ndarray, rows: list[int], cuts: list[list[tuple[int, int, int]]]
) -> tuple[np.ndarray, np.ndarray]:
    """Stage the pieces of some records as a part after all others; returns their sides, int8, and sizes, int64.

    starts: as in `Selection`. rows: ascending. cuts: begin, end and side of each piece of each record, in bytes.
    """
    records, sides = [], []
    for row, cut in zip(rows, cuts, strict=True):
        part = int(np.searchsorted(starts, row, side="right")) - 1
        told = parts[part].slice(row - int(starts[part]), 1).to_pylist()[0]
        text, begin = told["text"], 0
        for _, end, side in cut:
            end = len(text) if end == len(text) else cut_before(text, max((begin + end) // 2, end - NEAR_BYTES), end)
            if side != GAP and end > begin:
                name = f"{told['id']}+{begin}" if begin else told["id"]
                document = Document(name, text[begin:end], told["source"], told["project"], told["language"])
                records.append(Record(told["place"], told["file"], told["line"], document))
                sides.append(side)
            begin = max(begin, end)
    parts.add(records)
    sizes = [len(record.document.text) for record in records if record.document is not None]
    return np.array(sides, np.int8), np.array(sizes, np.int64)
