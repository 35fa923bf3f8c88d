"""Counters of a run so far, and averages between two lines of its metrics; checkpoints keep both."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from byteproxy.mixture.planner import Plan


@dataclass
class Counters:
    """What a run has done since its start, over all its resumptions and ranks.

    seconds: of training steps, loading included, without compiling, validation and checkpoints; wall_seconds has these.
    loading_seconds: of those, planning and waiting for rows. skipped: steps that were not taken.
    segments: begun. segments, text_bytes, positions_by: by representation, empty before the first step.
    """

    flops: int = 0
    positions: int = 0
    seconds: float = 0.0
    loading_seconds: float = 0.0
    wall_seconds: float = 0.0
    skipped: int = 0
    segments: list[int] = field(default_factory=list)
    asked_rate: float = 0.0
    text_bytes: list[int] = field(default_factory=list)
    positions_by: list[int] = field(default_factory=list)

    def add(self, plan: Plan, text_bytes: np.ndarray, flops: int) -> None:
        """Count one step."""
        self.flops += flops
        self.positions += int(plan.lengths.sum())
        self.asked_rate += plan.rate
        self.segments = _added(self.segments, plan.segments)
        self.text_bytes = _added(self.text_bytes, text_bytes)
        self.positions_by = _added(self.positions_by, plan.positions)

    def so_far(self) -> dict[str, Any]:
        """What a line of the metrics says of the run since its start."""
        return {
            "flops": self.flops,
            "positions": self.positions,
            "text_bytes": sum(self.text_bytes),
            "seconds": round(self.seconds, 3),
            "wall_seconds": round(self.wall_seconds, 3),
            "loading_share": round(self.loading_seconds / self.seconds, 5) if self.seconds else 0.0,
            "compressed_share": self.compressed_share(),
        }

    def seen(self) -> dict[str, Any]:
        """What a finished run of a study or a demo says of what it took."""
        return {
            "flops": self.flops,
            "positions": self.positions,
            "text_bytes_seen": sum(self.text_bytes),
            "raw_text_bytes_seen": self.text_bytes[0],
            "seconds": round(self.seconds, 2),
            "wall_seconds": round(self.wall_seconds, 2),
        }

    def compressed_share(self) -> dict[str, float | None]:
        """What came out of the mixture: the share of what is compressed, in each count; None of nothing."""
        counts = {"segments": self.segments, "text_bytes": self.text_bytes, "positions": self.positions_by}
        return {name: sum(by[1:]) / sum(by) if any(by) else None for name, by in counts.items()}


def _added(so_far: list[int], counts: np.ndarray) -> list[int]:
    return [int(a + b) for a, b in zip(so_far or [0] * len(counts), counts, strict=True)]


class Averages:
    """Losses and pace since the last line of the metrics; a resumed run writes the same losses."""

    def __init__(self, representations: list[str], columns: list[str]) -> None:
        self.representations, self.columns = representations, columns
        self._clear()

    def _clear(self) -> None:
        self.nats = np.zeros((len(self.representations), len(self.columns)))
        self.counts = np.zeros_like(self.nats)
        self.total = self.targets = self.rate = 0.0
        self.positions, self.seconds, self.flops = 0, 0.0, 0

    def add(self, plan: Plan, nats: np.ndarray, counts: np.ndarray, total: float, seconds: float, flops: int) -> None:
        """One step: sums by representation and column, and the weighted sum that training follows."""
        self.nats += nats
        self.counts += counts
        self.total += total
        self.targets += float(plan.targets.sum())
        self.rate = plan.rate
        self.positions += int(plan.lengths.sum())
        self.seconds += seconds
        self.flops += flops

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        values = {"nats": self.nats.tolist(), "counts": self.counts.tolist()}
        names = ("total", "targets", "rate", "positions", "seconds", "flops")
        return {**values, **{name: getattr(self, name) for name in names}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        for name, value in state.items():
            setattr(self, name, np.array(value) if name in ("nats", "counts") else value)

    def line(self, flops_per_second: float) -> dict[str, Any]:
        """What the metrics say of these steps, all losses in nats per target; None of what there was none.

        loss: what training follows. raw_loss: of the next symbol at raw positions. compressed_loss: likewise at
        compressed ones, of the next symbol; where symbols are no targets, of the bag, the first byte or a byte of the
        next symbol. losses: of each representation and head. matmul_utilization: of flops_per_second, by the formula.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self.nats / self.counts
        named = {
            name: {column: float(value) for column, value in zip(self.columns, row, strict=True) if np.isfinite(value)}
            for name, row in zip(self.representations, mean, strict=True)
        }
        compressed = {
            column: self.nats[1:, at].sum() / self.counts[1:, at].sum()
            for at, column in enumerate(self.columns)
            if self.counts[1:, at].sum()
        }
        first = ("symbol_1", "bag", "byte_1", "symbol_bytes")
        headline = next((compressed[name] for name in first if name in compressed), None)
        values = {
            "loss": self.total / max(1.0, self.targets),
            "raw_loss": named[self.representations[0]].get("byte_1"),
            "compressed_loss": None if headline is None else float(headline),
            "losses": {name: row for name, row in named.items() if row},
            "rate": self.rate,
            "positions_per_second": round(self.positions / self.seconds, 1) if self.seconds else None,
            "matmul_utilization": round(self.flops / self.seconds / flops_per_second, 4) if self.seconds else None,
        }
        self._clear()
        return values
