"""A number that goes away over a run: the schedule of all scaffolding. Imports no torch."""

from dataclasses import dataclass

from byteproxy.errors import InputError
from byteproxy.ranges import ensure_in_range, ranged


@dataclass(frozen=True)
class Fading:
    """A scale that stays, or that falls to 0 in a straight line, so that nothing depends on it any more.

    start: the scale at the run's first step.
    steady: share of the steps, the first ones, in which it stays there; then it falls, where `until` is given.
    until: share of the steps after which it is 0; 1: after the last one. None: it stays for ever.
    """

    start: float = ranged(1.0, 0.0, 1e6)
    steady: float = ranged(0.0, 0.0, 1.0)
    until: float | None = ranged(None, 0.0, 1.0)

    def __post_init__(self) -> None:
        ensure_in_range(self, "scaffolding: ")
        if self.until is None and self.steady:
            raise InputError(
                f"scaffolding: steady is {self.steady:g}, and no fall follows it: say by `until` where that ends, or "
                "leave it out"
            )
        if self.until is not None and self.until < self.steady:
            raise InputError(
                f"scaffolding: until is {self.until:g}, before the fall begins at steady {self.steady:g}: give "
                f"{self.steady:g} to 1"
            )

    @property
    def stays(self) -> bool:
        """Whether it is still there when the run is over."""
        return self.until is None and self.start > 0

    def at(self, progress: float) -> float:
        """The scale after a share of the run's steps, from 0 to 1."""
        if self.until is None:
            return self.start
        if progress >= self.until:
            return 0.0
        if progress <= self.steady:
            return self.start
        return self.start * (self.until - progress) / (self.until - self.steady)

    def falls(self, progress: float) -> bool:
        """Whether it is below `start` after a share of the run's steps, as it falls or has fallen."""
        return self.at(progress) < self.start
