"""Compare arms: differences with intervals, curves read at equal work, gaps over compute and size."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from byteproxy.finite import finite
from byteproxy.generate.score import Scored
from byteproxy.study.cells import HELD_OUT, Cells
from byteproxy.study.fits import fitted, read_at
from byteproxy.study.queue import Queue
from byteproxy.study.recipe import Cell, StudyRecipe
from byteproxy.study.run_files import HeldOut
from byteproxy.study.statistics import paired_by_document, paired_by_seed

_READ_AT = ("positions", "text_bytes", "seconds")


def against(recipe: StudyRecipe, cells: Cells) -> list[str]:
    """The arms that others are compared with: those that claims name, controls, and the best of raw bytes anywhere.

    Best is on validation text at some size and budget. Without claims it is all arms of raw bytes, and controls.
    """
    roles = {role: [name for name, arm in recipe.arms.items() if arm.role == role] for role in ("bytes", "control")}
    named = [name for claim in recipe.claims for name in claim.against]
    if not named:
        return roles["bytes"] + roles["control"]
    best = []
    for size, flops in dict.fromkeys((cell.size, cell.flops) for cell in cells.runs):
        means = {}
        for name in roles["bytes"]:
            values = cells.bpb(Cell(name, size, flops), "validation")
            if values:
                means[name] = sum(values.values()) / len(values)
        if means:
            best.append(min(means, key=means.__getitem__))
    return list(dict.fromkeys(named + roles["control"] + best))


def differences(recipe: StudyRecipe, cells: Cells) -> Iterator[dict[str, Any]]:
    """Every other arm against those, in each cell and on each split that both have seeds of, over these seeds only."""
    others = against(recipe, cells)
    for cell in cells.runs:
        for name in others:
            other = Cell(name, cell.size, cell.flops)
            if name == cell.arm or other not in cells.runs:
                continue
            for split in HELD_OUT:
                yield from difference(cell, name, split, cells.scored(cell, split), cells.scored(other, split))


def difference(
    cell: Cell, other: str, split: HeldOut, mine: Mapping[int, Scored], theirs: Mapping[int, Scored]
) -> Iterator[dict[str, Any]]:
    """A cell's scores against others of the same documents, over the seeds that both have; nothing where none is."""
    own, others = ({seed: one.bpb for seed, one in side.items()} for side in (mine, theirs))
    found = paired_by_seed(own, others)
    if found is None:
        return
    interval, percent, seeds = found
    common = sorted(set(mine) & set(theirs))
    documents = paired_by_document([mine[seed] for seed in common], [theirs[seed] for seed in common])
    yield {
        **cell._asdict(),
        "against": other,
        "split": split,
        "bpb": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "means": [fmean(side[seed] for seed in common) for side in (own, others)],
        "percent": percent,
        "seeds": seeds,
        "documents": finite({"low": documents.low, "high": documents.high}),
    }


def read_curves(runs: Sequence[dict[str, Any]], main: tuple[str, float]) -> dict[str, Any]:
    """The validation curves of the main cell at equal positions, text and seconds."""
    found = {}
    for what in _READ_AT:
        curves: dict[str, list[tuple[list[float], list[float]]]] = {}
        for run in runs:
            if run["kind"] == "final" and (run["size"], run["flops_asked"]) == main and run["curve"]:
                points = [point[what] for point in run["curve"]], [point["raw_bpb"] for point in run["curve"]]
                curves.setdefault(run["arm"], []).append(points)
        read = read_at(curves)
        if read is not None:
            found[what] = read
    return found


def fits(queue: Queue, cells: Cells) -> list[dict[str, Any]]:
    """The gaps of all pairs of arms over compute, at the largest size; and over parameters, at the largest budget."""
    recipe = queue.recipe
    sizes = sorted({cell.size for cell in cells.runs}, key=queue.parameters)
    others = against(recipe, cells)
    found = []
    for arm in recipe.arms:
        for name in others:
            if arm == name or not sizes:
                continue
            asked = recipe.all_flops()
            over_flops = [(flops, sizes[-1], flops) for flops in asked]
            found.append(_fit(cells, arm, name, "flops", over_flops))
            budgets = [
                flops for flops in recipe.all_flops() if all(_both(cells, arm, name, size, flops) for size in sizes)
            ]
            if len(sizes) > 1 and budgets:
                largest = max(budgets)
                over_sizes = [(float(queue.parameters(size)), size, largest) for size in sizes]
                found.append(_fit(cells, arm, name, "parameters", over_sizes))
    return [fit for fit in found if fit is not None]


def _both(cells: Cells, arm: str, other: str, size: str, flops: float) -> bool:
    return Cell(arm, size, flops) in cells.runs and Cell(other, size, flops) in cells.runs


def _fit(
    cells: Cells, arm: str, other: str, over: str, at: Sequence[tuple[float, str, float]]
) -> dict[str, Any] | None:
    """A line through the gaps at some (x, size, budget); on the test split where all of them were scored on that."""
    here = [(x, Cell(arm, size, flops), Cell(other, size, flops)) for x, size, flops in at]
    here = [(x, one, two) for x, one, two in here if one in cells.runs and two in cells.runs]
    tested = all(cells.split(one) == cells.split(two) == "test" for _, one, two in here)
    split: HeldOut = "test" if tested else "validation"
    points = []
    for x, one, two in here:
        mine, theirs = cells.bpb(one, split), cells.bpb(two, split)
        both = sorted(set(mine) & set(theirs))
        points += [{"x": x, "gap": 100 * (mine[seed] / theirs[seed] - 1), "seed": seed} for seed in both]
    line = fitted([point["x"] for point in points], [point["gap"] for point in points])
    if line is None:
        return None
    return {
        "arm": arm,
        "against": other,
        "over": over,
        "split": split,
        "points": points,
        "slope": line.slope,
        "low": line.low,
        "high": line.high,
        "at_largest": {"gap": line.at_largest, "low": line.at_largest_low, "high": line.at_largest_high},
        "vanishes_at": line.vanishes_at,
    }
