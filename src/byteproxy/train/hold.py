"""A run's folder is held by one run at a time (`lock.py`): rank 0 locks it for all its ranks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from byteproxy import lock
from byteproxy.lock import Hold
from byteproxy.train import parallel


@contextmanager
def held(folder: Path) -> Iterator[Hold]:
    """As `lock.held`, for all ranks of a run; InputError on all of them where rank 0 can't have the folder."""
    with ExitStack() as stack:
        here: list[Hold] = []
        parallel.on_rank_zero(lambda: here.append(stack.enter_context(lock.held(folder))))
        yield here[0] if here else Hold(folder, None)
