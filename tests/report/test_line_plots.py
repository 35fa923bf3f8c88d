"""Curves over what was spent, and trends: points, bands, names that stand apart, units that read well."""

import itertools
import math
import re

import pytest

from byteproxy.report.drawing import spread
from byteproxy.report.line_plots import Level, Line, Trend, curves, over, smoothed, trend, unit_of


def paths(svg: str) -> list[str]:
    return re.findall(r"<path d=\"([^\"]*)\"", svg)


def test_seeds_are_drawn_behind_their_mean() -> None:
    x, seeds = [1.0, 2.0, 3.0], [([1.0, 2.0, 3.0], [3.0, 2.5, 2.0]), ([1.0, 2.0, 3.0], [2.0, 1.5, 1.0])]
    without = curves("a", [Line("arm", 1, x, [2.5, 2.0, 1.5])], [], "x", "y").svg
    with_seeds = curves("a", [Line("arm", 1, x, [2.5, 2.0, 1.5], behind=seeds)], [], "x", "y").svg
    assert len(paths(with_seeds)) == len(paths(without)) + 2
    # With seeds behind it only the end of the mean is marked.
    assert with_seeds.count("<use ") == without.count("<use ") - 2


def test_a_trend_has_points_line_band_and_what_lies_beyond() -> None:
    x, y = [1e12, 1e12, 4e12, 4e12], [-4.0, -4.2, -2.0, -2.2]
    line = [(1e12, -4.1, -4.5, -3.7), (4e12, -2.1, -2.5, -1.7)]
    bare = trend("a", Trend(1, x, y), 1e12, "FLOPs", "%").svg
    lined = trend("a", Trend(1, x, y, line), 1e12, "FLOPs", "%").svg
    beyond = trend("a", Trend(1, x, y, line, (1.6e13, 0.0)), 1e12, "FLOPs", "%").svg
    assert bare.count("<use ") == 4
    assert "var(--arm1)" in bare
    assert len(bare) < len(lined) < len(beyond)
    assert len(paths(beyond)) == len(paths(lined)) + 1
    for label in ("1", "4", "16"):
        assert f">{label}</text>" in beyond
    assert ">16</text>" not in lined


@pytest.mark.parametrize("x", [[1e12], [1e-9, 1e15], [5.0, 5.0]], ids=repr)
def test_degenerate_trends(x: list[float]) -> None:
    svg = trend("<name>", Trend(9, x, [math.pi] * len(x)), 1.0, "x", "difference to <b> (%)").svg
    assert "nan" not in svg
    assert "<b>" not in svg


def test_ticks_of_a_trend_stand_apart() -> None:
    xs = [1e12 * (1 + at / 50) for at in range(40)]
    svg = trend("a", Trend(0, xs, [50.0] * 40), 1e12, "x", "y").svg
    labels = [found for found in re.findall(r">([\d.]+)</text>", svg) if float(found) < 2]
    assert 4 <= len(labels) <= 8


def test_a_plot_takes_its_colours_from_the_page_and_repeats_itself() -> None:
    lines = [Line("one", 0, [1, 2, 3], [3.0, 2.0, 1.5]), Line("other", 9, [1, 2, 3], [4.0, 2.5, 1.0], smooth=True)]
    picture = curves("name", lines, [], "steps", "loss").svg
    assert picture == curves("name", lines, [], "steps", "loss").svg
    assert picture.startswith('<svg viewBox="')
    assert "var(--arm0)" in picture
    assert "var(--arm9)" in picture
    assert "#0" not in picture.replace('href="#', "").replace("url(#", "")
    assert ">other<" in picture
    assert "stroke-dasharray" in picture


def test_smoothing_keeps_level_and_ends() -> None:
    assert smoothed([3.0] * 50) == [3.0] * 50
    line = [float(at) for at in range(100)]
    assert smoothed(line) == pytest.approx(line)
    assert smoothed([1.0]) == [1.0]


def test_labels_stand_apart() -> None:
    heights = spread([0.1, 0.11, 0.5, 0.97, 0.99], 0.08)
    assert all(after - before >= 0.08 - 1e-12 for before, after in itertools.pairwise(heights))
    assert heights[2] == 0.5
    assert heights[-1] <= 1.0


@pytest.mark.parametrize("y", [[2.0], [0.0, 0.0], [1e9, 1e-9]], ids=repr)
def test_plots_degenerate_series(y: list[float]) -> None:
    for smooth in (False, True):
        picture = curves(
            "one", [Line("日本 <b>", 9, [0.0] * len(y), y, smooth=smooth)], [Level("xz", 2.0)], "x", "y"
        ).svg
        assert "日本 &lt;b&gt;" in picture
        assert "nan" not in picture


def test_a_level_far_from_all_lines_does_not_flatten_them() -> None:
    lines = [Line("a", 0, [10, 20, 30], [1.0, 0.95, 0.9])]
    near = curves("a", lines, [Level("PPMd 0.98", 0.98)], "x", "y").svg
    assert ">PPMd 0.98<" in near
    assert "↑" not in near
    for y, label in ((9.0, "PPMd ↑"), (0.1, "PPMd ↓")):
        far = curves("a", lines, [Level("PPMd", y)], "x", "y").svg
        assert f">{label}<" in far
        ticks = [float(text) for text in re.findall(r">(\d\.\d+)<", far)]
        assert ticks
        assert 0.8 < min(ticks) <= max(ticks) < 1.1


def test_lines_over_what_was_spent_are_in_its_unit() -> None:
    lines = [Line("a", 0, [1e9, 2e9], [2.0, 1.0], behind=[([1e9, 2e9], [2.1, 1.1])]), Line("none", 1, [], [])]
    found = over("text_bytes", "bits", lines, [], "bits per byte")
    assert found.columns == ("series", "text seen (GB)", "bits per byte")
    assert [row[:2] for row in found.rows] == [("a", 1.0), ("a", 2.0), ("a, seed 1", 1.0), ("a, seed 1", 2.0)]
    assert over("flops", "bits", lines[1:], [], "y").svg == ""


def test_units_of_axes() -> None:
    assert unit_of("flops", 2.9e13) == (1e13, "training FLOPs (10¹³)")
    assert [unit_of("seconds", value)[0] for value in (0.0, 181, 1000, 1e5, 1e6)] == [1, 1, 60, 3600, 86400]
    assert unit_of("wall_seconds", 1000.0)[1] == "wall time (minutes)"
    assert unit_of("positions", 2e7) == (1e6, "positions (10⁶)")
    assert unit_of("parameters", 7.0) == (1, "parameters")
