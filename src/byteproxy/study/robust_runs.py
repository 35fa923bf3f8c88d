"""Typing errors and cut prompts in a study: the same texts for every run and for the untrained model."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from byteproxy.evaluate.held_out import RULE as TEXT_RULE
from byteproxy.evaluate.robustness import TYPO_RATE, Cost, cut_prompts, cuts, typing_errors
from byteproxy.finite import finite
from byteproxy.store.store import Store
from byteproxy.study.cells import Cells
from byteproxy.study.recipe import Scoring
from byteproxy.study.split_texts import robust_texts


def rule(scoring: Scoring) -> str:
    """Names what is drawn and of which text: figures of other errors and cuts can't be compared."""
    text = f"{scoring.robust_bytes} bytes in documents of {scoring.document_bytes}, {TEXT_RULE}"
    return f"letters mistyped at a rate of {TYPO_RATE:g}, prompts cut inside tokens, 1; {text}"


def robustness(costs: Mapping[str, Cost], store: Store, scoring: Scoring, view: str, window: int) -> dict[str, Any]:
    """The figures of a model by form. view: whose tokens prompts are cut in. window: bytes of context."""
    texts = robust_texts(store, scoring)
    found = cuts(store.view(view), texts, window)
    figures = {
        form: {**typing_errors(cost, texts)._asdict(), **cut_prompts(cost, found)._asdict()}
        for form, cost in costs.items()
    }
    return {"rule": rule(scoring), "bytes": sum(map(len, texts)), "forms": finite(figures)}


def robust_lines(cells: Cells, scoring: Scoring, before: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """A line for each form of the untrained model, and of each cell that was scored so: means over its seeds."""
    if before is not None:
        for form, figures in before["forms"].items():
            yield {"arm": None, "form": form, "seeds": 0, "bytes": before["bytes"], **figures}
    for cell, runs in cells.runs.items():
        scored = [run.result["robustness"] for run in runs.values() if "robustness" in run.result]
        scored = [one for one in scored if one["rule"] == rule(scoring)]
        for form in scored[0]["forms"] if scored else ():
            each = [one["forms"][form] for one in scored]
            known = {name: [one[name] for one in each if one[name] is not None] for name in each[0]}
            means = {name: float(np.mean(values)) if values else None for name, values in known.items()}
            yield {**cell._asdict(), "form": form, "seeds": len(each), "bytes": scored[0]["bytes"], **means}
