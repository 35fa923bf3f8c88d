import zlib

import numpy as np
from tests.views.bpe.unicode_of_tokenizers import ALL, matched, packed, table

from byteproxy.views.bpe import unicode

IN_USE = ALL[(ALL < 0x40000) | (ALL & 0xFFFF < 0x200) | (ALL & 0xFFFF > 0xFF00)]
"""Planes with characters, and both ends of the others."""


def test_properties_are_those_of_tokenizers() -> None:
    """Where this fails for a new `tokenizers`, Unicode has grown, and it cuts new letters differently."""
    assert np.array_equal(unicode.properties()[IN_USE], table(IN_USE))
    blanks = IN_USE[matched(r"\s", IN_USE.astype("<u4").tobytes().decode("utf-32-le"))]
    assert np.array_equal(np.flatnonzero(unicode.blank()), blanks)


def test_no_other_code_points_are_characters() -> None:
    text = ALL.astype("<u4").tobytes().decode("utf-32-le")
    there = matched(r"[^\p{Cn}\p{Co}]", text)
    assert np.array_equal(
        np.flatnonzero(~unicode.category("Cn") & ~unicode.category("Co") & ~unicode.category("Cs")), ALL[there]
    )
    assert (unicode.properties()[0x40000:0xE0000] == unicode.CATEGORIES.index("Cn")).all()


def test_the_file_is_what_is_packed() -> None:
    kept = unicode.FILE.read_bytes()
    assert zlib.decompress(packed(unicode.properties())) == zlib.decompress(kept)
