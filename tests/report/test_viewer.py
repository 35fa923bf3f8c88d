"""The viewer shows each byte once, coloured by its bits and cut where the spans say."""

import copy
import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.report.test_headline import contrast
from tests.study.fabricated import EXCERPTS, results

from byteproxy.report.study_page import study_page
from byteproxy.report.viewer import STEPS, data_of, shaded, step, tinted, viewer

STAND_INS = re.compile(r"⏎\n|→\t|·|\\x[0-9a-f]{2}")
BYTES = {"⏎\n": b"\n", "→\t": b"\t", "·": b" "}


class Read(HTMLParser):
    """The bytes behind a pane's HTML, and of each byte the class of the element around it and that element's number."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.data = b""
        self.classes: list[str | None] = []
        self.elements: list[int] = []
        self.now: str | None = None
        self.stand_in = False
        self.number = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "i":
            self.now = dict(attrs)["class"]
        assert tag in ("i", "b", "wbr")
        self.number += tag == "i"
        self.stand_in = tag == "b"

    def handle_endtag(self, tag: str) -> None:
        if tag == "i":
            self.now = None
        self.stand_in = False

    def handle_data(self, data: str) -> None:
        if self.stand_in:
            assert STAND_INS.sub("", data) == "", data
            found = [BYTES.get(one) or bytes.fromhex(one[2:]) for one in STAND_INS.findall(data)]
            added = b"".join(found)
        else:
            added = data.encode()
            assert b" " not in added
            assert b"\n" not in added
        self.data += added
        self.classes += [self.now] * len(added)
        self.elements += [self.number] * len(added)


PIECES = st.sampled_from([excerpt[:170] for excerpt in EXCERPTS])
TEXTS = st.one_of(st.binary(max_size=60), st.text(max_size=30).map(str.encode), PIECES)


@given(TEXTS, st.data())
def test_the_text_is_there_and_colours_follow_bits(data: bytes, draw: st.DataObject) -> None:
    bits = draw.draw(st.lists(st.floats(0, 12), min_size=len(data), max_size=len(data)))
    read = Read(shaded(data, bits))
    assert read.data == data
    at = 0
    for character in data.decode("utf-8", "surrogateescape"):
        size = len(character.encode("utf-8", "surrogateescape"))
        expected = f"s{min(int(sum(bits[at : at + size]) / size), 8)}"
        assert read.classes[at : at + size] == [expected] * size
        at += size


@given(TEXTS, st.data())
def test_cuts_are_where_spans_say(data: bytes, draw: st.DataObject) -> None:
    spans, left = [], len(data)
    while left:
        spans.append(draw.draw(st.integers(0, min(left, 6))) if len(spans) < 200 else left)
        left -= spans[-1]
    read = Read(tinted(data, spans))
    assert read.data == data
    expected = [number for number, span in enumerate(filter(None, spans), 1) for _ in range(span)]
    assert read.elements == expected
    assert read.classes == [f"k{(number - 1) % 2}" for number in expected]


def test_neighbours_of_one_colour_share_an_element() -> None:
    assert shaded(b"abcd", [0.1, 0.9, 1.0, 1.99]) == "<i class=s0>ab</i><i class=s1>cd</i>"
    assert shaded("ß".encode(), [8.0, 0.0]) == "<i class=s4>ß</i>"
    assert shaded(b" \n", [0.0, 0.0]) == "<i class=s0><b>·⏎\n</b></i>"


@pytest.mark.parametrize(
    ("bits", "colour"),
    [([0.0], 0), ([0.999], 0), ([7.99], 7), ([8.0], 8), ([80.0], 8), ([-0.1], 0), ([None], None), ([1, None], None)],
)
def test_steps(bits: list[float | None], colour: int | None) -> None:
    assert step(bits) == colour


def test_bytes_without_figures_have_no_colour() -> None:
    read = Read(shaded(b"abc", [1.0, None, "x", 4.0]))
    assert (read.data, read.classes) == (b"abc", ["s1", None, None])
    assert Read(shaded(b"abc", [])).classes == [None] * 3
    assert Read(tinted(b"abc", [2])).classes == ["k0", "k0", None]
    assert Read(tinted(b"abc", [2, 9])).data == b"abc"


def oklab_lightness(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return 0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short


@pytest.mark.parametrize(("place", "ink"), [(0, "#1c1f24"), (1, "#e6e8eb")], ids=["light", "dark"])
def test_the_ramp_is_even_and_its_text_can_be_read(place: int, ink: str) -> None:
    style = (files("byteproxy.report") / "templates" / "style.css").read_text()
    ramp = [re.findall(rf"--s{number}: (#[0-9a-f]{{6}})", style)[place] for number in range(STEPS)]
    assert len(ramp) == STEPS
    lightness = [oklab_lightness(colour) for colour in ramp]
    steps = [after - before for before, after in pairwise(lightness)]
    assert all(one == pytest.approx(sum(steps) / len(steps), rel=0.1) for one in steps)
    assert all(contrast(colour, ink) >= 4.5 for colour in ramp)


def test_every_document_in_every_arm_and_view() -> None:
    found = results()
    shown = viewer(found)
    assert len(shown.panes) == 2
    for number, document in enumerate(found["viewer"]):
        title, size, own = shown.panes[number]
        assert (title, size) == (document["document"], len(EXCERPTS[number]))
        assert [pane.name for pane in own] == [*document["bits"], *document["cuts"]]
        assert [pane.is_arm for pane in own] == [True] * 5 + [False] * 2
        assert all(Read(pane.inside).data == EXCERPTS[number] for pane in own)
        for pane, bits in zip(own, document["bits"].values(), strict=False):
            assert pane.said.replace("\N{NO-BREAK SPACE}", " ") == f"{sum(bits) / len(bits):.3f} bits per byte here"
        for pane, spans in zip(own[5:], document["cuts"].values(), strict=True):
            assert f"{len(spans):,} symbols of {len(EXCERPTS[number]) / len(spans):.2f} bytes" in pane.said


def test_every_input_has_a_label_and_switches_something() -> None:
    page = study_page(results() | {"runs": [], "fits": []})
    inputs = re.findall(r"<input type=\w+ id=(\w+)", page)
    assert inputs == re.findall(r"<label for=(\w+)", page)
    assert len(inputs) == len(set(inputs)) == 2 + 7
    assert all(f"#{name}:" in viewer(results()).switches for name in inputs)
    assert len(re.findall(r'<div class="pane p\d+"><h3>.*?</h3><pre tabindex=0>', page, re.DOTALL)) == 2 * 7


def test_a_pane_is_compact() -> None:
    found = results()
    inside = [pane.inside for _, _, panes in viewer(found).panes for pane in panes]
    assert sum(map(len, inside)) < 15 * sum(7 * len(excerpt) for excerpt in EXCERPTS)


def test_too_much_is_left_out_and_said_to_be() -> None:
    found = results()
    found["viewer"] = [copy.deepcopy(found["viewer"][0]) for _ in range(30)]
    shown = viewer(found)
    assert sum(len(pane.inside) for _, _, panes in shown.panes for pane in panes) < 1_000_000
    assert 0 < shown.left_out == 30 - len(shown.panes) == 30 - len(shown.documents)
    assert f"{shown.left_out} more in results.json" in study_page(found | {"runs": [], "fits": []})


@pytest.mark.parametrize("text", [None, [], [256], [1.5], [True], "abc", [None], {"a": 1}], ids=repr)
def test_what_is_no_text_is_not_shown(text: Any) -> None:
    assert data_of({"text": text}) == b""
    assert viewer({"viewer": [{"text": text}]}).panes == []
