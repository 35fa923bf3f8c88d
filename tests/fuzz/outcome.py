"""What a trial came to, and the rules by which a command's end is judged."""

import re
from dataclasses import dataclass

from tests.fuzz.server import Ended

CLEAR, HARMLESS = "clear", "harmless"
TRACEBACK, WRONG, LOST, HUNG, UNCLEAR = "traceback", "wrong", "lost", "hung", "unclear"
OUTCOMES = (CLEAR, HARMLESS, UNCLEAR, TRACEBACK, WRONG, LOST, HUNG)
FAULTS = (UNCLEAR, TRACEBACK, WRONG, LOST, HUNG)

_LINE = re.compile(r"^byteproxy: .+$", re.MULTILINE)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PROGRESS = re.compile(r"\r|\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Outcome:
    """clear: refused in one line; harmless: done, and right; the others are faults.

    what: the command and what was done to its input. why: what shows the fault.
    """

    kind: str
    what: str
    why: str = ""

    @property
    def is_fault(self) -> bool:
        return self.kind in FAULTS


def judged(ended: Ended, what: str, raw: bool = False) -> Outcome:
    """How a command ended, whatever it was asked for; harmless says nothing of whether its results are right.

    raw: its stdout is what a model wrote, where any byte may stand.
    """
    said = ended.said
    if ended.hung:
        return Outcome(HUNG, what, f"did not end after Ctrl-C: {said[-2000:]}")
    if ended.status == 130 and ended.interrupted:
        return Outcome(HARMLESS, what)
    if "Traceback (most recent call last)" in said or ended.status < 0 or ended.status not in (0, 2, 130, 141):
        return Outcome(TRACEBACK, what, f"status {ended.status}: {said[-3000:]}")
    if found := _CONTROL.search(_PROGRESS.sub("", said) + ("" if raw else ended.stdout.decode("utf-8", "replace"))):
        return Outcome(WRONG, what, f"{found[0]!r} is printed as it is: {said[-1000:]}")
    if ended.status == 2:
        if len(_LINE.findall(said)) == 1:
            return Outcome(CLEAR, what)
        return Outcome(UNCLEAR, what, f"status 2 without one line that says why: {said[-2000:]}")
    return Outcome(HARMLESS, what)
