import numpy as np
import pytest
from hypothesis import given, settings
from tests.store.toys import HUNDREDS, LINES, TEXTS, WORDS, Nibbles, Pieces

from byteproxy.store.anchors import anchors_of
from byteproxy.views.base import Encoded
from byteproxy.views.raw import RawView

THOUSANDS = Pieces(rb".{1,1000}|x", "thousands")
VIEWS = [RawView(), WORDS, LINES, HUNDREDS, THOUSANDS, Nibbles()]


def slow_anchors(text: bytes, encoded: Encoded) -> list[tuple[int, int]]:
    """The rule as it is written down, with sets and lists."""
    boundaries = [(0, 0)]
    at = 0
    for symbol, span in enumerate(encoded.span_bytes.tolist(), start=1):
        at += span
        if span:
            boundaries.append((at, symbol))
    end = (len(text), len(encoded.symbols))
    anchors = [(0, 0)]
    while len(text) - anchors[-1][0] > 256:
        previous = anchors[-1][0]
        cell = [pair for pair in boundaries if previous < pair[0] <= previous + 256]
        line_ends = [pair for pair in cell if text[pair[0] - 1 : pair[0]] == b"\n"]
        if line_ends and line_ends[-1][0] >= previous + 128:
            anchors.append(line_ends[-1])
        elif cell:
            anchors.append(cell[-1])
        else:
            anchors.append(next(pair for pair in boundaries if pair[0] > previous))
    if anchors[-1][0] == len(text) > 0:
        anchors.pop()
    return anchors + [end] * (end != (0, 0))


def anchors_through(view: object, text: bytes) -> list[tuple[int, int]]:
    encoded = view.encode(text)  # type: ignore[attr-defined]
    at_bytes, at_symbols = anchors_of(np.frombuffer(text, dtype=np.uint8), encoded.span_bytes)
    return list(zip(at_bytes.tolist(), at_symbols.tolist(), strict=True))


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@settings(max_examples=60)
@given(text=TEXTS)
def test_anchors_follow_the_rule(view: object, text: bytes) -> None:
    encoded = view.encode(text)  # type: ignore[attr-defined]
    assert anchors_through(view, text) == slow_anchors(text, encoded)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"x",
        b"\n",
        b"x" * 256,
        b"x" * 257,
        b"x" * 127 + b"\n" + b"y" * 300,
        b"x" * 126 + b"\n" + b"y" * 300,
        b"\n" * 900,
        b"x" * 255 + b"\n" + b"y" * 300,
        b"x" * 256 + b"\n" + b"y" * 300,
        b"x" * 200 + b"\n" + b"y" * 55,
        b"abc " * 3000,
    ],
    ids=lambda text: f"{len(text)} bytes",
)
def test_anchors_at_the_edges_of_the_rule(view: object, text: bytes) -> None:
    encoded = view.encode(text)  # type: ignore[attr-defined]
    assert anchors_through(view, text) == slow_anchors(text, encoded)


def test_anchors_of_a_few_documents_by_hand() -> None:
    assert anchors_through(RawView(), b"") == [(0, 0)]
    assert anchors_through(RawView(), b"x" * 600) == [(0, 0), (256, 256), (512, 512), (600, 600)]
    assert anchors_through(RawView(), (b"x" * 199 + b"\n") * 3) == [(0, 0), (200, 200), (400, 400), (600, 600)]
    assert anchors_through(THOUSANDS, b"x" * 2100) == [(0, 0), (1000, 1), (2000, 2), (2100, 3)]
    assert anchors_through(Nibbles(), b"x" * 300) == [(0, 0), (256, 512), (300, 601)]
    assert anchors_through(Nibbles(), b"") == [(0, 0), (0, 1)]
