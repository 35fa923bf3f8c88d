"""Show what a mixture does before anything is trained: planned steps, with requested and realised shares.

It costs what planning costs: no text is read. A realised share is a finite sample of draws, so it comes with its
sampling error: `deviation` is in standard errors, as if each segment of a draw had been decided by itself, and stays
within about 3 if the mixture does what it says.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan, State
from byteproxy.progress import Progress, silent


class Preview(NamedTuple):
    """Planned steps, counted.

    steps: the figures of each (`step_figures`). windows: of stretches of equal length (`summed`). total: of all steps.
    epochs: how many times each source has been gone through after them. first: the plan of the first step.
    """

    steps: list[dict[str, Any]]
    windows: list[dict[str, Any]]
    total: dict[str, Any]
    epochs: dict[str, float]
    first: Plan


def preview(stream: Stream, first: int, last: int, lines: int = 20, progress: Progress = silent) -> Preview:
    """Plan steps `first` up to `last` and count what they show, in `lines` windows at most; progress: steps."""
    figures: list[dict[str, Any]] = []
    epochs, opening = {}, None
    for plan, state in planned(stream, first, last, progress):
        figures.append(step_figures(stream, plan))
        epochs, opening = stream.epochs(state), opening or plan
    assert opening is not None, "a span has a step"
    size = -(-len(figures) // lines)
    windows = [summed(figures[at : at + size], stream.mixture.count) for at in range(0, len(figures), size)]
    total = summed(figures, stream.mixture.count)
    return Preview(figures, windows, total, epochs, opening)


def span_of(steps: str, total: int) -> tuple[int, int]:
    """First and last step (exclusive) of "0:200", ":200", "100:" or ":"; InputError where it isn't one."""
    first_text, colon, last_text = steps.partition(":")
    try:
        first, last = int(first_text or 0), int(last_text or total)
    except ValueError:
        colon = ""
        first = last = 0
    if not colon or not 0 <= first < last <= total:
        raise InputError(f"steps is {steps!r}: give first:last, such as 0:200, within the run's {total} steps")
    return first, last


def planned(stream: Stream, first: int, last: int, progress: Progress = silent) -> Iterator[tuple[Plan, State]]:
    """The plans of steps `first` up to `last`, and the state after each; progress counts steps from the run's first."""
    state = State()
    while state.step < last:
        plan, state = stream.plan(state)
        progress(state.step, last)
        if plan.step >= first:
            yield plan, state


def step_figures(stream: Stream, plan: Plan) -> dict[str, Any]:
    """The figures of one step, requested and realised. Counts are by representation; shares are compressed shares."""
    text_bytes = stream.text_bytes(plan)
    return {
        "step": plan.step,
        "mode": plan.settings.mode,
        "asked": plan.rate,
        "share": _shares(plan.segments, text_bytes, plan.positions),
        "segments": plan.segments.tolist(),
        "text_bytes": text_bytes.tolist(),
        "positions": plan.positions.tolist(),
        "targets": plan.targets.tolist(),
        "documents": len(plan.lengths),
        "largest_document": plan.largest_document(stream.table),
        "padding": plan.padding,
    }


def summed(steps: list[dict[str, Any]], count: str) -> dict[str, Any]:
    """Several steps together; `count` names what the mixture's rates are shares of.

    asked is the mean rate, weighted like what is counted; deviation is that of the share in that count from it.
    """
    totals = {
        name: np.sum([step[name] for step in steps], axis=0)
        for name in ("segments", "text_bytes", "positions", "targets")
    }
    counted = {"segments": "segments", "bytes": "text_bytes", "positions": "positions"}[count]
    weights = np.array([np.sum(step[counted]) for step in steps], np.float64)
    rates = np.array([step["asked"] for step in steps])
    asked = float(rates @ weights / weights.sum())
    share = _shares(totals["segments"], totals["text_bytes"], totals["positions"])
    error = _standard_error(rates, np.array([np.sum(step["segments"]) for step in steps]))
    difference = (share[count] or 0.0) - asked
    return {
        "first_step": steps[0]["step"],
        "last_step": steps[-1]["step"],
        "modes": list(dict.fromkeys(step["mode"] for step in steps)),
        "asked": asked,
        "share": share,
        "standard_error": error,
        "deviation": difference / error if error > 0 else (0.0 if abs(difference) < 1e-12 else float("inf")),
        **{name: values.tolist() for name, values in totals.items()},
        "documents": sum(step["documents"] for step in steps),
        "largest_document": max(step["largest_document"] for step in steps),
        "padding": sum(step["padding"] for step in steps),
    }


def _shares(segments: np.ndarray, text_bytes: np.ndarray, positions: np.ndarray) -> dict[str, float | None]:
    """Compressed shares of what is counted by representation."""
    return {"segments": _compressed(segments), "bytes": _compressed(text_bytes), "positions": _compressed(positions)}


def _standard_error(rates: np.ndarray, segments: np.ndarray) -> float:
    """The standard error of a share of segments; close enough for bytes and positions."""
    total = segments.sum()
    return float(np.sqrt((rates * (1 - rates) * segments).sum()) / total) if total else 0.0


def _compressed(by_representation: np.ndarray) -> float | None:
    """The share of all but raw; None of nothing."""
    total = int(np.sum(by_representation))
    return int(np.sum(by_representation[1:])) / total if total else None
