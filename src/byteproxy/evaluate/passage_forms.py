"""Passages of one split in every representation, and documents made of them as training makes them.

A passage is cut where training would cut it, and its symbols are those that the corpus holds: the ones of its document,
not those that a view might write for the passage alone. What stands around segments is training's: `<raw>` bytes
`</raw>`, `<compressed>` symbols `</compressed>`, one after the other for a pair, and eos at the end. Where inputs are
composed, a compressed position is a unit, named by its last symbol.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from byteproxy.corpus.split import Split
from byteproxy.errors import InputError
from byteproxy.mixture.expansion import ExpandedRows
from byteproxy.mixture.loader import NO_TARGET, Rows
from byteproxy.model.attention.layout import Layout, layout_of, length_batches
from byteproxy.model.embedding import ByteExpansion
from byteproxy.progress import Progress, silent
from byteproxy.runs.with_corpus import Run
from byteproxy.store.passage_index import BYTE_START, BYTES, KEY, PLACE_BITS, length_column, start_column
from byteproxy.vocab import EOS, byte_ids, closing, opening


class Form(NamedTuple):
    """A passage in one representation. ids: int64 [positions]. spans: int64 [positions], bytes that each covers."""

    ids: np.ndarray
    spans: np.ndarray


class Passage(NamedTuple):
    """text: its bytes. forms: raw, then each view of the run."""

    text: bytes
    forms: tuple[Form, ...]


class Documents(NamedTuple):
    """Documents of passages, and where the last segment of each stands.

    opened: int64 [documents], the position of its opening sentinel. content: int64 [documents], how many positions
    follow that before its closing one.
    """

    rows: Rows
    opened: np.ndarray
    content: np.ndarray

    @property
    def predicting(self) -> np.ndarray:
        """The positions that predict the content of the last segments, in order: int64 [sum of content]."""
        starts = np.cumsum(self.content) - self.content
        return np.arange(int(self.content.sum())) + np.repeat(self.opened - starts, self.content)

    @property
    def ending(self) -> np.ndarray:
        """The position that predicts the end of each last segment: int64 [documents]."""
        return self.opened + self.content

    @property
    def document(self) -> np.ndarray:
        """Which document each of `predicting` is of: int64 [sum of content]."""
        return np.repeat(np.arange(len(self.content)), self.content)


def sampled(run: Run, split: Split, count: int, seed: int = 0, progress: Progress = silent) -> list[Passage]:
    """Passages of a split by chance, no two of the same text, each of whose pairs fits into a row of the run's.

    count: at most so many; fewer if there are no more. progress: passages of the split, found once.
    Raises InputError where there are fewer than two.
    """
    if count < 2:
        raise InputError(f"passages is {count}: give at least 2")
    shape, views = run.config.shape, run.config.views
    table = run.store.table(split, views, shape.context_bytes, progress).rows
    longest = np.max([table[:, length_column(1 + view)] for view in range(len(views))] or [np.zeros(len(table))], 0)
    sizes = table[:, BYTES]
    fit = np.flatnonzero((sizes > 0) & (sizes + longest + 5 <= shape.sequence_length))
    chosen: dict[bytes, Passage] = {}
    for number in np.random.default_rng(seed).permutation(fit):
        passage = passage_at(run, table[number])
        chosen.setdefault(passage.text, passage)
        if len(chosen) == count:
            break
    if len(chosen) < 2:
        raise InputError(
            f"the {split} split of {run.store.path} holds {len(chosen)} passages that fit into a row of {run.name} as "
            "a pair: use a corpus with more text there, or a run with longer rows"
        )
    return list(chosen.values())


def passage_at(run: Run, row: np.ndarray) -> Passage:
    """The passage that a row of the table of a run's views is of."""
    store, shard = run.store, int(row[KEY]) >> PLACE_BITS
    text = store.text_buffer(shard)[row[BYTE_START] : row[BYTE_START] + row[BYTES]].tobytes()
    forms = [Form(byte_ids(text), np.ones(len(text), np.int64))]
    for representation, name in enumerate(run.config.views, start=1):
        start = row[start_column(representation)]
        own = slice(start, start + row[length_column(representation)])
        symbols = store.symbol_buffer(name, shard)[own].astype(np.int64) + run.vocab.first_id(representation)
        spans = store.span_buffer(name, shard)[own].astype(np.int64)
        kept = spans > 0 if run.config.model.composed else np.ones(len(spans), bool)
        forms.append(Form(symbols[kept], spans[kept]))
    return Passage(text, tuple(forms))


def documents_of(passages: Sequence[Passage], shown: Sequence[int]) -> Documents:
    """One document for each passage, which shows it in these representations, one segment after the other."""
    symbols, spans, ids, kinds, limits, lengths, opened = [], [], [], [], [], [], []
    position = spelled = 0
    for passage in passages:
        begin = position
        text = byte_ids(passage.text)
        for place, representation in enumerate(shown):
            form = passage.forms[representation]
            ends = [closing(representation), EOS] if place == len(shown) - 1 else [closing(representation)]
            last_opened, size = position, 1 + len(form.ids) + len(ends)
            symbols.append(np.concatenate([[opening(representation)], form.ids, ends]))
            spans.append(np.concatenate([[1], form.spans, np.ones(len(ends), np.int64)]))
            ids.append(np.concatenate([[opening(representation)], text, ends]))
            position, spelled = position + size, spelled + len(ids[-1])
            kinds.append(np.full(size, representation, np.int8))
            limits.append(np.full(size, spelled, np.int64))
        opened.append(last_opened)
        lengths.append(position - begin)
    joined = np.concatenate(symbols)
    targets = np.append(joined[1:], NO_TARGET)
    targets[np.cumsum(lengths) - 1] = NO_TARGET
    spelling = ExpandedRows(np.concatenate(ids), np.cumsum(np.concatenate(spans)), np.concatenate(limits))
    rows = Rows(joined, targets, np.concatenate(kinds), np.array(lengths, np.int64), spelling)
    content = np.array([len(passage.forms[shown[-1]].ids) for passage in passages], np.int64)
    return Documents(rows, np.array(opened, np.int64), content)


def batches(passages: Sequence[Passage], shown: Sequence[int]) -> list[np.ndarray]:
    """Which passages are read at once: numbers of some of like lengths, as in scoring."""
    sizes = [1 + sum(2 + len(passage.forms[one].ids) for one in shown) for passage in passages]
    return length_batches(np.array(sizes, np.int64))


class Inputs(NamedTuple):
    """What a model reads: int64 [N], where documents lie, and what positions stand for if it is composed."""

    symbols_N: torch.Tensor
    layout: Layout
    expansion: ByteExpansion | None


def inputs_of(run: Run, documents: Documents) -> Inputs:
    """Documents on the device of a run's model."""
    device, rows = run.model.device, documents.rows
    expansion = None
    if run.config.model.composed:
        assert rows.expanded is not None, "documents of passages are expanded"
        expansion = ByteExpansion(*(torch.from_numpy(one).to(device) for one in rows.expanded))
    return Inputs(torch.from_numpy(rows.symbols).to(device), layout_of(rows.lengths, device, fine=True), expansion)
