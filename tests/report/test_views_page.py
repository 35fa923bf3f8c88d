import itertools
import json
import re
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.report.test_mark_plots import marks
from tests.store.toys import HUNDREDS, WORDS, Nibbles, Opaque, Pieces
from tests.toy_corpus import toy_documents

from byteproxy.evaluate.views import view_figures as view_figures
from byteproxy.evaluate.views.symbols_text import cut
from byteproxy.evaluate.views.view_figures import figures
from byteproxy.evaluate.views.view_terminal import comparison_tables, symbols_text
from byteproxy.evaluate.views.viewed import Viewed, summary
from byteproxy.report.document_page import inspect_page
from byteproxy.report.mark_plots import Dot, scatter
from byteproxy.report.views_page import compare_page
from byteproxy.views.base import Encoded
from byteproxy.views.bpe import BpeView
from byteproxy.views.raw import RawView

VOID = {"meta", "link", "br", "wbr"}
BPE = BpeView.train([document.text for document in toy_documents()], 300)
TWOS = Pieces(rb"..|.", "twos")
VIEWS = [RawView(), BPE, Nibbles(), WORDS, TWOS, HUNDREDS]
HOSTILE = (
    b"</pre></script><script>alert('1')</script> & &amp; \" ' <!-- <b>\\x41</b> \\n\r\n\t \x00\x1b[31m\x7f\xff\xfe"
    + "é日🙂 ⏎ → · \u202e\u200b\ufeff\u2028\ufffe a\u0301".encode()
    + b"\xed\xa0\x80 \xc3"
)


class Page(HTMLParser):
    """Checks that tags balance; keeps elements, text, and the document back from each section."""

    def __init__(self, page):
        super().__init__()
        self.open, self.elements, self.text, self.documents, self.titles = [], [], "", {}, {}
        self.section = self.stand_in = None
        self.feed(page)
        self.close()
        assert self.open == [], "tags left open"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = attributes.get("id")
        if tag == "b":
            self.stand_in = ""
        if tag == "i" and "symbols" in self.classes():
            self.titles.setdefault(self.section, []).append(attributes["title"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes something else"
        if tag == "b" and self.section:
            self.add(decoded(self.stand_in))
            self.stand_in = None

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if "b" in self.open:
            self.stand_in += data
        elif "i" in self.open:
            self.add(data.encode())

    def classes(self):
        return [attributes.get("class") for tag, attributes in self.elements if tag == "pre"][-1:]

    def add(self, data):
        self.documents[self.section] = self.documents.get(self.section, b"") + data

    def count(self, tag):
        return sum(found == tag for found, _ in self.elements)


def decoded(stand_in):
    """The bytes that a stand-in stands for."""
    if stand_in in ("⏎\n", "→\t", "·"):
        return {"⏎\n": b"\n", "→\t": b"\t", "·": b" "}[stand_in]
    assert re.fullmatch(r"(\\x[0-9a-f]{2})+", stand_in), stand_in
    return bytes(int(value, 16) for value in stand_in.split("\\x")[1:])


def inspected(document, views=VIEWS, name="a.py", max_bytes=10**6):
    viewed = [Viewed(view.name, view, view.encode(document)) for view in views]
    return inspect_page(name, document, viewed, max_bytes)


def asks_for_nothing(page):
    parsed = Page(page)
    assert parsed.count("script") == parsed.count("img") == parsed.count("iframe") == 0
    for tag, attributes in parsed.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                assert value.startswith(("#", "data:")), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
    assert re.findall(r"url\((?!#)", page) == []
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert set(re.findall(r"var\((--\w+)\)", page)) <= set(re.findall(r"(--\w+):", page))
    assert "prefers-color-scheme: dark" in page


# A document through views


@pytest.mark.parametrize("document", [HOSTILE, toy_documents()[0].text, b"", b"\n", b"  ", bytes(range(256))], ids=repr)
def test_every_byte_is_shown_once_in_every_view(document):
    page = Page(inspected(document))
    for number, view in enumerate(VIEWS):
        assert page.documents.get(f"view{number}", b"") == document, view.name


@settings(max_examples=40)
@given(st.one_of(st.binary(max_size=60), st.text(max_size=30).map(lambda text: text.encode("utf-8", "replace"))))
def test_every_byte_of_anything_is_shown_once(document):
    page = Page(inspected(document, [RawView(), TWOS, BPE]))
    assert [page.documents.get(f"view{number}", b"") for number in range(3)] == [document] * 3


def test_hostile_documents_stay_text():
    page = inspected(HOSTILE, name="<script>\"'\udcff")
    assert "<script" not in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u200b\ufeff\u2028\ufffe\ud800-\udfff]", page)
    asks_for_nothing(page)
    parsed = Page(page)
    assert parsed.elements.count(("h1", {})) == 1
    assert "<script>\"'?" in parsed.text
    page.encode()


def test_characters_that_symbols_share_are_bytes():
    text = "xé".encode()
    assert r"\xc3" in Page(inspected(text, [TWOS])).text, "cut as x + half, half"
    assert "é" not in Page(inspected(text, [TWOS])).text.replace("a.py", "")
    assert "é" in Page(inspected(text, [WORDS, HUNDREDS])).text


def test_titles_tell_symbols_and_bytes():
    titles = Page(inspected(b"a\xff'", [RawView(), Nibbles(), WORDS])).titles
    assert titles["view0"] == ["97 = b'a'", "255 = b'\\xff'", '39 = b"\'"']
    assert titles["view1"] == ["6 1 = b'a'", "15 15 = b'\\xff'", '2 7 99999 = b"\'"'], "an end mark joins the last"
    assert titles["view2"][0] == "97 = b'a'"
    (long,) = Page(inspected(b"y" * 100, [HUNDREDS])).titles["view0"]
    assert long == f"121 = b'{'y' * 64}'…"


def test_neighbours_differ_in_colour():
    page = inspected(toy_documents()[0].text)
    for section in re.findall(r"<pre class=symbols.*?</pre>", page, flags=re.DOTALL):
        colours = re.findall(r"<i class=(c\d)", section)
        assert len(colours) > 1
        assert all(one != other for one, other in itertools.pairwise(colours))


def test_blanks_are_seen_where_a_symbol_is_nothing_else():
    assert "·" not in inspected(b"a b", [HUNDREDS]).split("<section")[1]
    assert inspected(b"a b", [RawView()]).split("<section")[1].count("<b>·</b>") == 1


def test_the_rest_of_a_long_document_is_left_out_and_that_is_said():
    document = b"0123456789" * 1000
    page = Page(inspected(document, [RawView(), HUNDREDS], max_bytes=250))
    assert page.documents == {"view0": document[:250], "view1": document[:300]}
    assert "The first 250 of 10,000 bytes are shown" in page.text
    assert "The first 300 of 10,000 bytes are shown" in page.text
    assert "10,000 symbols of 256, 1.00 bytes each" in page.text
    assert "100 symbols of 256, 100.00 bytes each" in page.text
    assert "are shown" not in Page(inspected(document, [RawView()])).text


def test_a_view_that_is_not_aligned_shows_sizes_only():
    page = Page(inspected(b"x" * 320, [Opaque(), RawView()]))
    assert page.documents == {"view1": b"x" * 320}
    assert "32 symbols of 256, 10.00 bytes each" in page.text
    assert "nothing to colour" in page.text


def test_the_page_can_be_walked_with_keys_and_holds_the_figures():
    text = inspected(b"abc", [RawView(), Nibbles()])
    asks_for_nothing(text)
    page = Page(text)
    assert page.count("summary") == 3
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert links == ["#view0", "#view1"]
    held = json.loads(page.text[page.text.index("{\n") :])
    assert held["bytes"] == 3
    assert held["views"]["raw"] == Viewed("raw", RawView(), RawView().encode(b"abc")).figures(b"abc")
    assert held["views"]["nibbles"]["symbols"] == 7


def test_an_empty_document_has_no_size():
    assert summary(Viewed("raw", RawView(), RawView().encode(b"")).figures(b"")) == "0 symbols of 256"


def test_cut_keeps_symbols_that_cover_nothing_with_their_byte():
    parsed = Encoded(np.array([1, 2, 3, 4, 5, 6]), np.array([0, 2, 1, 0, 3, 0]))
    assert list(cut(b"abcdef", parsed, 99)) == [((1, 2), b"ab"), ((3,), b"c"), ((4, 5, 6), b"def")]
    assert list(cut(b"abcdef", parsed, 2)) == [((1, 2), b"ab")]
    assert list(cut(b"abcdef", parsed, 3)) == [((1, 2), b"ab"), ((3,), b"c")]


def test_the_terminal_shows_the_same():
    document = b"if x:\n\treturn  y\n\x1b[31m"
    viewed = Viewed("words", WORDS, WORDS.encode(document))
    plain, shown_bytes = symbols_text(viewed, document, 1000, False)
    assert plain.plain == "if│·│x│:│⏎│\n→\t│return│·│·│y│⏎│\n\\x1b│[│3│1│m│"
    assert shown_bytes == len(document)
    assert plain.spans == []
    coloured, shown_bytes = symbols_text(viewed, document, 3, True)
    assert (coloured.plain, shown_bytes) == ("if·", 3)
    assert len({span.style for span in coloured.spans}) == 2


# The comparison


@pytest.fixture(scope="module")
def results():
    patch = pytest.MonkeyPatch()
    patch.setattr(view_figures, "SPEED_SECONDS", 0.01)
    texts = [document.text for document in toy_documents(12)]
    views = {"raw": RawView(), "a <b>&\"' view:with=many,options=true": WORDS, "opaque": Opaque()}
    measured = {spec: figures(view, texts, 12.3) for spec, view in views.items()}
    patch.undo()
    return {
        "corpus": "some/<i>folder",
        "split": "validation",
        "seed": 0,
        "held_out_bytes": 1_234_567,
        "held_out_documents": 1012,
        "near_duplicates_dropped": 17,
        "stability_raw": {"random_delete": 0.0987},
        "views": measured,
    }


def test_the_page_shows_every_figure(results):
    text = compare_page(results)
    asks_for_nothing(text)
    page = Page(text)
    raw = results["views"]["raw"]
    for figure in (
        "1.23 MB",
        "1,012 documents",
        "validation",
        "some/<i>folder",
        "0.099",
        "12.3",
        f"{raw['entropy_bits']:.2f}",
    ):
        assert figure in page.text, figure
    assert "near-duplicates: 17." in page.text
    for view in results["views"].values():
        assert f"{view['stability']['random_delete']:.3f}" in page.text
        assert f"{view['bytes_per_symbol']:.2f}" in page.text
    cells = [tag for tag, _ in page.elements].count("td")
    assert cells == 3 * 15
    assert page.text.count("–") >= 2, "what the unaligned view has no figure for"
    assert all(meaning in page.text for meaning in ("Levenshtein", "processor time", "begins or ends", "0–1"))
    held = json.loads(page.text[page.text.index("{\n") :])
    assert held == json.loads(json.dumps(results))


def test_the_plot_has_a_labelled_dot_for_each_view(results):
    page = Page(compare_page(results))
    assert page.count("svg") == 1
    assert len(marks(compare_page(results))) == 3
    assert "a <b>&\"' view:with=many,o…" in page.text
    assert "a <b>&\"' view:with=many,options=true: " in page.text, "the whole name on hovering"


def test_nothing_to_plot_is_a_plot(results):
    assert marks(compare_page(results | {"views": {}, "stability_raw": {"random_delete": None}})) == []
    assert "nan" not in scatter("dots", [Dot("only", 0, 0)], "x", "y").svg


def test_tables_fit_into_a_terminal_of_80_columns(results):
    from rich.console import Console

    console = Console(width=80, record=True, file=StringIO())
    console.print(*comparison_tables(results), sep="\n")
    shown = console.export_text()
    assert "…" not in shown
    assert "1.23 MB of some/<i>folder" in shown
    raw = results["views"]["raw"]
    (line,) = [line for line in shown.splitlines() if line.strip().startswith("raw ") and "256" in line]
    assert line.split()[:5] == ["raw", "256", str(raw["symbols_used"]), "1.00", f"{raw['entropy_bits']:.2f}"]


# Files
