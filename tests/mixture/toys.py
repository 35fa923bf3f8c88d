"""Tables of passages that are made by hand."""

from collections.abc import Sequence

import numpy as np

from byteproxy.store.passage_index import SourcePassages, Summary, Table

Passage = Sequence[int]
"""Bytes, then symbols in each view."""


def table_of(sources: Sequence[Sequence[Sequence[Passage]]]) -> Table:
    """A table of sources of documents of passages."""
    rows, told, most = [], [], None
    for number, documents in enumerate(sources):
        first = len(rows)
        for passages in documents:
            for place, counts in enumerate(passages):
                rows.append([place, *(cell for count in counts for cell in (0, count))])
        own = np.array(rows[first:], np.int64).reshape(len(rows) - first, len(rows[0]))
        sums = tuple(own[:, 2::2].sum(axis=0).tolist())
        told.append(SourcePassages(f"source{number}", first, len(own), sum(map(bool, documents)), sums))
    table = np.array(rows, np.int64)
    most = tuple(table[:, 2::2].max(axis=0).tolist())
    table.setflags(write=False)
    return Table(table, Summary(tuple(told), most))
