"""Progress of long work: one callable, called now and then, that decides by itself what to show.

Remarks and announcements are lines.
"""

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
    from byteproxy.console import say  # what prints takes as long to import as all else that --version needs

    say(f"note: {line}")


announced: Callable[[str], None] | None = None
"""Who tells people of work that takes a while and can't say how far it is; the command line sets this."""


def announce(line: str) -> None:
    """Tell people, where somebody listens, what is going to take a while."""
    if announced is not None:
        announced(line)
