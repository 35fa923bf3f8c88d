"""Ctrl-C and SIGTERM as a wish that is heard between two steps, so that no step is torn, and answered at once."""

import os
import signal
import sys
import threading
from contextlib import ExitStack
from types import FrameType, TracebackType

from byteproxy.console import say
from byteproxy.signals import listening

_ANSWERS = "stopping after this step; again to stop now", "stopping now"
_STOPPED = 128 + signal.SIGINT


class Interrupt:
    """While entered, the first signal only sets `wanted`; a second one acts as it always did; a third ends the process.

    A signal that was ignored when it is entered stays so, as for whoever started the process with nohup or in the
    background. Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._answered = 0
        self._before: dict[int, object] = {}
        self._listening = ExitStack()

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._obey)
            if self._before:
                self._listening.enter_context(listening(self._answer))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._listening.close()

    def _answer(self, number: int) -> None:
        if number not in self._before:
            return
        if self._answered == len(_ANSWERS):  # even inside a call that takes minutes; it is as safe as a kill
            _say("stopped")
            os._exit(_STOPPED)
        _say(_ANSWERS[self._answered])
        self._answered += 1

    def _obey(self, number: int, frame: FrameType | None) -> None:
        if not self.wanted:
            self.wanted = True
            return
        before = self._before.get(number)
        if callable(before):
            before(number, frame)  # Python's own for Ctrl-C raises KeyboardInterrupt
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _say(words: str) -> None:
    """One line on stderr, past any buffer that the main thread may be in the middle of filling."""
    begin = "\n" if sys.stderr.isatty() else ""  # a bar may stand in the line
    try:
        os.write(sys.stderr.fileno(), f"{begin}byteproxy: {words}\n".encode())
    except (OSError, ValueError):  # no stderr, or one of a test or a notebook, which is no file
        say(f"byteproxy: {words}")
