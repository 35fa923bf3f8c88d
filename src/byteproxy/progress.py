"""How long work reports how far it is: one callable, called now and then, that decides by itself what to show.

And how it remarks on something: a line.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeAlias


class Progress(Protocol):
    """How far something is."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Take (done, total) in the unit that the caller's docstring names; total is 0 where it can't be known.

        note: what else there is to say, such as "12,000 documents".
        """


def silent(done: int, total: int, note: str = "") -> None:
    """Show nothing."""


Stage: TypeAlias = Callable[[str, str], AbstractContextManager[Progress]]
"""Called with what is being done and the unit of its progress ("B" or a noun); a context that gives the progress."""


def quietly(what: str, unit: str) -> AbstractContextManager[Progress]:
    """A stage that shows nothing."""
    return nullcontext(silent)


def remark(line: str) -> None:
    """Tell people what happened that they need not act on, such as a cache that was made again: a line on stderr."""
    print(f"note: {line}", file=sys.stderr, flush=True)
