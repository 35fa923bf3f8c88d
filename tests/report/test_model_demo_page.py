"""The page of the demo with a model: every figure is on it, nothing missing breaks it, whoever wins."""

import json
from typing import Any

import pytest
from tests.report import missing_fields
from tests.report.parsed_page import NBSP, Page
from tests.report.test_conversion_page import results as conversion_results

from byteproxy.report.model_demo_page import model_demo_page


def results() -> dict[str, Any]:
    """What `byteproxy demo --json` prints, small."""
    conversion = conversion_results()
    conversion["export"]["files"] = {"config.json": 531, "model.safetensors": 426_318_704}
    cuts = [
        {"prompt": "x\n  import collec", "rest": "tions", "drawn": False, "before": "ting", "after": "tions as c"},
        {"prompt": "a direc", "rest": "tory", "drawn": True, "before": "tory", "after": "tion</td><b>", "scratch": "t"},
    ]
    for cut in cuts:
        cut.setdefault("scratch", "")
    return {
        "byteproxy": "0.1.0",
        "machine": {"processor": "Some CPU", "cores": 2, "python": "3.11.7", "torch": "2.13.0"},
        "seed": 0,
        "minutes": 6.0,
        "held_out": "text of <i>ours</i>",
        "convert": {
            **{"raw_bpb_before": 8.171, "raw_bpb_after": 1.873, "token_bpb": 1.346, "token_bpb_after": 1.371},
            **{"scratch_raw_bpb": 2.713, "flops": 3.1e13, "scratch_flops": 3.2e13, "seconds": 151.0},
            **{"scratch_seconds": 232.0, "positions": 44_000, "scratch_positions": 2_270_000},
        },
        "conversion": conversion,
        "scratch": {
            **{"raw_bpb": 2.713, "text_bytes_seen": 2_250_000, "parameters": 1_870_000},
            "validation": [
                {"step": 70 * at, "flops": 4e12 * at, "seconds": 29.0 * at, "raw_bpb": 2.7 + 1 / at}
                for at in range(1, 9)
            ],
        },
        "samples": [{"prompt": "def f(", "before": "x):", "after": "y)<i>:", "scratch": "self"}],
        "cuts": {
            "given": {"cuts": 1, "before": 0, "after": 1, "scratch": 0},
            "drawn": {"cuts": 32, "before": 5, "after": 11, "scratch": 7},
            "written": cuts,
        },
        "verdict": "It needed 8.171 bits and needs 1.873.",
        "seconds": 540.1,
        "report": "runs/demo/report.html",
    }


@pytest.fixture(scope="module")
def full() -> str:
    return model_demo_page(results())


def test_shows_each_figure(full: str) -> None:
    shown = Page(full).text.replace(NBSP, " ")
    for figure in (
        "8.171", "1.873", "1.346", "1.371", "2.713", "3.10 × 10¹³", "3.20 × 10¹³", "2.5 min", "3.9 min", "44.0 k",
        "2.27 M", "2.25 MB", "1.87 M", "106 M", "text of <i>ours</i>", "0 of 1", "11 of 32", "3.2 %", "It needed 8.171",
        "config.json and model.safetensors", "Some CPU", "2.13.0", "ceiling 1.35", "from scratch 2.83", "9.0 min",
    ):  # fmt: skip
        assert figure in shown, figure
    assert Page(full).count("svg") == 2


def test_a_cut_word_is_marked_where_its_rest_came(full: str) -> None:
    page = Page(full)
    assert page.text.count("✓") == 1 + 2, "one in the text that explains it"
    assert "import collections" in page.text, "the rest stands behind the prompt's last line"
    assert "tion</td><b>" in page.text


def test_nothing_foreign_is_asked_for_or_obeyed(full: str) -> None:
    page = Page(full)
    assert page.count("script") == page.count("img") == 0
    assert page.count("i") == Page(full.replace("&lt;", "")).count("i")
    addresses = [str(own["href"]) for _, own in page.elements if "href" in own]
    assert {one for one in addresses if not one.startswith(("#", "data:"))} == {
        "convert/report.html",
        "convert/run/report.html",
    }


@missing_fields.ODD
def test_survives_each_missing_field(value: object) -> None:
    missing_fields.survives(model_demo_page, results(), value)


def test_an_empty_result_is_a_page_and_a_full_one_has_its_json(full: str) -> None:
    assert Page(model_demo_page({})).count("svg") == 0
    shown = Page(full).text
    assert json.loads(shown[shown.index("{\n") :]) == results()
