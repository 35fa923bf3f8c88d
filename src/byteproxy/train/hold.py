"""A run's folder is held by one run at a time (`lock.py`): rank 0 locks it for all its ranks."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from byteproxy import lock
from byteproxy.errors import InputError
from byteproxy.lock import Hold
from byteproxy.train import parallel


@contextmanager
def held(folder: Path) -> Iterator[Hold]:
    """As `lock.held`, for all ranks of a run; InputError on all of them where rank 0 can't have the folder."""
    with ExitStack() as stack:
        hold, said = Hold(folder, None), None
        if parallel.world().rank == 0:
            try:
                hold = stack.enter_context(lock.held(folder))
            except InputError as error:
                said = str(error)
        said = parallel.from_rank_zero(said)
        if said is not None:
            raise InputError(said)
        yield hold
