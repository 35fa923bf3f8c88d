import lzma

import pyarrow as pa
import pyppmd
import pytest

from byteproxy.errors import InputError
from byteproxy.evaluate.compressors import PPMD_MEMORY, PPMD_ORDER, ppmd_bpb, xz_bpb, zstd_bpb

TEXTS = [b"def add(a, b):\n    return a + b\n" * 20, b"import os\n" * 50]


def test_bits_are_those_of_streams_that_decompress():
    joined = b"".join(TEXTS)
    assert xz_bpb(TEXTS) * len(joined) / 8 == pytest.approx(len(lzma.compress(joined, preset=9 | lzma.PRESET_EXTREME)))
    level = pa.Codec.maximum_compression_level("zstd")
    squeezed = pa.Codec("zstd", compression_level=level).compress(joined)
    assert level >= 19
    assert zstd_bpb(TEXTS) * len(joined) / 8 == pytest.approx(len(squeezed))
    assert pa.Codec("zstd").decompress(squeezed, len(joined)).to_pybytes() == joined
    encoder = pyppmd.Ppmd7Encoder(PPMD_ORDER, PPMD_MEMORY)
    stream = encoder.encode(joined) + encoder.flush()
    assert ppmd_bpb(TEXTS) * len(joined) / 8 == pytest.approx(len(stream))
    assert pyppmd.Ppmd7Decoder(PPMD_ORDER, PPMD_MEMORY).decode(stream, len(joined)) == joined


def test_nothing_cannot_be_compressed():
    for measure in (xz_bpb, zstd_bpb, ppmd_bpb):
        with pytest.raises(InputError, match="no text"):
            measure([b""])
