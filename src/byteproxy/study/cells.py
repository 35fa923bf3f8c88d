"""Gather finished runs into cells: an arm at a size and a budget, with its seeds."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from byteproxy.generate.score import Scored
from byteproxy.study.queue import Job, Key, Queue
from byteproxy.study.recipe import Cell
from byteproxy.study.run_files import HeldOut, scores

HELD_OUT: tuple[HeldOut, ...] = ("test", "validation")


@dataclass(frozen=True)
class Done:
    """A run that is done.

    scored: by split, what its documents cost it. tokens: the same, as tokens of the study's model, where it has them.
    """

    key: Key
    job: Job
    result: dict[str, Any]
    scored: dict[HeldOut, Scored]
    tokens: dict[HeldOut, Scored] = field(default_factory=dict)


@dataclass
class Cells:
    """All final runs that are done, by cell and seed. planned: how many seeds each cell is to have."""

    runs: dict[Cell, dict[int, Done]] = field(default_factory=dict)
    planned: dict[Cell, tuple[int, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, queue: Queue) -> "Cells":
        """Gathered from a study's folder. The test split counts only of runs that a claim was opened for."""
        found = cls()
        for cell in queue.recipe.cells():
            found.planned[cell] = queue.recipe.seeds_of(cell.arm)
        for key in queue.keys:
            if key.kind != "final" or (result := queue.result(key)) is None or (job := queue.job(key)) is None:
                continue
            known = {split: one for split in HELD_OUT if (one := scores(job, queue.store, split)) is not None}
            scored = {split: one.main for split, one in known.items()}
            tokens = {split: one.tokens for split, one in known.items() if one.tokens is not None}
            if job.view and queue.recipe.model is not None:
                tokens = scored  # its figures are those of the tokens
            cell = Cell(key.arm, key.size, key.flops)
            found.runs.setdefault(cell, {})[key.seed] = Done(key, job, result, scored, tokens)
        return found

    def seeds(self, cell: Cell) -> dict[int, Done]:
        """The runs of a cell by seed."""
        return self.runs.get(cell, {})

    def scored(self, cell: Cell, split: HeldOut) -> dict[int, Scored]:
        """What documents cost by seed, of the seeds that were scored on a split."""
        return {seed: run.scored[split] for seed, run in self.seeds(cell).items() if split in run.scored}

    def bpb(self, cell: Cell, split: HeldOut) -> dict[int, float]:
        """Bits per byte by seed, of the seeds that were scored on a split."""
        return {seed: one.bpb for seed, one in self.scored(cell, split).items()}

    def tokens(self, cell: Cell, split: HeldOut) -> dict[int, Scored]:
        """What a split costs as the tokens of the study's model, by seed, of the seeds that were scored so."""
        return {seed: run.tokens[split] for seed, run in self.seeds(cell).items() if split in run.tokens}

    def split(self, cell: Cell) -> HeldOut:
        """The split that a cell's figures are of: the test split where all of its runs were scored on that."""
        runs = self.seeds(cell).values()
        return "test" if runs and all("test" in run.scored for run in runs) else "validation"

    def mean(self, cell: Cell, what: str) -> float | None:
        """The mean over seeds of something that runs count."""
        values = [run.result[what] for run in self.seeds(cell).values()]
        return float(np.mean(values)) if values else None

    def left(self, size: str, flops: float, arms: Iterable[str]) -> list[str] | None:
        """The arms, of some, that have runs to be done at a size and budget; None where none of them has any there."""
        here = [cell for arm in arms if (cell := Cell(arm, size, flops)) in self.planned]
        return [cell.arm for cell in here if not set(self.planned[cell]) <= set(self.seeds(cell))] if here else None
