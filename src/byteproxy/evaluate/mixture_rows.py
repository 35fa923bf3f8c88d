"""The rows of one optimizer step as a picture: what stands where, and where documents begin.

In the terminal a cell stands for several positions: a letter for what most of them are, and a bar where a document
begins. On the page, stretches are drawn to scale, in the colours of the page around them.
"""

from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
from rich.text import Text

from byteproxy.console import Console
from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan
from byteproxy.vocab import PAD, RAW

ROWS = 8
CELLS = 96
BORDER, NOTHING = "|", "."
_LETTERS = "rcdefghijklmnopqstuvwxyz"
_STYLES = ("#10151a on #9fd0ff", "#10151a on #ffd08a", "#10151a on #a6e6bb", "#10151a on #e8b4e6")


class Stretch(NamedTuple):
    """Positions `begin` to `end` of a row, all of one document and representation; `kind` -1 is of no content."""

    begin: int
    end: int
    kind: int
    document: int


class Picture(NamedTuple):
    """Rows of one step. names: of the representations. length: positions of a row. total: rows of the step."""

    step: int
    names: list[str]
    rows: list[list[Stretch]]
    length: int
    total: int


def pictured(stream: Stream, plan: Plan) -> Picture:
    """The first rows of a planned step, up to ROWS."""
    count, length = min(ROWS, stream.shape.sequences_per_step), stream.shape.sequence_length
    rows = stream.rows(plan, 0, count)
    kinds = np.where(rows.symbols == PAD, -1, rows.representations).reshape(count, length)
    documents = np.repeat(np.arange(len(rows.lengths)), rows.lengths).reshape(count, length)
    found = [_stretches(*row) for row in zip(kinds, documents, strict=True)]
    return Picture(plan.step, ["raw", *stream.views], found, length, stream.shape.sequences_per_step)


def cells(row: list[Stretch], length: int, count: int) -> list[int | None]:
    """What most positions of each of `count` cells are, -1 for nothing; None where a document begins, save the first.

    A cell holds at least one position.
    """
    bounds = np.linspace(0, length, min(count, length) + 1).round().astype(int)
    kinds = np.concatenate([np.full(one.end - one.begin, one.kind) for one in row])
    found: list[int | None] = []
    for begin, end in pairwise(bounds):
        values, counts = np.unique(kinds[begin:end], return_counts=True)
        found.append(int(values[counts.argmax()]))
    documents = [row[0].document, *(one.document for one in row)]
    for before, one in zip(documents, row, strict=False):
        if one.document != before:
            found[int(np.searchsorted(bounds, one.begin, side="right")) - 1] = None
    return found


def rows_text(picture: Picture, console: Console) -> Text:
    """The picture for a terminal; in as many cells as it has columns for, and with letters where it has no colours."""
    width = min(CELLS, console.width - 5) if console.is_terminal else CELLS
    text = Text(f"Rows of step {picture.step}: {_legend(picture)}\n")
    for number, row in enumerate(picture.rows):
        text.append(f"{number:>3} ", "dim")
        for kind, run in groupby(cells(row, picture.length, width)):
            letter, style = _cell(kind)
            text.append(letter * len(list(run)), style)
        text.append("\n")
    each = picture.length / min(width, picture.length)
    rest = picture.total - len(picture.rows)
    return text.append(f"A cell is {each:.3g} positions." + (f" {rest:,} more rows." if rest else ""), "dim")


def _stretches(kinds: np.ndarray, documents: np.ndarray) -> list[Stretch]:
    changes = np.flatnonzero((np.diff(kinds) != 0) | (np.diff(documents) != 0)) + 1
    bounds = [0, *changes.tolist(), len(kinds)]
    return [Stretch(begin, end, int(kinds[begin]), int(documents[begin])) for begin, end in pairwise(bounds)]


def _legend(picture: Picture) -> str:
    said = [f"{_LETTERS[kind % len(_LETTERS)]} {name}" for kind, name in enumerate(picture.names)]
    empty = any(one.kind < RAW for row in picture.rows for one in row)
    return ", ".join([*said, f"{BORDER} a document begins", *([f"{NOTHING} nothing"] if empty else [])])


def _cell(kind: int | None) -> tuple[str, str]:
    if kind is None:
        return BORDER, "bold"
    return (NOTHING, "dim") if kind < 0 else (_LETTERS[kind % len(_LETTERS)], _STYLES[kind % len(_STYLES)])
