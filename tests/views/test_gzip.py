import contextlib
import gzip
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.contract import ODD_DOCUMENTS, check_contract, check_documents, check_kind, documents, real_documents

from byteproxy.errors import InputError
from byteproxy.views.gzip import GzipView

VIEW = GzipView()
CODE = b"def encode(document):\n    return [document]\n" * 3


def packed(document: bytes, view: GzipView = VIEW) -> bytes:
    return bytes(view.encode(document).symbols.tolist())


@settings(max_examples=1000)
@given(documents)
def test_symbols_are_a_gzip_file(document: bytes) -> None:
    _, span_bytes = check_contract(VIEW, document)
    assert gzip.decompress(packed(document)) == document
    assert span_bytes.tolist() == [*[0] * (len(span_bytes) - 1), len(document)]


@pytest.mark.parametrize("level", [1, 9])
def test_odd_and_real_documents_come_back(level: int) -> None:
    check_documents(GzipView(level), ODD_DOCUMENTS)
    check_documents(GzipView(level), real_documents())


def test_header_names_no_time_no_file_and_no_system() -> None:
    for level in range(1, 10):
        file = packed(CODE, GzipView(level))
        assert file[:4] == b"\x1f\x8b\x08\x00"
        assert file[4:8] == bytes(4)
        assert file[9] == 255


def test_compressed_as_python_itself_does() -> None:
    text = b"".join(real_documents()[:5])
    for level in range(1, 10):
        # Bytes 8 and 9 say how hard the compressor tried and on what system, and Pythons differ there.
        assert packed(text, GzipView(level))[10:] == gzip.compress(text, level, mtime=0)[10:]


def test_level_decides_size_name_and_fingerprint() -> None:
    views = [GzipView.make(GzipView.Options(level), []) for level in range(1, 10)]
    text = b"".join(real_documents()[:20])
    assert len(packed(text, views[-1])) < len(packed(text, views[0])) < len(text) / 2
    assert [view.name for view in views] == [f"gzip-{level}" for level in range(1, 10)]
    assert len({view.fingerprint for view in views}) == 9


def test_another_zlib_has_another_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = VIEW.fingerprint
    monkeypatch.setattr(zlib, "ZLIB_RUNTIME_VERSION", "9.9.zlib-other")
    assert GzipView().fingerprint != ours


@pytest.mark.parametrize("level", [-1, 0, 10])
def test_a_level_that_can_not_be_is_refused(level: int) -> None:
    for make in (GzipView.Options, GzipView):
        with pytest.raises(InputError, match=f"level of the gzip view is {level}: give 1 to 9"):
            make(level)


def test_decode_refuses_every_beginning_of_a_file_and_what_comes_after_it() -> None:
    symbols = VIEW.encode(CODE).symbols
    for length in range(len(symbols)):
        with pytest.raises(ValueError, match="gzip-9 view that break off"):
            VIEW.decode(symbols[:length])
    for more in (symbols, symbols[:1], [0]):
        with pytest.raises(ValueError, match="gzip-9 view that go on"):
            VIEW.decode(np.concatenate([symbols, more]))


@settings(max_examples=300)
@given(st.integers(0, len(packed(CODE)) - 1), st.integers(1, 255))
def test_damage_never_gives_another_document(place: int, change: int) -> None:
    symbols = VIEW.encode(CODE).symbols
    symbols[place] ^= change
    with contextlib.suppress(ValueError):
        assert VIEW.decode(symbols) == CODE


@pytest.mark.parametrize("place", [0, 12, -8, -1], ids=["magic", "deflate", "checksum", "size"])
def test_decode_refuses_damage(place: int) -> None:
    symbols = VIEW.encode(CODE).symbols
    symbols[place] ^= 255
    with pytest.raises(ValueError, match="gzip-9 view that are no gzip file"):
        VIEW.decode(symbols)


@pytest.mark.parametrize("wrong", [256, -1])
def test_decode_refuses_what_is_no_byte(wrong: int) -> None:
    with pytest.raises(ValueError, match="gzip-9 view has 0 to 255"):
        VIEW.decode(np.array([31, wrong]))


def test_kind() -> None:
    check_kind(GzipView)
    assert GzipView.make(GzipView.Options(), []).name == "gzip-9"
    assert not VIEW.aligned
    assert not hasattr(VIEW, "strings")
