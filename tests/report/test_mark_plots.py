"""The plots of single things: their boxes are in proportion."""

import itertools
import re

import numpy as np
import pytest

from byteproxy.evaluate.corpus.corpus_figures import histogram
from byteproxy.evaluate.mixture_rows import Picture as Rows
from byteproxy.evaluate.mixture_rows import Stretch
from byteproxy.report.corpus_page import length_plot
from byteproxy.report.mark_plots import Dot, scatter
from byteproxy.report.mixture_page import rows_picture


def boxes(svg: str) -> list[tuple[str, float, float, float, str]]:
    """Of each box that says something on hovering: that, its left end, width and height, and its colour."""
    found = re.findall(r"<g><title>(.*?)</title>\s*<path d=\"([^\"]*)\"[^>]*fill: ([^;\"]*)", svg, flags=re.DOTALL)
    measured = []
    for said, path, colour in found:
        numbers = [float(number) for number in re.findall(r"[\d.]+", path)]
        xs, ys = numbers[0::2], numbers[1::2]
        measured.append((said, min(xs), max(xs) - min(xs), max(ys) - min(ys), colour))
    return measured


def test_rows_of_a_mixture_are_to_scale() -> None:
    row = [Stretch(0, 30, 0, 0), Stretch(30, 50, 1, 0), Stretch(50, 90, 1, 1), Stretch(90, 100, -1, 2)]
    svg = rows_picture(Rows(3, ["raw", "a<b"], [row, row], 100, 2)).svg
    wide = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])  # type: ignore[index]
    found = boxes(svg)
    assert len(found) == 8
    assert [box[2] / wide for box in found[:2]] == pytest.approx([0.3, 0.2], abs=0.002)
    assert found[1][4] == found[2][4] != found[0][4]
    assert found[1][0] == "a&lt;b: 20 positions"
    assert found[3][0] == "nothing: 10 positions"
    assert found[2][1] - found[1][1] - found[1][2] > 1, "a document begins"


def test_lengths_of_documents_are_bars_in_proportion() -> None:
    lengths = histogram(np.array([100, 100, 100, 3000]))
    svg = length_plot({"histogram": lengths}).svg
    heights = [box[3] for box in boxes(svg)]
    assert len(heights) == 2 * 6
    assert heights[0] / heights[10] == pytest.approx(3, rel=0.01), "three documents of four"
    assert heights[11] / heights[1] == pytest.approx(10, rel=0.01), "and 300 bytes of 3,300"


def marks(svg):
    """Where the dots are, in the order in which they are drawn: those that say something on hovering."""
    found = re.findall(r"<g><title>.*?</title>.*?<use ([^>]*)/>", svg, flags=re.DOTALL)
    return [tuple(float(re.search(rf'\b{axis}="([\d.]+)"', use)[1]) for axis in "xy") for use in found]


def size(svg):
    """Width and height of a picture."""
    return tuple(map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()))


def test_dots_are_where_their_figures_are():
    svg = scatter("dots", [Dot("one", 0, 0), Dot("two", 5, 1), Dot("three", 2.5, 0.5)], "x", "y").svg
    (x1, y1), (x2, y2), (x3, y3) = marks(svg)
    assert x1 < x2
    assert y1 > y2, "up is more"
    assert (x3, y3) == (pytest.approx((x1 + x2) / 2, abs=0.1), pytest.approx((y1 + y2) / 2, abs=0.1))
    wide, tall = size(svg)
    assert x2 <= wide
    assert y1 <= tall


@pytest.mark.parametrize(
    "points",
    [
        [(1, 0.1)] * 5,
        [(0, 0), (5, 1), (5, 0), (0, 1)],
        [(3 + at / 50, 0.3 + at / 90) for at in range(10)],
        [(0.125, 0.1), (0.25, 0.1), (0.5, 0.1), (1, 0.1), (1, 0.1), (2, 0.49), (3.2, 0.37), (4.7, 0.94)],
    ],
)
def test_labels_meet_neither_each_other_nor_the_edge(points):
    svg = scatter("dots", [Dot(f"codebook:{at}", x, y) for at, (x, y) in enumerate(points)], "x", "y").svg
    labels = [
        (float(x), float(y), len(label))
        for x, y, label in re.findall(r'<text [^>]*x="([\d.-]+)" y="([\d.-]+)"[^>]*>(codebook[^<]*)<', svg)
    ]
    assert len(labels) == len(points)
    for (x1, y1, letters), (x2, y2, _) in itertools.combinations(labels, 2):
        assert abs(y1 - y2) >= 12 or abs(x1 - x2) >= letters * 6.5, (x1, y1, x2, y2)
    wide, tall = size(svg)
    assert all(x >= 0 and x + letters * 6.5 <= wide and 0 < y <= tall for x, y, letters in labels)
