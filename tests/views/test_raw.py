import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.views.raw import RawView


@given(st.binary())
def test_symbols_are_the_bytes(document: bytes) -> None:
    view = RawView()
    symbols, span_bytes = view.encode(document)
    assert symbols.tolist() == list(document)
    assert symbols.dtype == np.uint16
    assert span_bytes.tolist() == [1] * len(document)
    assert span_bytes.dtype == np.uint32
    assert view.decode(symbols) == document


def test_batch_is_encode_for_each() -> None:
    documents = [b"", bytes(range(256)), b"\xff" * 1000]
    decoded = [RawView().decode(encoded.symbols) for encoded in RawView().encode_batch(documents)]
    assert decoded == documents


@pytest.mark.parametrize("wrong", [256, -1])
def test_decode_refuses_what_is_no_byte(wrong: int) -> None:
    with pytest.raises(ValueError, match="0 to 255"):
        RawView().decode(np.array([65, wrong]))


def test_strings_are_the_bytes() -> None:
    assert b"".join(RawView().strings) == bytes(range(256))
    assert len(RawView().strings) == RawView.alphabet_size
