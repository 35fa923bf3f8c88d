"""The transfer multipliers of a study: every arm's in each cell, and how each changes with compute."""

from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from statistics import fmean
from typing import Any

from byteproxy.study.cells import HELD_OUT, Cells
from byteproxy.study.recipe import Cell
from byteproxy.study.run_files import HeldOut
from byteproxy.study.transfer_multiplier import Measured, multiplier, on_drawn_documents, trend

BySplit = Mapping[HeldOut, Mapping[Cell, Measured]]
"""What was measured of each cell, on each split that it was scored on."""


def measured(cells: Cells) -> BySplit:
    """What the cells of a study say, where their bits are finite."""
    found: dict[HeldOut, dict[Cell, Measured]] = {}
    for split in HELD_OUT:
        scored = {
            cell: [run.scored[split] for run in own.values() if split in run.scored]
            for cell, own in cells.runs.items()
            if (bpb := cells.bpb(cell, split)) and all(map(isfinite, bpb.values()))
        }
        drawn = on_drawn_documents(scored)
        found[split] = {
            cell: Measured(cells.mean(cell, "raw_text_bytes_seen") or 0.0, cells.bpb(cell, split), drawn.get(cell))
            for cell in scored
        }
    return found


def measured_runs(runs: Iterable[Mapping[str, Any]]) -> BySplit:
    """The same of the runs in a `results.json`, which doesn't keep what single documents cost."""
    found: dict[HeldOut, dict[Cell, list[Mapping[str, Any]]]] = {split: {} for split in HELD_OUT}
    for run in runs:
        for split in HELD_OUT:
            if run["kind"] == "final" and run.get(f"{split}_bpb") is not None:
                cell = Cell(run["arm"], run["size"], run["flops_asked"])
                found[split].setdefault(cell, []).append(run)
    return {
        split: {
            cell: Measured(
                fmean(run["raw_text_bytes_seen"] for run in own), {run["seed"]: run[f"{split}_bpb"] for run in own}
            )
            for cell, own in cells.items()
        }
        for split, cells in found.items()
    }


def multipliers(roles: Mapping[str, str], known: BySplit) -> Iterator[dict[str, Any]]:
    """m of every arm in each cell, against the bytes-only arm that is best there by validation text.

    roles: of all arms. An entry without m says why in `refused`; `more_than` and `less_than` are its bounds then.
    """
    for split in HELD_OUT:
        for cell, own in known.get(split, {}).items():
            base = _base(roles, known, cell)
            curve = {} if base is None else _curve(known[split], base, cell.size)
            if cell.arm == base or (split == "test" and not curve):
                continue
            entry = {
                **cell._asdict(),
                "against": base,
                "split": split,
                "raw_text": own.raw_text,
                **dict.fromkeys(("m", "low", "high", "over", "more_than", "less_than", "break_even", "stands")),
                "budgets": len(curve),
                "refused": _unreadable(roles[cell.arm], own, base, len(curve)),
            }
            if base is not None and own.raw_text and curve:
                equal = curve.get(cell.flops)
                entry["break_even"] = None if equal is None else equal.raw_text / own.raw_text
                if roles[cell.arm] != "tokenizer":
                    entry |= _read(own, base, curve, cell.flops, entry["refused"])
            yield entry


def _base(roles: Mapping[str, str], known: BySplit, cell: Cell) -> str | None:
    """The arm of raw bytes with the fewest bits of validation text in a cell, or at the size's largest budget."""
    there = {
        one: measured
        for one, measured in known.get("validation", {}).items()
        if one.size == cell.size and roles[one.arm] == "bytes"
    }
    budgets = {one.flops for one in there}
    if not budgets:
        return None
    flops = cell.flops if cell.flops in budgets else max(budgets)
    return min((one for one in there if one.flops == flops), key=lambda one: there[one].mean).arm


def _curve(known: Mapping[Cell, Measured], arm: str, size: str) -> dict[float, Measured]:
    """The runs of an arm at a size, by budget."""
    return {cell.flops: own for cell, own in sorted(known.items()) if (cell.arm, cell.size) == (arm, size)}


def _unreadable(role: str, own: Measured, base: str | None, budgets: int) -> str | None:
    """Why there is nothing to read, whatever the bits are."""
    if role == "tokenizer":
        return "its bits are those of its symbols"
    if not own.raw_text:
        return "it was shown no raw text"
    if base is None:
        return "no arm of raw bytes has this size"
    return f"{base} has one budget at this size, so there is no curve" if budgets < 2 else None


def _read(
    own: Measured, base: str, curve: Mapping[float, Measured], flops: float, refused: str | None
) -> dict[str, Any]:
    """The multiplier of an arm as its entry says it."""
    found = multiplier(own, list(curve.values()), curve.get(flops))
    several = len(curve) > 1
    if refused is None and found.m is None:
        refused = f"better than {base} at any budget" if found.least else f"worse than {base} at the smallest budget"
    return {
        "m": found.m if refused is None else None,
        "low": _known(found.low) if several else None,
        "high": _known(found.high) if several else None,
        "over": found.sources.said,
        **_bounds(found.least, found.most),
        "stands": _STANDS[found.above] if found.sources.said and flops in curve else None,
        "refused": refused,
    }


_STANDS = {True: "above", False: "below", None: "unclear"}


def multiplier_trends(roles: Mapping[str, str], known: BySplit) -> Iterator[dict[str, Any]]:
    """How m of each arm changes with compute at a size: its value at one budget over that at a smaller one.

    The smallest and the largest budget at which m is read off the curve; where those are fewer than two, the smallest
    and the largest budget, of which bounds may be known.
    """
    for split in HELD_OUT:
        here = known.get(split, {})
        for arm, size in dict.fromkeys((cell.arm, cell.size) for cell in here):
            curves = {
                cell: list(_curve(here, base, size).values())
                for cell in sorted(here)
                if (cell.arm, cell.size) == (arm, size)
                and (base := _base(roles, known, cell)) not in (None, arm)
                and here[cell].raw_text
            }
            curves = {cell: curve for cell, curve in curves.items() if len(curve) > 1 and roles[arm] != "tokenizer"}
            read = [cell for cell, curve in curves.items() if multiplier(here[cell], curve).m is not None]
            ends = read if len(read) > 1 else list(curves)
            if len(ends) > 1:
                first, last = ((here[cell], curves[cell]) for cell in (ends[0], ends[-1]))
                found = trend(first, last)
                yield {
                    "arm": arm,
                    "size": size,
                    "split": split,
                    "from": ends[0].flops,
                    "to": ends[-1].flops,
                    "ratio": found.least if found.least == found.most else None,
                    **_bounds(found.least, found.most),
                    "low": _known(found.low),
                    "high": _known(found.high),
                    "over": found.sources.said,
                    "direction": found.direction,
                }


def _bounds(least: float, most: float) -> dict[str, float | None]:
    """Where a figure lies that is not read off; nothing of one that is."""
    return (
        {"more_than": None, "less_than": None}
        if least == most
        else {
            "more_than": _known(least),
            "less_than": _known(most),
        }
    )


def _known(bound: float | None) -> float | None:
    """A bound that bounds: neither 0 nor infinity."""
    return bound if bound and isfinite(bound) else None
