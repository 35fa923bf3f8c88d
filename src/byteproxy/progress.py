"""How long work reports how far it is: one callable, called now and then, that decides by itself what to show."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, total) in the unit that the caller's docstring names; total is 0 where it can't be known."""


def silent(done: int, total: int) -> None:
    """Show nothing."""


Stage: TypeAlias = Callable[[str, str], AbstractContextManager[Progress]]
"""Called with what is being done and the unit of its progress ("B" or a noun); a context that gives the progress."""


def quietly(what: str, unit: str) -> AbstractContextManager[Progress]:
    """A stage that shows nothing."""
    return nullcontext(silent)
