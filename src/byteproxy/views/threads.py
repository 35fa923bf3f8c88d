"""Encode the documents of a batch on all cores, for views whose work holds no lock."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

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
