"""How long work reports how far it is: one callable, called now and then, that decides by itself what to show."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (done, total) in the unit that the caller's docstring names; total is 0 where it can't be known."""


def silent(done: int, total: int) -> None:
    """Show nothing."""
