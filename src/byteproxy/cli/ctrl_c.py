"""Ctrl-C, acknowledged at once: what is compiled or waits for the disk may not hear it for a minute.

Python raises KeyboardInterrupt when the main thread next runs Python code. If that has not happened by then, a thread
says that the stop was heard (`signals.py`); a second Ctrl-C ends the process at once.
Where something else handles Ctrl-C, such as a training run that finishes its step, this keeps silent. Once a command
was stopped, the next Ctrl-C ends the process, in which Python's own would print a traceback while modules are cleared.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from byteproxy.signals import listening

SOON = 0.5
"""Seconds after which a stop that has not happened is acknowledged."""
STOPPED = 130
"""Exit status of what was stopped."""


@contextmanager
def acknowledged() -> Iterator[None]:
    """While entered, Ctrl-C is answered within SOON seconds, and obeyed at once the second time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, announced = threading.Event(), False

    def hear(number: int) -> None:
        nonlocal announced
        if number != signal.SIGINT or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            return
        if announced:
            os._exit(STOPPED)
        if not over.wait(SOON):
            from byteproxy.console import say

            say("byteproxy: stopping; Ctrl-C again to stop at once")
            announced = True

    with listening(hear):
        try:
            yield
        except (KeyboardInterrupt, SystemExit) as stop:
            stopped = isinstance(stop, KeyboardInterrupt) or stop.code == STOPPED
            if stopped and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, _end)
            raise
        finally:
            over.set()


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(STOPPED)
