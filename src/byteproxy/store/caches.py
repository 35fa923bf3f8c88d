"""Find and check the caches in a corpus's folder: tables of passages, entropies, notes on what was verified.

All of them may be deleted. Each carries a checksum over its content, which its user compares; a wrong one is made
again. `corpus verify` reads all of them here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from byteproxy.errors import InputError
from byteproxy.store import entropy_cache, passage_index
from byteproxy.store.corpus_folder import VERIFIED
from byteproxy.store.integrity import check_notes


class Cache(NamedTuple):
    """A file, its bytes, and what reads it and raises ValueError or OSError where it is damaged."""

    path: Path
    size: int
    check: Callable[[Path], object]


def found(folder: Path) -> list[Cache]:
    """The caches in a corpus's folder, in order."""
    kinds: list[tuple[str, Callable[[Path], object]]] = [
        (VERIFIED, check_notes),
        (f"{passage_index.FOLDER}/*.json", passage_index.check_kept),
        (f"{passage_index.FOLDER}/*.i64", passage_index.check_rows),
        (f"{entropy_cache.FOLDER}/*/*.entropies", entropy_cache.check_part),
    ]
    return [
        Cache(path, path.stat().st_size, check)
        for pattern, check in kinds
        for path in sorted(folder.glob(pattern))
        if path.is_file()
    ]


def check(cache: Cache) -> None:
    """InputError where a cache is damaged."""
    try:
        cache.check(cache.path)
    except (OSError, ValueError, TypeError, LookupError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{cache.path} is damaged ({reason}): delete it; it is a cache, and made again when it is needed"
        ) from error
