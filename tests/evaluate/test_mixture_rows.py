from xml.etree import ElementTree

import pytest

from byteproxy.evaluate.mixture_rows import Picture, Stretch, cells
from byteproxy.report.mixture import rows_svg

ROW = [Stretch(0, 30, 0, 0), Stretch(30, 50, 1, 0), Stretch(50, 90, 1, 1), Stretch(90, 100, -1, 2)]


def test_cells_say_what_most_of_their_positions_are():
    assert cells(ROW, 100, 10) == [0, 0, 0, 1, 1, None, 1, 1, 1, None]
    assert cells(ROW, 100, 4) == [0, 1, None, None]


def test_no_cell_is_of_no_position():
    row = [Stretch(0, 5, 0, 0), Stretch(5, 8, 1, 1)]
    assert cells(row, 8, 96) == [0, 0, 0, 0, 0, None, 1, 1]


def test_the_drawing_is_to_scale():
    picture = Picture(3, ["raw", "a<b"], [ROW, ROW], 100, 2)
    drawing = ElementTree.fromstring(rows_svg(picture))
    boxes = drawing.findall("rect")
    assert len(boxes) == 8
    assert [float(box.get("width")) for box in boxes[:2]] == pytest.approx([300, 200], abs=2)
    assert boxes[1].get("fill") == boxes[2].get("fill") != boxes[0].get("fill")
    assert boxes[1].find("title").text == "a<b: 20 positions"
    assert boxes[3].find("title").text == "nothing: 10 positions"
    gap = float(boxes[2].get("x")) - float(boxes[1].get("x")) - float(boxes[1].get("width"))
    assert gap > 1, "a document begins"
