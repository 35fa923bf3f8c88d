"""The compiled view against the oracle, its contract, and its file."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.views.contract import ODD_DOCUMENTS, check_identity, documents
from tests.views.neural_oracle import Rereading, packed, strings_behind, windows, written
from tests.views.predictors import Hashed

from byteproxy.errors import InputError
from byteproxy.views import neural_view
from byteproxy.views.artefact import from_content, to_content
from byteproxy.views.coder import Code
from byteproxy.views.neural_tree import expanded
from byteproxy.views.neural_view import Compiled, NeuralView
from byteproxy.views.segments import Thresholds

PREDICTORS = [Hashed(0, 12, 0.95), Hashed(1, 16, 0.6), Hashed(2, 10, 0.999)]
CODES = [Code(13, 12), Code(12, 16), Code(12, 10)]
TREES = [expanded(Rereading(one), code) for one, code in zip(PREDICTORS, CODES, strict=True)]
VIEWS = [
    NeuralView(tree, Compiled(code, one.fingerprint, parts, raw=raw))
    for tree, code, one, parts, raw in zip(TREES, CODES, PREDICTORS, (1, 2, 3), (0, 0, 3), strict=True)
]
few_bytes = st.lists(st.integers(0, 9), max_size=200).map(bytes)


@given(st.one_of(documents.map(lambda text: text[:200]), few_bytes), st.lists(st.integers(1, 199), max_size=8))
@settings(max_examples=12)
def test_it_is_the_oracle(document, places):
    cuts = sorted({place for place in places if place < len(document)})
    for view, predictor in zip(VIEWS, PREDICTORS, strict=True):
        about = view.about
        expected = windows(document, cuts, predictor, about.code)
        symbols, spans = view.between(document, np.array(cuts, np.int64))
        own = written(document, expected, about.code.bits // about.parts, about.parts, about.raw)
        assert list(zip(symbols.tolist(), spans.tolist(), strict=True)) == own
        if about.raw == 0:
            each = [packed(window.symbol, about.code.bits, about.parts) for window in expected]
            assert symbols.tolist() == [symbol for window in each for symbol in window]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_the_contract_of_a_fuzzy_view(view):
    check_identity(view)
    batch = view.encode_batch(ODD_DOCUMENTS)
    for document, (symbols, spans) in zip(ODD_DOCUMENTS, batch, strict=True):
        assert symbols.dtype == np.uint16
        assert spans.dtype == np.uint32
        assert len(symbols) == len(spans)
        assert spans.sum() == len(document)
        assert symbols.max(initial=0) < view.alphabet_size
        for ours, alone in zip((symbols, spans), view.encode(document), strict=True):
            assert np.array_equal(ours, alone)
    with pytest.raises(ValueError, match="fuzzy"):
        view.decode(batch[-1].symbols)


def test_names_say_what_differs():
    assert [view.name for view in VIEWS] == ["neural-13", "neural-12-2", "neural-12-3-raw3"]
    assert [view.alphabet_size for view in VIEWS] == [1 << 13, 1 << 6, (1 << 4) + 258]


@pytest.mark.parametrize("at", range(len(VIEWS)))
def test_what_stands_behind_a_symbol(at):
    view, predictor = VIEWS[at], PREDICTORS[at]
    used = np.unique(view.tree.symbol)
    for symbol in [*used[:: len(used) // 15].tolist(), *range(0, 1 << view.about.code.bits, 997)]:
        behind = view.strings_of(symbol)
        assert behind == strings_behind(symbol, predictor, view.about.code)
        assert all(longer.startswith(shorter) for shorter, longer in pairwise(behind))


def test_what_stands_behind_a_raw_stretch():
    view = NeuralView(TREES[0], replace(VIEWS[0].about, raw=64))
    document = b"raw bytes"
    symbols, spans = view.encode(document)
    strings = [view.strings_of(symbol) for symbol in symbols.tolist()]
    assert strings == [[b""], *([bytes([byte])] for byte in document), [b""]]
    assert spans.tolist() == [0, *[1] * 8, 0, 1]


def test_the_fingerprint_changes_with_what_changes_the_output():
    tree, about = TREES[0], VIEWS[0].about
    same = [about, replace(about, model="another")]
    other = [replace(about, parts=13), replace(about, context=Thresholds("global", 1.0, 2.0), segments="context")]
    assert {NeuralView(tree, one).fingerprint for one in same} == {VIEWS[0].fingerprint}
    found = {NeuralView(tree, one).fingerprint for one in other} | {view.fingerprint for view in VIEWS}
    assert len(found) == 5
    moved = tree._replace(symbol=tree.symbol[::-1].copy())
    assert NeuralView(moved, about).fingerprint not in found


def test_a_file_gives_the_view_back(tmp_path):
    about = replace(VIEWS[1].about, segments="context", context=Thresholds("either", 1.5, 0.25))
    view = NeuralView(TREES[1], about, b"weights")
    path = tmp_path / "view.neural"
    view.save(path)
    assert NeuralView.recognises(path)
    tree, read, weights = NeuralView.opened(path)
    assert read == about
    assert weights == b"weights"
    again = NeuralView(tree, read, weights)
    assert again.fingerprint == view.fingerprint
    for one, other in zip(again.tree, view.tree, strict=True):
        assert np.array_equal(one, other)
    with pytest.raises(InputError, match="by a model pass"):
        again.encode(b"text")


def test_a_file_that_says_how_long_expanding_took_is_read(tmp_path):
    """As files of earlier versions do; no later one does, so that the same view is the same file."""
    path = tmp_path / "view.neural"
    VIEWS[0].save(path)
    tensors, said = from_content(path.read_bytes(), neural_view.FORMAT, path)
    about = json.loads(said["about"])
    assert "compile_seconds" not in about
    said = {"name": said["name"], "about": json.dumps({**about, "compile_seconds": 2.5})}
    path.write_bytes(to_content(neural_view.FORMAT, tensors, said))
    assert NeuralView.opened(path)[1] == VIEWS[0].about


def test_files_that_are_refused(tmp_path):
    path = tmp_path / "view.neural"
    VIEWS[0].save(path)
    content = path.read_bytes()

    def refused(changed, said):
        path.write_bytes(changed)
        with pytest.raises(InputError, match=said):
            NeuralView.opened(path)

    refused(content[:-10], "cut off or damaged")
    refused(b"", "cut off or damaged")
    refused(content[:-1] + bytes([content[-1] ^ 1]), "checksum is wrong")
    refused(content.replace(b"byteproxy-neural", b"byteproxy-wooden"), "no neural view")
    tensors = safetensors.numpy.load(content)
    metadata = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
    refused(safetensors.numpy.save(tensors, {**metadata, "version": "7"}), "of version 7, but this byteproxy reads")
    assert NeuralView.recognises(path)
    with pytest.raises(InputError, match="cannot read"):
        NeuralView.opened(tmp_path / "absent")
    assert not NeuralView.recognises(tmp_path / "absent")


def test_more_strings_than_the_walk_has_numbers_for(monkeypatch):
    monkeypatch.setattr(neural_view, "MAX_NODES", 100)
    with pytest.raises(InputError, match="give fewer bits"):
        NeuralView(TREES[0], VIEWS[0].about)
