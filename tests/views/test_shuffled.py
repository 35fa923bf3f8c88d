import numpy as np
import pytest
from hypothesis import given, settings
from tests.views.contract import ODD_DOCUMENTS, check_contract, check_documents, check_kind, documents, real_documents

from byteproxy.errors import InputError
from byteproxy.views import registry
from byteproxy.views.codebook import CodebookOptions, CodebookView
from byteproxy.views.shuffled import ShuffledView


@pytest.fixture(scope="module")
def view() -> ShuffledView:
    return ShuffledView.make(CodebookOptions(bits=10), real_documents()[:40])


@settings(max_examples=200)
@given(document=documents)
def test_symbols_are_the_bytes_and_lengths_the_codebooks(view: ShuffledView, document: bytes) -> None:
    symbols, span_bytes = check_contract(view, document)
    assert symbols.tolist() == list(document)
    ends = np.flatnonzero(span_bytes) + 1
    assert np.diff(ends, prepend=0).tolist() == span_bytes[ends - 1].tolist()
    assert sorted(span_bytes[ends - 1]) == sorted(view.codebook.encode(document).span_bytes)


def test_boundaries_are_not_the_codebooks(view: ShuffledView) -> None:
    """As many are shared as chance has it: of the real pieces' ends, about the share of bytes that end a piece."""
    shared = pieces = size = 0
    for document in real_documents()[:40]:
        own = set(np.cumsum(view.codebook.encode(document).span_bytes).tolist())
        ends = set((np.flatnonzero(view.encode(document).span_bytes) + 1).tolist())
        shared, pieces, size = shared + len(own & ends), pieces + len(own), size + len(document)
    assert 0.7 * pieces / size < shared / pieces < 1.4 * pieces / size


def test_odd_and_real_documents_come_back(view: ShuffledView) -> None:
    check_documents(view, ODD_DOCUMENTS)
    check_documents(view, real_documents())


def test_a_saved_one_is_the_same_and_a_damaged_one_is_refused(view: ShuffledView, tmp_path) -> None:
    path = tmp_path / "view.shuffled"
    view.save(path)
    again = registry.load(path)
    assert isinstance(again, ShuffledView)
    assert (again.name, again.fingerprint) == (view.name, view.fingerprint)
    assert not CodebookView.recognises(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="cut off or damaged"):
        registry.load(path)
    with pytest.raises(InputError, match="cannot read"):
        ShuffledView.load(tmp_path / "none")


def test_other_lengths_are_another_view(view: ShuffledView) -> None:
    other = ShuffledView.make(CodebookOptions(bits=11), real_documents()[:40])
    assert other.name != view.name
    assert other.fingerprint != view.fingerprint


def test_kind() -> None:
    check_kind(ShuffledView)
