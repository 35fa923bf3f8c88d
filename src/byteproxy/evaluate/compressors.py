"""What plain compressors make of the same text, for scale: xz, zstd, and PPMd, the strongest classic model of bytes.

All see the texts as one stream, which favours them: they learn from one document for the next, while a model starts
each window from nothing; on the other hand they have no training text.
"""

import lzma
from collections.abc import Sequence

import pyarrow as pa
import pyppmd

from byteproxy.errors import InputError

PPMD_ORDER = 16
PPMD_MEMORY = 256 << 20


def xz_bpb(texts: Sequence[bytes]) -> float:
    """Bits per byte of xz at its highest preset, headers included."""
    joined = _joined(texts)
    return 8 * len(lzma.compress(joined, preset=9 | lzma.PRESET_EXTREME)) / len(joined)


def zstd_bpb(texts: Sequence[bytes]) -> float:
    """Bits per byte of zstd at its highest level, 22, headers included."""
    joined = _joined(texts)
    codec = pa.Codec("zstd", compression_level=pa.Codec.maximum_compression_level("zstd"))
    return 8 * len(codec.compress(joined)) / len(joined)


def ppmd_bpb(texts: Sequence[bytes]) -> float:
    """Bits per byte of PPMd (variant H, order 16, 256 MB), as in 7-Zip."""
    joined = _joined(texts)
    encoder = pyppmd.Ppmd7Encoder(PPMD_ORDER, PPMD_MEMORY)
    return 8 * (len(encoder.encode(joined)) + len(encoder.flush())) / len(joined)


def compressors_bpb(texts: Sequence[bytes]) -> dict[str, float]:
    """Bits per byte of each of them, by name."""
    return {"xz": xz_bpb(texts), "zstd": zstd_bpb(texts), "ppmd": ppmd_bpb(texts)}


def _joined(texts: Sequence[bytes]) -> bytes:
    joined = b"".join(texts)
    if not joined:
        raise InputError("there is no text to compress: the held-out split is empty")
    return joined
