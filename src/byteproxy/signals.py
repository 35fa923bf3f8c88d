"""Signals, heard at once by a thread.

Python runs handlers between two instructions of the main thread, which may be minutes apart while a compiler, a large
product or a disk is at work. So each signal's number also goes through a pipe.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def listening(hear: Callable[[int], None]) -> Iterator[None]:
    """While entered, in the main thread, another one calls `hear` with the number of each signal that has a handler."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def listen() -> None:
        while received := os.read(reading, 64):
            for number in received:
                hear(number)

    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writing)  # which ends the thread
        listener.join()
        os.close(reading)


if hasattr(os, "register_at_fork"):  # a forked child hears signals by itself, and must not speak for its parent
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
