"""A codebook's pieces in shuffled order: boundaries of the same lengths that mean nothing, as a study's control.

Each document is cut into as many pieces, of the same lengths, as the codebook cuts it into, but in an order drawn by a
hash of the document. If a model learns as much from these as from the codebook itself, then lengths helped, and not
where the pieces end. `chunks` is the other half of that comparison: it removes the differences in length as well.

As with `chunks`, symbols are the bytes themselves, and the last byte of a piece carries the span of the whole: models
with composed inputs read pieces, and need no table of them. Cost: the codebook's walk, and a sort of its pieces.
"""

import zlib
from collections.abc import Iterable
from hashlib import blake2b, sha256
from pathlib import Path
from typing import ClassVar

import numpy as np

from byteproxy.coins import hashes
from byteproxy.errors import InputError
from byteproxy.files import head, write_aside
from byteproxy.progress import Progress, silent
from byteproxy.views.artefact import content_of
from byteproxy.views.base import Encoded, within_alphabet
from byteproxy.views.codebook import CodebookOptions, CodebookView
from byteproxy.views.threads import on_all_cores

RULE_VERSION = 1
_MARK = b"byteproxy-shuffled 1\n"
MAX_BYTES = 1 << 29
"""Bytes of the file, and of its content unpacked: a codebook of 2^20 strings of 255 bytes has less."""
_PURPOSE = np.uint64(0x5AFF1ED)


class ShuffledView:
    """Bytes as symbols 0-255; spans of a codebook's lengths in an order of their own."""

    Options: ClassVar = CodebookOptions
    summary: ClassVar = "a codebook's lengths in random order, as a control"
    trained: ClassVar = True
    suffix: ClassVar = ".shuffled"
    spans_are_units = True
    alphabet_size = 256
    aligned = True

    def __init__(self, codebook: CodebookView) -> None:
        """codebook: whose pieces are shuffled."""
        self.codebook = codebook
        self.name = f"shuffled-{codebook.name}"
        decides = f"byteproxy shuffled view {RULE_VERSION}\n{codebook.fingerprint}"
        self.fingerprint = sha256(decides.encode()).hexdigest()

    @classmethod
    def make(cls, options: CodebookOptions, texts: Iterable[bytes], progress: Progress = silent) -> "ShuffledView":
        """The view of the codebook that these options make of these texts."""
        return cls(CodebookView.make(options, texts, progress))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file says that it is such a view."""
        return head(path, len(_MARK)) == _MARK

    @classmethod
    def load(cls, path: Path) -> "ShuffledView":
        """The view that `save` wrote; InputError where it can't be read or is damaged."""
        content = content_of(path, "view", MAX_BYTES)
        try:
            unpacking = zlib.decompressobj()
            held = unpacking.decompress(content[len(_MARK) :], MAX_BYTES)
            if not unpacking.eof or unpacking.unused_data:
                raise zlib.error("it ends elsewhere")
        except zlib.error as error:
            raise InputError(f"the view {path} is cut off or damaged: copy it again or train it anew") from error
        return cls(CodebookView.from_bytes(held, path))

    def save(self, path: Path) -> None:
        """Write the codebook, compressed, whole or not at all; InputError where that can't be."""
        write_aside(Path(path), _MARK + zlib.compress(self.codebook.to_bytes()))

    def encode(self, document: bytes) -> Encoded:
        """The bytes as uint16 [len(document)]; a span above 0 where a piece ends."""
        lengths = self.codebook.encode(document).span_bytes
        seed = int.from_bytes(blake2b(document, digest_size=8).digest(), "big")
        shuffled = lengths[np.argsort(hashes(np.uint64(seed), len(lengths), _PURPOSE), kind="stable")]
        span_bytes = np.zeros(len(document), dtype=np.uint32)
        span_bytes[np.cumsum(shuffled, dtype=np.int64) - 1] = shuffled
        return Encoded(np.frombuffer(document, dtype=np.uint8).astype(np.uint16), span_bytes)

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does, on all cores."""
        return on_all_cores(self.encode, documents)

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; ValueError for a symbol that is no byte."""
        return within_alphabet(symbols, self).astype(np.uint8).tobytes()
