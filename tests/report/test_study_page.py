"""The page of a study: every figure is on it, nothing on it asks the network, and nothing missing breaks it."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.cli.commands import keeps_to_itself
from tests.report.parsed_page import NBSP, Page
from tests.study.fabricated import ARMS, BUDGETS, SEEDS, results

from byteproxy.report import line_plots
from byteproxy.report.lenient import colours
from byteproxy.report.multiplier_plots import shown_multipliers
from byteproxy.report.page import Picture, listed
from byteproxy.report.study_page import study_page, write_study_page
from byteproxy.report.study_plots import trend_of
from byteproxy.report.study_rows import differences, interval, once, trials
from byteproxy.study.transfer_words import NO_CURVE
from byteproxy.study.units import DASH, signed, took

FULL = results()
NO_PICTURE = Picture("<svg></svg>", "a", ("x",), [])


class Read(Page):
    """As of a demo's page; pages of studies have inputs and places to break a line."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        super().handle_starttag(tag, attrs)


@pytest.fixture(scope="module")
def full() -> str:
    return study_page(FULL)


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_plots, "curves", lambda *_: NO_PICTURE)
    monkeypatch.setattr(line_plots, "trend", lambda *_: NO_PICTURE)


def without_plots(found: dict[str, Any]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line_plots, "curves", lambda *_: NO_PICTURE)
        patch.setattr(line_plots, "trend", lambda *_: NO_PICTURE)
        return study_page(found)


def shown(html: str) -> str:
    return Read(html).text.replace(NBSP, " ")


def test_shows_every_arm_and_figure(full: str) -> None:
    text = shown(full)
    json_at = text.index("All figures as JSON")
    tables = text[:json_at]
    for name, arm in FULL["arms"].items():
        assert arm["about"] in tables
        for seed in arm["raw_bpb"]["seeds"].values():
            assert f"{seed:.4f}" in tables, name
        assert f"{arm['raw_bpb']['mean']:.4f}" in tables
        assert f"{arm['validation_bpb']['mean']:.4f}" in tables
    for figure in (
        FULL["about"], FULL["verdict"], "study_small", "1.20 × 10¹³", "2.90 MB", "9.28 MB", "790 kB", "3.6 min",
        "PPMd 1.68", "1.9800", "3f9a01c2d4e5", "Some CPU", "bfloat16", "28.4 MB", "1,610", "190", "0, 1, 2",
        "300 kB of validation text (61 documents)", "1.00 MB of test text (173 documents)", "3 × (2 × parameters",
        "148 runs are done, 2 are left, 1 failed", "codebook 3m 1.2e+13 7: ran out of <memory>", "2026-01-02T03:04:05Z",
        "proxy against bytes", "6 at each size, each of 3.00 × 10¹² FLOPs", "differ by at most 0.20 %",
    ):  # fmt: skip
        assert figure in tables, figure


def test_shows_each_cell_and_difference(full: str) -> None:
    text = shown(full)
    for cell in FULL["cells"]:
        assert f"{cell['mean']:.4f}" in text
    for entry in once(FULL, FULL["differences"]):
        assert signed(entry["bpb"], 4) in text
        assert f"{signed(entry['low'], 4)} to {signed(entry['high'], 4)}" in text
        assert f"{signed(entry['documents']['low'], 4)} to {signed(entry['documents']['high'], 4)}" in text


def test_keeps_to_itself(full: str) -> None:
    assert keeps_to_itself(full)
    page = Read(full)
    assert page.count("script") == page.count("img") == page.count("iframe") == 0
    assert re.findall(r"url\((?!#)", full) == []
    assert len(page.ids()) == len(set(page.ids()))
    assert set(re.findall(r"var\((--\w+)\)", full)) <= set(re.findall(r"(--\w+):", full))
    svgs = "".join(re.findall(r"<svg.*?</svg>", full, flags=re.DOTALL))
    assert re.findall(r"#[0-9a-f]{6}\b", svgs) == []
    assert len(full) < 1_500_000


def test_draws_curves_and_gains(full: str) -> None:
    page = Read(full)
    # Four measures; four arms against bytes and three against the control, over two axes; multipliers of three arms at
    # two sizes; the headline twice.
    assert page.count("svg") == 4 + 2 * (4 + 3) + 3 * 2 + 2
    for name, arm in FULL["arms"].items():
        own = "*" if arm["scored"] == "view" else ""
        assert page.text.count(f"{name}{own} {arm['raw_bpb']['mean']:.3f}") >= 4
    assert page.text.count("PPMd 1.77") == 4


def test_same_results_same_bytes(tmp_path: Path, full: str) -> None:
    write_study_page(copy.deepcopy(FULL), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_bytes() == full.encode()


def renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): renamed(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [renamed(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def test_escapes_what_the_results_say() -> None:
    evil = "<script>alert('1')</script>\"&\x00"
    names = {name: f"{evil}{at}" for at, name in enumerate((*ARMS, "3m", "codebook-4096", "project0", "test"))}
    found = renamed(FULL, names) | {"study": evil, "about": evil, "verdict": evil, "machine": {evil: evil}}
    page = study_page(found)
    assert "<script" not in page
    assert "\x00" not in page
    assert Read(page).count("script") == 0
    assert Read(page).text.count("<script>alert('1')</script>\"&\N{SYMBOL FOR NULL}") >= 30


def holders(value: Any) -> list[tuple[Any, Any]]:
    """Each place of nested results, as (container, key); of a list its first entries."""
    if isinstance(value, dict):
        inner: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value[:2]))
    else:
        return []
    return [place for key, held in inner for place in ((value, key), *holders(held))]


SMALL = results()
SMALL["runs"] = [run for run in SMALL["runs"] if run["size"] == "3m" and run["flops_asked"] == BUDGETS[-1]][:4]
for run in SMALL["runs"]:
    run["curve"] = run["curve"][:3]
for name, many in (("cells", 4), ("differences", 4), ("m", 4), ("fits", 2), ("trials", 4)):
    SMALL[name] = SMALL[name][-many:]
for document in SMALL["viewer"]:
    document["text"] = document["text"][:30]
ODD = st.sampled_from([None, [], {}, "", "x", 0, -1, float("nan"), float("inf"), True, [None], {"a": None}, 1e308])


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_survives_whatever_is_missing_or_odd(data: st.DataObject) -> None:
    found = copy.deepcopy(SMALL)
    places = holders(found)
    for at in data.draw(st.lists(st.integers(0, len(places) - 1), min_size=1, max_size=12, unique=True)):
        container, key = places[at]
        if isinstance(container, dict) and data.draw(st.booleans()):
            container.pop(key, None)
        elif isinstance(container, dict) or key < len(container):
            container[key] = data.draw(ODD)
    page = without_plots(found)
    text = Read(page).text
    assert not re.search(r"\bnan\b|\binf\b", text[: text.index("All figures as JSON")])


@pytest.mark.parametrize("value", [None, "absent", [], {}], ids=repr)
def test_survives_each_part_missing(value: Any, no_plots: None) -> None:
    for key in SMALL:
        found = {name: held for name, held in SMALL.items() if name != key}
        if value != "absent":
            found[key] = value
        page = Read(study_page(found))
        assert page.count("h2") == 9
        assert "None" not in page.text[: page.text.index("All figures as JSON")], key


def test_odd_figures_reach_the_plots_safely() -> None:
    found = copy.deepcopy(SMALL)
    found["runs"][0]["curve"] = [{"flops": 0.0, "raw_bpb": 2.0}]
    found["runs"][1]["curve"][0]["raw_bpb"] = None
    found["fits"][0] |= {"slope": None, "vanishes_at": 1e300}
    found["fits"][1] |= {"at_largest": None, "low": None}
    found["fits"][1]["points"] = [found["fits"][1]["points"][0], {"x": -1, "gap": 1}, {"x": 3, "gap": None}]
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", study_page(found), flags=re.DOTALL))


def test_an_empty_study_is_a_page_of_sentences() -> None:
    text = shown(study_page({}))
    for sentence in (
        "No arm has a figure yet.", "No two arms can be compared yet.", "No run has a curve yet.",
        "No arm can be compared with raw bytes yet.",
        "The runs of the main cell are not all done yet.", "There are too few sizes and budgets yet",
        "No run is done yet.", "There were no trials", "There are no excerpts yet.", "It has not been opened.",
    ):  # fmt: skip
        assert sentence in text, sentence


def test_a_study_without_a_main_cell_shows_the_fullest_one(no_plots: None) -> None:
    found = FULL | {"main": None, "runs": [run for run in FULL["runs"] if run["size"] == "1m" or run["seed"] == 0]}
    page = shown(study_page(found))
    assert "Size 1m, 1.20 × 10¹³ FLOPs. Bits per byte of 50.0 kB of validation text" in page


def test_holds_the_results_as_valid_json_without_excerpts_and_curves(full: str) -> None:
    text = Read(full).text
    held = json.loads(text[text.index("{\n") :])
    assert "viewer" not in held
    assert held["runs"][0] == {key: value for key, value in FULL["runs"][0].items() if key != "curve"}
    assert held["differences"] == FULL["differences"]


def test_only_finished_studies_say_nothing_of_what_is_left(no_plots: None) -> None:
    assert "Not finished" in study_page(FULL)
    assert "Not finished" not in study_page(FULL | {"queue": {"done": 150, "left": 0, "failed": []}})


def test_the_main_cell_comes_first_and_each_pair_once(full: str) -> None:
    first, rest = differences(FULL)
    assert (len(first), len(rest)) == (7, 7 * (2 * 3 * 2 - 1))
    said = [f"{one['arm']} against {one['against']}" for one in first]
    assert "multi_byte against bytes" in said
    assert "bytes against multi_byte" not in {f"{one['arm']} against {one['against']}" for one in (*first, *rest)}
    assert said.index("codebook against bytes") < said.index("codebook against multi_byte")
    text = shown(full)
    assert "At other sizes and budgets, and on the other split (77)" in text
    assert text.index("codebook against bytes") < text.index("At other sizes") < text.index("Below zero: the first arm")


def test_each_multiplier_once_with_its_bounds_and_reasons(full: str) -> None:
    text = shown(full)
    once_each = shown_multipliers(FULL)
    assert len(once_each) == 4 * 2 * 3
    assert {one["split"] for one in once_each} == {"test"}
    for one in once_each:
        if one["m"] is not None:
            assert f"{one['low']:.2f} to {one['high']:.2f}" in text
    for said in (
        "> 4.14", "better than bytes at any budget", "above 4.02", "its bits are those of its symbols",
        "From 3e+12 to 6e+12 FLOPs m rises by 110 % a doubling", "over seeds and documents: 1.80 to 2.30).",
    ):  # fmt: skip
        assert said in text, said


def test_a_study_without_several_budgets_of_bytes_says_so(no_plots: None) -> None:
    one_budget = [entry | {"budgets": 1} for entry in FULL["m"]]
    assert f"No multiplier: {NO_CURVE}." in shown(study_page(FULL | {"m": one_budget}))


def test_odd_multipliers_reach_the_plots_safely(no_plots: None) -> None:
    odd = [{"arm": "a", "size": "s", "flops": flops, "m": m, "low": 1e308, "high": 2} for flops, m in (
        (1.0, 2.0), (1.0, 0.0), (1e99, 1e300), (-1, 2.0), (4.0, float("nan")), (8.0, 3.0),
    )]  # fmt: skip
    page = study_page({"m": odd, "m_trends": [{"arm": "a", "size": "s", "from": 1, "to": 1.1, "ratio": 1e308}]})
    assert Read(page).count("svg") == 4 + 1, "the four curves are empty ones"
    assert "nan" not in "".join(re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL))


def test_intervals_that_include_zero_are_grey() -> None:
    assert interval({"low": -0.2, "high": -0.1}, 2) == "−0.20 to −0.10"
    assert interval({"low": -0.2, "high": 0.1}, 2) == "<span class=quiet>−0.20 to +0.10</span>"
    assert interval({"high": 0.1}, 2) == DASH
    assert [signed(value, 1, "%") for value in (-0.04, 0.04, 0.0, -1)] == [f"0.0{NBSP}%"] * 3 + [f"−1.0{NBSP}%"]
    assert [took(value).replace(NBSP, " ") for value in (7, 240, 7200, None)] == ["7 s", "4.0 min", "2.0 h", DASH]


def test_trials_tell_where_the_best_rate_is_the_last_that_was_tried(full: str, no_plots: None) -> None:
    assert trials(FULL).ends == {}
    assert "may be better still" not in full
    few = [entry for entry in FULL["trials"] if entry["arm"] == "bytes" or entry["learning_rate"] != 0.005]
    few = [entry for entry in few if entry["arm"] != "bytes" or entry["learning_rate"] != 0.02]
    few = [entry for entry in few if entry["size"] == "3m" and entry["arm"] in ("bytes", "codebook", "bpe_only")]
    assert trials(FULL | {"trials": few}).ends == {"largest": ["bytes"], "smallest": ["codebook", "bpe_only"]}
    text = shown(study_page(FULL | {"trials": few}))
    assert "The smallest rate of those tried was best for codebook and bpe_only; one beyond it may be better" in text


def test_trials_mark_what_was_chosen_and_tell_unequal_counts(full: str, no_plots: None) -> None:
    assert full.count("<b class=chosen>") == 5 * 2
    found = trials(FULL)
    assert len(found.lines) == 5 * 2
    assert all(len(line) == len(found.columns) == 2 * 3 for _, _, line in found.lines)
    assert DASH not in shown(full).partition("Every arm had the same trials")[2].partition("Byte by byte")[0]
    fewer = [entry for entry in FULL["trials"] if entry["arm"] != "bytes" or entry["sequences_per_step"] == 32]
    text = shown(study_page(FULL | {"trials": fewer}))
    assert "had the same trials" not in text
    assert "bytes 3 at 1m" in text
    assert "codebook 6 at 3m" in text


def test_says_how_sides_were_split(no_plots: None) -> None:
    for ways, said in (
        (["project"], "split by project."),
        (["file", "project"], "split by file and project."),
        ([], "Three splits."),
    ):
        text = shown(study_page(FULL | {"corpus": FULL["corpus"] | {"split_by": ways}}))
        assert said in text
        assert ("projects that no run was trained on" in text) == (ways == ["project"])


def test_the_band_is_that_of_least_squares() -> None:
    """Against numpy's own line and the textbook's half-width."""
    fit = FULL["fits"][0]
    trend = trend_of(fit, 3)
    assert trend is not None
    u, y = np.log2([point["x"] for point in fit["points"]]), np.array([point["gap"] for point in fit["points"]])
    slope, offset = np.polyfit(u, y, 1)
    noise = np.sqrt(((y - slope * u - offset) ** 2).sum() / (len(u) - 2)) * stats.t.ppf(0.975, len(u) - 2)
    for x, middle, low, high in trend.line:
        at = np.log2(x)
        half = noise * np.sqrt(1 / len(u) + (at - u.mean()) ** 2 / ((u - u.mean()) ** 2).sum())
        assert middle == pytest.approx(slope * at + offset, abs=1e-6)
        assert (low, high) == pytest.approx((middle - half, middle + half), abs=2e-3)
    assert trend.line[0][0] == pytest.approx(min(point["x"] for point in fit["points"]))
    assert trend.beyond == (fit["vanishes_at"], 0.0)
    assert len(trend.x) == len(BUDGETS) * len(SEEDS)


def test_roles_have_their_own_colours() -> None:
    given_ = colours(FULL["arms"])
    assert given_ == {"bytes": 0, "multi_byte": 2, "codebook": 1, "bpe_proxy": 4, "bpe_only": 3}
    many = colours({f"arm{at}": {"role": "proxy" if at % 2 else None} for at in range(12)})
    assert sorted(list(many.values())[:8]) == list(range(8))
    assert len(many) == 12


def test_listed() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], "abc")] == ["", "a", "a and b", "a, b and c"]
