import numpy as np
import pytest
from hypothesis import given, settings
from tests.views.contract import ODD_DOCUMENTS, check_contract, check_documents, check_kind, documents, real_documents

from byteproxy.views.bits import BitsView, DoubleBitsView, NibblesView

KINDS = [BitsView, DoubleBitsView, NibblesView]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def written(document: bytes, digits: int) -> list[int]:
    """The bits of a document in text, read as numbers of so many digits."""
    text = "".join(format(byte, "08b") for byte in document)
    return [int(text[place : place + digits], 2) for place in range(0, len(text), digits)]


@settings(max_examples=1000)
@given(documents)
def test_any_bytes_come_back(document: bytes) -> None:
    for kind in KINDS:
        check_contract(kind(), document)


@settings(max_examples=200)
@given(documents)
def test_symbols_are_the_digits_of_the_bytes(document: bytes) -> None:
    document = document[:500]
    assert BitsView().encode(document).symbols.tolist() == written(document, 1)
    assert DoubleBitsView().encode(document).symbols.tolist() == written(document, 2)
    assert NibblesView().encode(document).symbols.tolist() == [int(digit, 16) for digit in document.hex()]


@each_kind
def test_odd_and_real_documents_come_back(kind: type) -> None:
    check_documents(kind(), ODD_DOCUMENTS)
    check_documents(kind(), real_documents())


def test_a_byte_belongs_to_the_last_of_its_symbols() -> None:
    assert BitsView().encode(b"ab").span_bytes.tolist() == [0, 0, 0, 0, 0, 0, 0, 1] * 2
    assert DoubleBitsView().encode(b"ab").span_bytes.tolist() == [0, 0, 0, 1] * 2
    assert NibblesView().encode(b"ab").span_bytes.tolist() == [0, 1] * 2


@each_kind
def test_decode_refuses_what_is_no_document(kind: type) -> None:
    view = kind()
    symbols = view.encode(b"ab").symbols
    for wrong in (view.alphabet_size, -1):
        with pytest.raises(ValueError, match=f"{view.name} view has 0 to {view.alphabet_size - 1} only"):
            view.decode(np.append(symbols[:-1].astype(int), wrong))
    for cut in range(1, len(symbols) // 2):
        with pytest.raises(ValueError, match=f"{view.name} view, but a byte is"):
            view.decode(symbols[:-cut])


@each_kind
def test_kind(kind: type) -> None:
    check_kind(kind)
    assert not hasattr(kind(), "strings")


def test_names_alphabets_and_fingerprints() -> None:
    views = [kind() for kind in KINDS]
    assert [(view.name, view.alphabet_size) for view in views] == [("bits", 2), ("double_bits", 4), ("nibbles", 16)]
    assert len({view.fingerprint for view in views}) == 3
