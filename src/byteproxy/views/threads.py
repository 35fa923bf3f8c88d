"""Encode the documents of a batch on all cores, for views whose work holds no lock."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from byteproxy.views.base import Encoded


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(encode: Callable[[bytes], Encoded], documents: Sequence[bytes]) -> list[Encoded]:
    """`encode` of each document, in order; the longest documents are begun first, so that no core is left with one."""
    if cores() == 1 or len(documents) < 2:
        return list(map(encode, documents))
    order = sorted(range(len(documents)), key=lambda place: -len(documents[place]))
    with ThreadPoolExecutor(cores()) as pool:
        begun = {place: pool.submit(encode, documents[place]) for place in order}
        return [begun[place].result() for place in range(len(documents))]


class Rooms:
    """Space for what a walk finds, symbols and their bytes, one for each thread."""

    def __init__(self) -> None:
        self._own = threading.local()

    def room(self, size: int) -> np.ndarray:
        """This thread's space, uint32 [size or more, 2]; a huge one is not kept."""
        room: np.ndarray | None = getattr(self._own, "room", None)
        if room is None or len(room) < size:
            room = np.empty((max(size, 1 << 16), 2), dtype=np.uint32)
            if size <= 1 << 24:
                self._own.room = room
        return room
