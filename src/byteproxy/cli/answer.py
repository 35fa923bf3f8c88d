"""What a model wrote, to a person or to a program.

A terminal gets characters as they come, with escapes for whatever could steer it and for bytes that are no UTF-8. A
file, a pipe and --raw get the very bytes, nothing before, between or behind them.
"""

import sys
from collections.abc import Iterable, Iterator

from byteproxy.console import escaped
from byteproxy.generate.utf8 import characters


def deliver(pieces: Iterable[bytes], raw: bool) -> None:
    """Write an answer as it comes: as its bytes if raw, or if stdout is no terminal, else to be read."""
    if not raw and sys.stdout.isatty():
        show(pieces)
        sys.stdout.write("\n")
        return
    sys.stdout.flush()
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def show(pieces: Iterable[bytes]) -> bytes:
    """Write pieces as whole characters as they come; gives all of them."""
    written = bytearray()

    def noted() -> Iterator[bytes]:
        for piece in pieces:
            written.extend(piece)
            yield piece

    for part in characters(noted()):
        sys.stdout.write(escaped(part))
        sys.stdout.flush()
    return bytes(written)
