import numpy as np
import pytest
from hypothesis import given, settings
from tests.views.contract import ODD_DOCUMENTS, check_contract, check_documents, check_kind, documents, real_documents

from byteproxy.views.raw import RawView

VIEW = RawView()


@settings(max_examples=1000)
@given(documents)
def test_symbols_are_the_bytes(document: bytes) -> None:
    symbols, span_bytes = check_contract(VIEW, document)
    assert symbols.tolist() == list(document)
    assert span_bytes.tolist() == [1] * len(document)


def test_odd_and_real_documents_come_back() -> None:
    check_documents(VIEW, ODD_DOCUMENTS)
    check_documents(VIEW, real_documents())


@pytest.mark.parametrize("wrong", [256, -1])
def test_decode_refuses_what_is_no_byte(wrong: int) -> None:
    with pytest.raises(ValueError, match="raw view has 0 to 255"):
        VIEW.decode(np.array([65, wrong]))


def test_strings_are_the_bytes() -> None:
    assert b"".join(VIEW.strings) == bytes(range(256))
    assert len(VIEW.strings) == RawView.alphabet_size


def test_kind() -> None:
    check_kind(RawView)
    assert RawView.name == "raw"


def test_fingerprint_is_that_of_corpora_already_prepared() -> None:
    assert RawView.fingerprint == "f7bb6f54ecd1d75322a4176f4637dc9bbc1d1b9e1752a1baf470a252b4c75664"
