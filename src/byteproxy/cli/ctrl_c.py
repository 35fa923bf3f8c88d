"""Ctrl-C, acknowledged at once: what is compiled or waits for the disk may not hear it for a minute.

Python raises KeyboardInterrupt when the main thread next runs Python code. A pipe that the signal itself writes to
wakes a thread, which says that the stop was heard if it has not happened by then; a second Ctrl-C ends the process at
once.
Where something else handles Ctrl-C, such as a training run that finishes its step, this keeps silent. Once a command
was stopped, the next Ctrl-C ends the process, in which Python's own would print a traceback while modules are cleared.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SOON = 0.5
"""Seconds after which a stop that has not happened is acknowledged."""
STOPPED = 130
"""Exit status of what was stopped."""


@contextmanager
def acknowledged() -> Iterator[None]:
    """While entered, Ctrl-C is answered within SOON seconds, and obeyed at once the second time."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "set_wakeup_fd"):
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(reading, over), name="ctrl-c", daemon=True)
    watcher.start()
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stopped = isinstance(stop, KeyboardInterrupt) or stop.code == STOPPED
        if stopped and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _end)
        raise
    finally:
        over.set()
        signal.set_wakeup_fd(before)
        os.close(writing)  # which ends the thread
        watcher.join()
        os.close(reading)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(STOPPED)


def _watch(reading: int, over: threading.Event) -> None:
    announced = False
    while signals := os.read(reading, 64):
        if signal.SIGINT not in signals or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            continue
        if announced:
            os._exit(STOPPED)
        if not over.wait(SOON):
            from byteproxy.console import say

            say("byteproxy: stopping; Ctrl-C again to stop at once")
            announced = True


if hasattr(os, "register_at_fork"):  # a forked child hears Ctrl-C by itself, and must not speak for its parent
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
