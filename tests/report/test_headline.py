"""The headline picture of a study, and as a file."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.study.fabricated import ARMS, results

from byteproxy.errors import InputError
from byteproxy.report.headline import COLOURS, INK, headline, headline_svg, write_headline

SVG = "{http://www.w3.org/2000/svg}"


def luminance(colour: str) -> float:
    """Of #rrggbb, by WCAG."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("ground", ["#ffffff", "#0d1117"])
def test_the_file_reads_on_white_and_on_dark(ground: str) -> None:
    assert all(contrast(colour, ground) >= 4.3 for colour in (INK, *COLOURS))
    used = set(re.findall(r"#[0-9a-f]{6}", headline_svg(results())))
    assert used <= {INK, *COLOURS}
    assert len(used) == 1 + len(ARMS)
    grid = headline_svg(results()).count("stroke-opacity: 0.25")
    assert grid >= 3, "lines of the grid are fainter than words"


def test_the_file_is_xml_with_every_arm(tmp_path: Path) -> None:
    evil = results()
    evil["arms"] = {f"<{name}>&\x00": arm for name, arm in evil["arms"].items()}
    write_headline(evil, tmp_path / "headline.svg")
    root = ElementTree.parse(tmp_path / "headline.svg").getroot()
    assert root.tag == f"{SVG}svg"
    words = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    for name, arm in evil["arms"].items():
        assert any(word.startswith(name[:7]) for word in words), name
        assert f"{arm['raw_bpb']['mean']:.3f}" in words
    assert any("Fewer is better" in word and "own symbols" in word for word in words)
    # A mark for each arm's name and one for each seed.
    assert len(list(root.iter(f"{SVG}use"))) == 5 + 15


def test_dots_lie_by_their_figures() -> None:
    shown = headline(results())
    assert shown is not None
    root = ElementTree.fromstring(headline_svg(results()))
    lines = [
        node.get("d", "").split() for node in root.iter(f"{SVG}path") if "stroke-width: 3" in node.get("style", "")
    ]
    assert all(line[1] == line[4] for line in lines), "they stand upright"
    bars = [float(line[1]) for line in lines]
    assert len(bars) == len(ARMS)
    means = [row.mean for row in shown.rows]
    scale = (bars[0] - bars[4]) / (means[0] - means[4])
    assert scale > 0
    for bar, mean in zip(bars, means, strict=True):
        assert bar - bars[4] == pytest.approx(scale * (mean - means[4]), abs=0.11)
    ticks = [float(text.text) for text in root.iter(f"{SVG}text") if re.fullmatch(r"\d\.\d\d", text.text or "")]
    assert ticks == sorted(ticks)
    assert len(ticks) >= 3


def test_figures_of_two_sides_are_not_shown_side_by_split() -> None:
    found = results()
    assert {arm["raw_bpb"]["split"] for arm in found["arms"].values()} == {"test"}
    left_out = next(name for name, arm in found["arms"].items() if arm["role"] == "proxy")
    found["arms"][left_out]["raw_bpb"]["split"] = "validation"
    shown = headline(found)
    assert shown is not None
    assert {row.name for row in shown.rows} == set(found["arms"]) - {left_out}
    assert " test text" in shown.title


@pytest.mark.parametrize(("ppmd", "label"), [(2.0, "PPMd 2.000"), (1.2, "← PPMd 1.200"), (9.0, "PPMd 9.000 →")])
def test_a_far_level_is_named_at_the_edge(ppmd: float, label: str) -> None:
    found = results()
    found["compressors"]["test"]["ppmd"] = ppmd
    assert f">{label}<" in headline_svg(found)
    assert ("stroke-dasharray" in headline_svg(found)) == (ppmd == 2.0)


def test_the_file_says_that_there_is_nothing_yet() -> None:
    for empty in ({}, {"arms": None}, {"arms": {"a": {"raw_bpb": None}}}):
        assert "No arm has a figure yet." in "".join(ElementTree.fromstring(headline_svg(empty)).itertext())


def test_the_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        write_headline(results(), tmp_path / "file" / "a.svg")


@given(
    st.lists(st.floats(0.5, 4), min_size=1, max_size=5),
    st.one_of(st.none(), st.floats(0.1, 9)),
)
def test_all_that_is_shown_is_inside(means: list[float], ppmd: float | None) -> None:
    arms = {f"arm{at}": {"raw_bpb": {"mean": mean, "seeds": {"0": mean, "1": None}}} for at, mean in enumerate(means)}
    shown = headline({"arms": arms, "compressors": {"validation": {"ppmd": ppmd}}})
    assert shown is not None
    assert all(shown.low < row.mean < shown.high for row in shown.rows)
    assert all(shown.low <= tick <= shown.high for tick in shown.ticks)
    assert shown.level_inside == (ppmd is not None and shown.low <= ppmd <= shown.high)
