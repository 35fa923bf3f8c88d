"""Forks of the test's process, which has imported and compiled what takes a new process seconds."""

import gc
import os
import sys
import traceback
from collections.abc import Callable


def begun(run: Callable[[], object]) -> int:
    """The number of a fork that runs something and ends: with status 0, or with 1 where it raises."""
    gc.freeze()  # or a collection of garbage in the fork copies all that it looks at
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def ended(child: int) -> int:
    """The exit status of a fork at its end; -N for a signal N."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
