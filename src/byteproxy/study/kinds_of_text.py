"""Bits per byte by kind of text, the source and the language of held-out documents, where there are several."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from byteproxy.corpus.document import Document
from byteproxy.generate.score import Scored
from byteproxy.study.cells import Cells
from byteproxy.study.queue import Queue
from byteproxy.study.recipe import Cell
from byteproxy.study.run_files import HeldOut
from byteproxy.study.split_texts import split_documents


def by_kind(
    queue: Queue, cells: Cells, main: tuple[str, float] | None, ceiling: Mapping[HeldOut, Scored]
) -> list[dict[str, Any]]:
    """Each arm's figures at the main cell by kind of text, means over its seeds; nothing where all is of one kind.

    ceiling: by split, what documents cost the study's model as its tokens.
    """
    if main is None:
        return []
    found = []
    documents: dict[HeldOut, list[Document]] = {}
    for arm in queue.recipe.arms:
        cell = Cell(arm, *main)
        runs = cells.seeds(cell)
        if not runs:
            continue
        split = cells.split(cell)
        if split not in documents:
            documents[split] = split_documents(queue.store, queue.recipe.scoring, split)
        kinds = _kinds(documents[split])
        if len(kinds) < 2:
            continue
        scored = [run.scored[split] for run in runs.values()]
        tokens = list(cells.tokens(cell, split).values())
        for (source, language), places in kinds.items():
            found.append(
                {
                    **{"arm": arm, "source": source, "language": language, "split": split},
                    **{"documents": len(places), "bytes": int(scored[0].bytes[places].sum())},
                    **{"bpb": _mean(scored, places), "token_bpb": _mean(tokens, places)},
                    "token_bpb_before": _mean([ceiling[split]] if split in ceiling else [], places),
                }
            )
    return found


def _kinds(documents: Sequence[Document]) -> dict[tuple[str, str], list[int]]:
    found = defaultdict(list)
    for number, one in enumerate(documents):
        found[one.source, one.language].append(number)
    return dict(sorted(found.items()))


def _mean(scored: Sequence[Scored], places: Sequence[int]) -> float | None:
    """Bits per byte of some documents, the mean over several scorings; None where there are none."""
    if not scored:
        return None
    return float(np.mean([one.bits[places].sum() / one.bytes[places].sum() for one in scored]))
