"""Skip steps whose gradient is not finite, or far larger than those before.

A single bad batch can undo thousands of steps, and skipping it costs one (PaLM, arXiv 2204.02311, went back and skipped
the data around each spike). The measure is the gradient's norm before clipping, against the median of the last ones
taken, which a few outliers don't move. Where a phase of the mixture begins, other text and other targets make other
gradients, so the norms before it are forgotten. While scaffolding falls each step has another model, and no norm is
held against those before. The judgement is a function of what went before, so all ranks judge alike, and so does a run
that was resumed.
"""

import math
from collections import deque
from statistics import median
from typing import Any

from byteproxy.errors import InputError

_WINDOW = 128
_MIN_KNOWN = 16


class Guard:
    """Judges the steps of one run, in order.

    spike: how many times the median a norm may be; 0 takes every finite one.
    max_skips: steps that may be skipped one after the other.
    """

    def __init__(self, spike: float, max_skips: int) -> None:
        self._spike, self._max_skips = spike, max_skips
        self._norms: deque[float] = deque(maxlen=_WINDOW)
        self._skips = 0
        self._phase = 0

    def judge(
        self, step: int, norm: float, loss: float, phase: int = 0, falling: bool = False, where: str = ""
    ) -> str | None:
        """Why this step must be skipped, for people; None: take it.

        norm: of the whole gradient, before clipping. loss: of the step, any unit. phase: the mixture's, by number.
        falling: whether scaffolding falls in this step. where: the processes whose loss is not finite, for people.
        Raises InputError if too many were skipped in a row.
        """
        norm, loss = float(norm), float(loss)
        if phase != self._phase or falling:
            self._norms.clear()
            self._phase = phase
        reason = self._reason(norm, loss, where)
        if reason is None:
            self._norms.append(norm)
            self._skips = 0
            return None
        self._skips += 1
        if self._skips > self._max_skips:
            raise InputError(
                f"{self._skips} steps in a row could not be taken; the last is step {step}, where {reason}: "
                "lower optim.learning_rate, or look at what is kept in skipped/ of the run's folder"
            )
        return reason

    def _reason(self, norm: float, loss: float, where: str) -> str | None:
        if not math.isfinite(loss):
            return f"the loss is {loss} {where}".rstrip()
        if not math.isfinite(norm):
            return f"the gradient norm is {norm}"
        if not self._spike or len(self._norms) < _MIN_KNOWN:
            return None
        usual = median(self._norms)
        if usual == 0 or norm <= self._spike * usual:  # usual 0: the last steps had no targets
            return None
        times, steps = f"{norm / usual:.3g} times", f"the last {len(self._norms)} steps"
        return f"the gradient norm {norm:.3g} is {times} the median of {steps}"

    def state_dict(self) -> dict[str, Any]:
        """What was seen so far, for JSON, exactly."""
        return {"norms": list(self._norms), "skips": self._skips, "phase": self._phase}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from such a state."""
        self._norms = deque(state["norms"], maxlen=_WINDOW)
        self._skips, self._phase = state["skips"], state.get("phase", 0)  # older checkpoints don't say
