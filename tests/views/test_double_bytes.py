import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.contract import ODD_DOCUMENTS, check_contract, check_documents, check_kind, documents, real_documents

from byteproxy.views.double_bytes import DoubleBytesView

VIEW = DoubleBytesView()


def paired(document: bytes) -> list[int]:
    pairs = [256 * first + second for first, second in zip(document[::2], document[1::2], strict=False)]
    return pairs + [65536 + byte for byte in document[len(document) // 2 * 2 :]]


@settings(max_examples=1000)
@given(documents)
def test_symbols_are_the_pairs(document: bytes) -> None:
    assert check_contract(VIEW, document).symbols.tolist() == paired(document)


def test_odd_and_real_documents_come_back() -> None:
    check_documents(VIEW, ODD_DOCUMENTS)
    check_documents(VIEW, real_documents())


@given(st.binary(max_size=9))
def test_a_nul_at_the_end_is_no_filler(document: bytes) -> None:
    for ending in (b"", b"\0", b"\0\0", b"\0\0\0"):
        assert VIEW.decode(VIEW.encode(document + ending).symbols) == document + ending


def test_the_last_byte_of_an_odd_document_has_a_symbol_of_its_own() -> None:
    symbols, span_bytes = VIEW.encode(b"\x01\x02\x03")
    assert symbols.tolist() == [0x0102, 65536 + 3]
    assert span_bytes.tolist() == [2, 1]


def test_strings_are_all_pairs_and_all_bytes() -> None:
    assert len(VIEW.strings) == len(set(VIEW.strings)) == VIEW.alphabet_size == 65536 + 256
    assert (VIEW.strings[0x4142], VIEW.strings[65536 + 0x43]) == (b"AB", b"C")


@pytest.mark.parametrize("wrong", [65536 + 256, -1])
def test_decode_refuses_symbols_outside_of_the_alphabet(wrong: int) -> None:
    with pytest.raises(ValueError, match="double_bytes view has 0 to 65791 only"):
        VIEW.decode(np.array([65, wrong]))


def test_decode_refuses_a_single_byte_before_the_end() -> None:
    with pytest.raises(ValueError, match="double_bytes"):
        VIEW.decode(np.array([65536, 65]))


def test_kind() -> None:
    check_kind(DoubleBytesView)
    assert VIEW.name == "double_bytes"
