"""Ctrl-C and SIGTERM as a wish that is heard between two steps, so that no step is torn.

Python runs handlers between two instructions of its own, which may be minutes apart while a compiler or a large product
is at work. So the signal's number also goes through a pipe to a thread, which answers at once on stderr.
"""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

from byteproxy.console import say

_ANSWERS = "stopping after this step; again to stop now", "stopping now"
_STOPPED = 128 + signal.SIGINT


class Interrupt:
    """While entered, the first signal only sets `wanted`; a second one acts as it always did; a third ends the process.

    A signal that was ignored when it is entered stays so, as for whoever started the process with nohup or in the
    background. Outside the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._before: dict[int, object] = {}
        self._pipe: tuple[int, int] | None = None
        self._listener: threading.Thread | None = None
        self._former_wakeup = -1

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
            if self._before:
                self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
        if self._pipe is not None and self._listener is not None:
            reads, writes = self._pipe
            signal.set_wakeup_fd(self._former_wakeup)
            os.close(writes)  # which ends the listener
            self._listener.join()
            os.close(reads)
            self._pipe = None

    def _listen(self) -> None:
        self._pipe = reads, writes = os.pipe()
        os.set_blocking(writes, False)
        self._former_wakeup = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
        self._listener = threading.Thread(target=self._answering, args=(reads, set(self._before)), daemon=True)
        self._listener.start()

    def _answering(self, reads: int, numbers: set[int]) -> None:
        heard = 0
        while received := os.read(reads, 64):
            for _ in range(sum(number in numbers for number in received)):
                if heard < len(_ANSWERS):
                    _say(_ANSWERS[heard])
                else:  # even inside a call that takes minutes; it is as safe as a kill
                    _say("stopped")
                    os._exit(_STOPPED)
                heard += 1

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if not self.wanted:
            self.wanted = True
            return
        before = self._before.get(number)
        if callable(before):
            before(number, frame)  # Python's own for Ctrl-C raises KeyboardInterrupt
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()


def _say(words: str) -> None:
    """One line on stderr, past any buffer that the main thread may be in the middle of filling."""
    begin = "\n" if sys.stderr.isatty() else ""  # a bar may stand in the line
    try:
        os.write(sys.stderr.fileno(), f"{begin}byteproxy: {words}\n".encode())
    except (OSError, ValueError):  # no stderr, or one of a test or a notebook, which is no file
        say(f"byteproxy: {words}")
