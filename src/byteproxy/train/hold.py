"""A run's folder belongs to one run at a time: two that go on with it would mix their metrics and checkpoints."""

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from byteproxy.errors import InputError
from byteproxy.train import parallel

_LOCK = ".lock"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder while entered; rank 0 does it for all, and a killed process holds nothing.

    Raises InputError on all ranks where another run holds it.
    """
    with ExitStack() as stack:
        taken = True
        if parallel.world().rank == 0:
            lock = stack.enter_context((folder / _LOCK).open("a"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                taken = False
        if not parallel.from_rank_zero(taken):
            raise InputError(f"{folder} is in use by another run: wait for it, or give another folder")
        yield
