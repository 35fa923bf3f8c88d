import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.contract import ODD_DOCUMENTS, check_contract, check_documents, check_kind, documents, real_documents

from byteproxy.errors import InputError
from byteproxy.views.chunks import ChunksView

SIZES = range(2, 17)


@settings(max_examples=1000)
@given(documents, st.sampled_from(SIZES))
def test_symbols_are_the_bytes_and_spans_the_chunks(document: bytes, size: int) -> None:
    symbols, span_bytes = check_contract(ChunksView(size), document)
    assert symbols.tolist() == list(document)
    chunks = [document[start : start + size] for start in range(0, len(document), size)]
    assert span_bytes.tolist() == [span for chunk in chunks for span in [*[0] * (len(chunk) - 1), len(chunk)]]


def test_one_span_above_0_is_one_chunk() -> None:
    symbols, span_bytes = ChunksView(4).encode(b"abcdefghij")
    ends = np.flatnonzero(span_bytes) + 1
    assert ends.tolist() == [4, 8, 10]
    assert [bytes(chunk.tolist()) for chunk in np.split(symbols, ends[:-1])] == [b"abcd", b"efgh", b"ij"]


@pytest.mark.parametrize("size", [2, 4, 16])
def test_odd_and_real_documents_come_back(size: int) -> None:
    check_documents(ChunksView(size), ODD_DOCUMENTS)
    check_documents(ChunksView(size), real_documents())


def test_the_size_is_in_name_and_fingerprint() -> None:
    views = [ChunksView.make(ChunksView.Options(size), []) for size in SIZES]
    assert [view.name for view in views] == [f"chunks-{size}" for size in SIZES]
    assert len({view.fingerprint for view in views}) == len(SIZES)
    assert [view.encode(bytes(32)).span_bytes.max() for view in views] == list(SIZES)


@pytest.mark.parametrize("size", [-4, 0, 1, 17])
def test_a_size_that_can_not_be_is_refused(size: int) -> None:
    for make in (ChunksView.Options, ChunksView):
        with pytest.raises(InputError, match=f"size of the chunks view is {size}: give 2 to 16"):
            make(size)


@pytest.mark.parametrize("wrong", [256, -1])
def test_decode_refuses_what_is_no_byte(wrong: int) -> None:
    with pytest.raises(ValueError, match="chunks-4 view has 0 to 255"):
        ChunksView().decode(np.array([65, wrong]))


def test_kind() -> None:
    check_kind(ChunksView)
    assert ChunksView.make(ChunksView.Options(), []).name == "chunks-4"
    assert not hasattr(ChunksView(), "strings")
