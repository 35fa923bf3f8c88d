"""Cut documents that are in several splits into documents of one split each.

Cuts are made at a line end if there is one shortly before (`corpus/large_files.py`). The gap between two splits is no
document. Memory: the documents that are cut, twice.
"""

import numpy as np

from byteproxy.corpus.dividing import GAP
from byteproxy.corpus.document import Document
from byteproxy.corpus.large_files import cut_before
from byteproxy.corpus.records import Record
from byteproxy.store.staging import Parts

NEAR_BYTES = 1024
"""How far before its place a cut is looked for."""


def add_pieces(
    parts: Parts, starts: np.ndarray, rows: list[int], cuts: list[list[tuple[int, int, int]]]
) -> tuple[np.ndarray, np.ndarray]:
    """Stage the pieces of some records as a part after all others; returns their splits, int8, and sizes, int64.

    starts: as in `Selection`. rows: ascending. cuts: begin, end and split of each piece of each record, in bytes.
    """
    records, splits = [], []
    for row, cut in zip(rows, cuts, strict=True):
        part = int(np.searchsorted(starts, row, side="right")) - 1
        record = parts[part].slice(row - int(starts[part]), 1).to_pylist()[0]
        text, begin = record["text"], 0
        for _, end, split in cut:
            end = len(text) if end == len(text) else cut_before(text, max((begin + end) // 2, end - NEAR_BYTES), end)
            if split != GAP and end > begin:
                name = f"{record['id']}+{begin}" if begin else record["id"]
                document = Document(name, text[begin:end], record["source"], record["project"], record["language"])
                records.append(Record(record["place"], record["file"], record["line"], document))
                splits.append(split)
            begin = max(begin, end)
    parts.add(records)
    sizes = [len(record.document.text) for record in records if record.document is not None]
    return np.array(splits, np.int8), np.array(sizes, np.int64)
