from byteproxy.evaluate.mixture_rows import Stretch, cells

ROW = [Stretch(0, 30, 0, 0), Stretch(30, 50, 1, 0), Stretch(50, 90, 1, 1), Stretch(90, 100, -1, 2)]


def test_cells_say_what_most_of_their_positions_are():
    assert cells(ROW, 100, 10) == [0, 0, 0, 1, 1, None, 1, 1, 1, None]
    assert cells(ROW, 100, 4) == [0, 1, None, None]


def test_no_cell_is_of_no_position():
    row = [Stretch(0, 5, 0, 0), Stretch(5, 8, 1, 1)]
    assert cells(row, 8, 96) == [0, 0, 0, 0, 0, None, 1, 1]
