"""Waiting for other processes and threads. The limit is there against hanging: nothing is measured by it."""

import time
from collections.abc import Callable
from typing import TypeVar

GUARD_SECONDS = 1200
"""Seconds that nothing takes, on the slowest machine."""
Found = TypeVar("Found")


def until(happens: Callable[[], Found], alive: Callable[[], bool] = lambda: True) -> Found:
    """Ask again and again until something is true, and give it; fails once what would make it true is not alive."""
    end = time.monotonic() + GUARD_SECONDS
    while True:
        living = alive()  # asked first: what ended may have done it just before
        if found := happens():
            return found
        assert living, "it ended, and what it was to do has not happened"
        assert time.monotonic() < end
        time.sleep(0.005)
