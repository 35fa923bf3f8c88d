"""The bytes of a gzip file as symbols: a general-purpose compressor whose output says little about its input.

The proxy compression paper (arXiv 2602.04289) uses it as its counterexample. Its codes are bits, cut into bytes
wherever they fall, and depend on everything before them. So equal strings look different each time, and no byte of the
output belongs to a stretch of the text. Hence the view isn't aligned: the last symbol carries the span of the document.

The header is the same on every system: no time, no file name, operating system "unknown" (255). The rest is zlib's
choice: DEFLATE specifies how to decompress, not how to compress, and other versions of zlib find other matches. So
zlib's version is part of the fingerprint, and corpora prepared with two versions don't mix. Builds that claim the same
version are trusted to be the same.

Cost: that of zlib at its level, plus 6 bytes of memory per symbol. Spans are 32-bit, so a document is below 4 GiB.
"""

import zlib
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from byteproxy.errors import InputError
from byteproxy.views.base import Encoded, within_alphabet
from byteproxy.views.untrained import UntrainedView

RULE_VERSION = 1
GZIP = 16 + zlib.MAX_WBITS
"""What zlib calls a gzip container with the largest window."""

SYSTEM_BYTE = 9
UNKNOWN_SYSTEM = b"\xff"


class GzipView(UntrainedView):
    """The compressed bytes as symbols 0-255. Lossless, but neither aligned nor context-free: no `strings`."""

    @dataclass(frozen=True)
    class Options:
        """level: zlib's effort, from 1 (fast) to 9 (small)."""

        level: int = 9

        def __post_init__(self) -> None:
            if not 1 <= self.level <= 9:
                raise InputError(f"option level of the gzip view is {self.level}: give 1 to 9")

    summary = "the bytes of a gzip file; not aligned with the text"
    aligned = False

    def __init__(self, level: int = 9) -> None:
        """InputError for a level outside 1 to 9."""
        self._level = self.Options(level).level
        self.name = f"gzip-{level}"
        decides = f"byteproxy gzip view {RULE_VERSION}\n{level}\n{zlib.ZLIB_RUNTIME_VERSION}"
        self.fingerprint = sha256(decides.encode()).hexdigest()

    def encode(self, document: bytes) -> Encoded:
        """The compressed bytes as uint16 [n], and spans 0, ..., 0, len(document)."""
        packed = bytearray(zlib.compress(document, self._level, wbits=GZIP))
        packed[SYSTEM_BYTE : SYSTEM_BYTE + 1] = UNKNOWN_SYSTEM
        span_bytes = np.zeros(len(packed), dtype=np.uint32)
        span_bytes[-1] = len(document)
        return Encoded(np.frombuffer(packed, dtype=np.uint8).astype(np.uint16), span_bytes)

    def decode(self, symbols: np.ndarray) -> bytes:
        """The document; ValueError for symbols that are not one whole, undamaged gzip file."""
        packed = within_alphabet(symbols, self).astype(np.uint8).tobytes()
        unpacking = zlib.decompressobj(GZIP)
        try:
            document = unpacking.decompress(packed)
        except zlib.error as error:
            raise ValueError(f"symbols of the {self.name} view that are no gzip file ({error})") from error
        if not unpacking.eof:
            raise ValueError(f"symbols of the {self.name} view that break off before the end of their gzip file")
        if unpacking.unused_data:
            raise ValueError(f"symbols of the {self.name} view that go on after the end of their gzip file")
        return document
