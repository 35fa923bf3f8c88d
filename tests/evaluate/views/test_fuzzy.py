"""Figures of fuzziness on strings that are counted by hand, and what compare says of a neural view."""

import numpy as np
import pytest
from tests.neural.models import random_model
from tests.toy_corpus import toy_documents, toy_store

from byteproxy.evaluate.views import view_figures as view_figures
from byteproxy.evaluate.views.fuzzy import fuzzy, neural_figures
from byteproxy.evaluate.views.view_figures import compare, figures, paper_order_holds, stability_order
from byteproxy.evaluate.views.view_terminal import comparison_tables, order_text
from byteproxy.evaluate.views.view_texts import corpus_named
from byteproxy.neural.kind import NeuralKind, NeuralOptions
from byteproxy.neural.predictor import ModelPredictor
from byteproxy.report.views_page import compare_page
from byteproxy.views.raw import RawView

TEXTS = [document.text for document in toy_documents(12)]


def test_shares_counted_by_hand():
    symbol = np.array([3, 3, 3, 8, 9, 9, 2])
    size = np.array([4, 5, 10, 7, 1, 2, 1])
    nodes = np.array([0, 0, 1, 2, 3, 3, 4])  # symbol 3 by strings of 4, 5 and 10 bytes; 8; 9 by one of its two
    assert fuzzy(symbol, size, nodes) == {
        "collision_share": pytest.approx(1 / 3),
        "occurrence_share": pytest.approx(4 / 7),
        "lcp80_share": pytest.approx(1 / 3),  # 4 of 5, but not 4 of 10 nor 5 of 10
        "possible_share": pytest.approx(2 / 4),
    }
    assert fuzzy(symbol, size, nodes[4:6]) == {
        "collision_share": 0.0,
        "occurrence_share": 0.0,
        "lcp80_share": None,
        "possible_share": pytest.approx(2 / 4),
    }
    assert fuzzy(symbol, size, nodes[:0])["collision_share"] is None


@pytest.mark.parametrize("segments", ["none", "walk", "context"])
def test_figures_of_a_neural_view(segments, monkeypatch):
    monkeypatch.setattr(view_figures, "SPEED_SECONDS", 0.01)
    predictor = ModelPredictor(random_model(spread=1.0))
    view = NeuralKind.compiled(predictor, NeuralOptions(12, parts=2, segments=segments), TEXTS)
    found = figures(view, TEXTS)
    assert not found["lossless"]
    assert found["nodes"] == view.nodes
    windows = found["symbols"] / 2
    assert found["code_bits_per_byte"] == pytest.approx(12 * windows / sum(map(len, TEXTS)))
    assert 0 < found["window_bits_per_byte"] < found["code_bits_per_byte"]
    assert 0 < found["fuzzy"]["collision_share"] < 1
    assert 0 < found["fuzzy"]["occurrence_share"] <= 1
    if segments == "none":  # within a factor, as h is one number for all ends
        assert 0.3 < found["nodes"] / found["nodes_estimate"] < 3


def test_other_views_have_none_of_it():
    assert neural_figures(RawView(), TEXTS) == {}


def named(**distances):
    return {name: {"name": f"{name}-1", "stability": {"random_delete": value}} for name, value in distances.items()}


@pytest.mark.parametrize(
    ("distances", "order", "holds"),
    [
        ({"gzip": 0.9, "neural": 0.4, "bpe": 0.3}, ["bpe", "neural", "gzip"], True),
        ({"gzip": 0.9, "neural": 0.4, "bpe": 0.5, "raw": 0.1}, ["raw", "neural", "bpe", "gzip"], False),
        ({"gzip": 0.9, "neural": None, "bpe": 0.5}, ["bpe", "gzip"], None),
        ({}, [], None),
    ],
)
def test_the_papers_order(distances, order, holds):
    measured = named(**distances)
    assert stability_order(measured) == order
    assert paper_order_holds(measured) is holds
    said = order_text({"stability_order": order, "paper_order_holds": holds})
    assert ("confirmed" in said) == (holds is True)
    assert ("contradicted" in said) == (holds is False)


def test_compare_shows_it(tmp_path, monkeypatch):
    monkeypatch.setattr(view_figures, "SPEED_SECONDS", 0.01)
    monkeypatch.setattr(
        "byteproxy.evaluate.views.view_texts.near_duplicates", lambda documents, *_: np.zeros(len(documents))
    )
    toy_store(tmp_path / "corpus")
    predictor = ModelPredictor(random_model(spread=1.0))
    NeuralKind.compiled(predictor, NeuralOptions(12), TEXTS).save(tmp_path / "a.neural")
    specs = ["bpe:300", str(tmp_path / "a.neural"), "gzip"]
    results = compare(specs, corpus_named(str(tmp_path / "corpus")), max_bytes=20_000)
    assert sorted(results["stability_order"]) == sorted(specs)
    assert results["paper_order_holds"] in (True, False)
    assert {"bytes_per_symbol", "nodes", "compile_seconds", "fuzzy"} <= results["views"][specs[1]].keys()
    assert len(comparison_tables(results)) == 3
    assert "Neural views" in compare_page(results)
