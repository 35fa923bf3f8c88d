"""What all pages share: nothing that others wrote becomes markup, letters can be read, plots can be taken away."""

import base64
import csv
import io
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.commands import SCRIPT, keeps_to_itself
from tests.report.test_demo_page import results as demo_results
from tests.report.test_model_demo_page import results as model_demo_results
from tests.study.fabricated import results as study_results

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.evaluate.corpus.corpus_figures import corpus_figures
from byteproxy.evaluate.views.view_figures import figures
from byteproxy.evaluate.views.viewed import Viewed
from byteproxy.lock import held
from byteproxy.report.corpus_page import corpus_page
from byteproxy.report.demo_page import demo_page
from byteproxy.report.document_page import inspect_page
from byteproxy.report.lenient import distinct
from byteproxy.report.line_plots import Line, curves
from byteproxy.report.model_demo_page import model_demo_page
from byteproxy.report.page import HUES, MIN_PX, SHAPES, TYPE_PX, Picture, as_csv, rivals, shape, wrapped
from byteproxy.report.run_page import read_run, run_page, runs_page
from byteproxy.report.study_page import study_page
from byteproxy.report.views_page import compare_page
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.metrics import Metrics
from byteproxy.train.run_config import write_run_config
from byteproxy.train.train_config import TrainConfig
from byteproxy.views.raw import RawView

EVIL = "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x1b[31m\x07\u202e"
TEXT = EVIL.encode() + b"\xff\xfe\x00 " * 3


def hostile(value):
    """The same nested values with all names and words replaced, but for those that mean something to the page."""
    kept = {"final", "trial", "test", "validation", "raw", "view", "bytes", "proxy", "control", "tokenizer", "flops"}
    if isinstance(value, dict):
        return {key: hostile(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hostile(inner) for inner in value]
    return f"{EVIL}{value}" if isinstance(value, str) and value not in kept else value


def evil_study():
    found = hostile(study_results())
    evil = {name: f"{EVIL}{name}" for name in found["arms"]}
    found["arms"] = {evil[name]: arm for name, arm in found["arms"].items()}
    for part in ("runs", "differences", "fits", "cells", "trials"):
        for one in found[part]:
            one["arm"] = evil[one["arm"].removeprefix(EVIL)]
            if "against" in one:
                one["against"] = evil[one["against"].removeprefix(EVIL)]
    for shown in found["viewer"]:
        shown["bits"] = {evil[name]: bits for name, bits in shown["bits"].items()}
        shown["cuts"] = {f"{EVIL}{name}": cuts for name, cuts in shown["cuts"].items()}
    return study_page(found)


def evil_demo():
    found = hostile(demo_results())
    found["arms"] = {f"{EVIL}{name}": arm for name, arm in found["arms"].items()}
    return demo_page(found)


def evil_model_demo():
    return model_demo_page(hostile(model_demo_results()))


def evil_compare():
    one = figures(RawView(), [TEXT * 20])
    views = {f"{EVIL}{number}": {**one, "name": EVIL} for number in range(10)}
    stability = {"random_delete": 0.1}
    about = {
        "corpus": EVIL,
        "split": "test",
        "held_out_bytes": 1,
        "held_out_documents": 1,
        "near_duplicates_dropped": 0,
    }
    return compare_page({**about, "views": views, "stability_raw": stability})


def evil_corpus(folder):
    documents = [Document(f"{EVIL}{n}", TEXT + b"%d" % n, EVIL, f"{EVIL}{n}", EVIL) for n in range(20)]
    prepare_documents(documents, folder / "c", SplitOptions(0.2, 0.2))
    return corpus_page(hostile(corpus_figures(Store.open(folder / "c"))))


def evil_inspect():
    view = RawView()
    return inspect_page(EVIL, TEXT, [Viewed(EVIL, view, view.encode(TEXT))], 1000)


def evil_run(folder):
    """A run whose folder, view, heads and reasons have evil names."""
    place = folder / EVIL.replace("/", "_").replace("\x07", "")
    text = {"bytes": 9, "documents": 1, "compressors": {EVIL: 2.0, "ppmd": 2.0}}
    measured = {"raw_bpb": 2.0, "view_bpb": {EVIL: 2.1}, "transfer_gap": -0.1, "validation_text": text}
    logged = {"loss": 3.0, "losses": {EVIL: {f"{EVIL}_1": 3.0}}, "positions_per_second": 7.0}
    spent = {"flops": 7, "positions": 5, "text_bytes": 9, "seconds": 1.0, "wall_seconds": 2.0, "loading_share": 0.1}
    config = TrainConfig(stop="6 steps", views=(EVIL,), corpus=EVIL)
    write_run_config(place, config)
    log = Metrics(place, 0)
    for step in (1, 2):
        share = {"segments": 0.5, "text_bytes": 0.5, "positions": 0.5}
        log.write({"step": step, **spent, "compressed_share": share, **logged, **measured})
        log.write({"step": step, "skipped": EVIL})
    log.close()
    return place


def evil_run_page(folder):
    with held(evil_run(folder)):
        return run_page(read_run(evil_run(folder)))


def evil_runs_page(folder):
    return runs_page([read_run(evil_run(folder / EVIL[:3].replace("/", "_"))), read_run(evil_run(folder))])


PAGES = {
    "run": evil_run_page,
    "runs": evil_runs_page,
    "study": lambda _: evil_study(),
    "demo": lambda _: evil_demo(),
    "demo with a model": lambda _: evil_model_demo(),
    "compare": lambda _: evil_compare(),
    "inspect": lambda _: evil_inspect(),
    "corpus": evil_corpus,
}


class Page(HTMLParser):
    """Its elements, the attributes of each, and the files that it holds."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.files = [], {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.elements.append((tag, values))
        if "download" in values:
            self.files.setdefault(values["download"], []).append(base64.b64decode(values["href"].partition(",")[2]))


@pytest.fixture(scope="module", params=PAGES)
def page(request, tmp_path_factory):
    return PAGES[request.param](tmp_path_factory.mktemp("page"))


def test_what_others_wrote_stays_text(page):
    assert keeps_to_itself(page)
    page = page.replace(f">{SCRIPT.read_text()}</script>", ">").replace("<script data-written", "<div data-written")
    read = Page(page)
    assert not {tag for tag, _ in read.elements} & {"script", "img", "iframe", "object", "form", "foreignobject"}
    assert not [name for _, values in read.elements for name in values if name.startswith("on")]
    assert [tag for tag, _ in read.elements].count("style") == 1
    for _, values in read.elements:
        for name in ("href", "src"):
            assert str(values.get(name, "#")).startswith(("#", "data:", "convert/"))  # or what lies beside it
    assert "\x1b" not in page
    assert "\x07" not in page
    assert "\u202e" not in page


def test_every_picture_can_be_taken_away_from_the_page_alone(page):
    read = Page(page)
    drawn, narrow = (sum(tag == "svg" for tag, _ in read.elements), page.count('<div class="plot narrow"'))
    svgs = [file for name, held in read.files.items() if name.endswith(".svg") for file in held]
    tables = [file for name, held in read.files.items() if name.endswith(".csv") for file in held]
    assert len(svgs) == len(tables) == drawn - narrow
    for svg in svgs:
        root = ElementTree.fromstring(svg)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert b"var(--" not in svg
        assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {
            *("svg", "g", "defs", "path", "clipPath", "rect", "use", "text", "line", "circle", "title", "tspan"),
        }
    for table in tables:
        heads, *rows = csv.reader(io.StringIO(table.decode()))
        assert rows
        assert {len(row) for row in rows} == {len(heads)}


def test_letters_of_pictures_are_never_too_small(page):
    """A picture that is as wide as its view box has letters of 12 px, so its least width says their least size."""
    for tag, values in Page(page).elements:
        if tag == "svg":
            width = float(values["viewbox"].split()[2])
            least = float(re.search(r"min-width:(\d+)px", values["style"])[1])
            assert TYPE_PX * least / width >= MIN_PX


def test_thirty_series_have_thirty_marks():
    count = HUES * len(SHAPES)
    assert len({(series % HUES, shape(series)) for series in range(count)}) == count
    lines = [Line(f"arm {n}", n, [1, 2, 3], [3.0, 2.0, 1.0 + n / 50]) for n in range(25)]
    picture = curves("many", lines, [], "x", "y").svg
    drawn = re.findall(r"stroke-dasharray: ([^;\"]*)", picture)
    assert len(set(drawn)) == 2 * 3, "dashed in three ways beside the solid ones, the lines to the names too"
    labels = {n: float(re.search(rf'y="([\d.]+)"[^>]*>arm {n}<', picture)[1]) for n in range(25)}
    heights = sorted(labels.values())
    assert min(np.diff(heights)) >= TYPE_PX, "no name lies on another"
    height = float(re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', picture)[1])
    assert min(heights) > 0
    assert max(heights) < height


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=40), max_size=9))
def test_shortened_names_stay_different(names):
    found = distinct(names)
    assert len(set(found.values())) == len(found) == len(set(names))
    if len({name[:13] for name in names}) == len(set(names)):
        assert all(len(name) <= 14 for name in found.values())


@given(st.text(max_size=30))
def test_a_name_with_places_to_break_says_the_same(name):
    shown = wrapped(name)
    assert "<" not in shown.replace("<wbr>", "")
    assert wrapped("bpe_proxy-4096:a/b") == "bpe_<wbr>proxy-<wbr>4096:<wbr>a/<wbr>b"


def test_csv_holds_no_formulas():
    assert as_csv(("a", "b"), [("=1+1", -1.5), ("x,y", 2)]) == 'a,b\n\'=1+1,-1.5\n"x,y",2\n'


def test_a_file_is_named_by_letters_and_digits():
    (svg, _, _), (table, _, _) = Picture("<svg></svg>", 'a"/../b', ("x",), []).links
    assert (svg, table) == ("a-b.svg", "a-b.csv")


def test_of_many_series_each_hue_has_one_at_a_time():
    """25 arms: radio buttons give a hue to one of those that share it, by a rule for each; the others are grey."""
    many = study_results()
    many["arms"] = {f"arm {n}": {**next(iter(many["arms"].values())), "role": None} for n in range(25)}
    page = study_page(many)
    read = Page(page)
    picks = [values for tag, values in read.elements if tag == "input" and values["id"].startswith("hue")]
    assert len(picks) == 25
    assert [values["name"] for values in picks if "checked" in values] == [f"hue{hue}" for hue in range(HUES)]
    for values in picks:
        series = int(values["id"].removeprefix("hue"))
        assert values["name"] == f"hue{series % HUES}"
        assert f":root {{ --arm{series}: var(--muted); }}" in page
        assert f":root:has(#hue{series}:checked) {{ --arm{series}: var(--hue{series % HUES}); }}" in page
    assert rivals(8) == []
    assert [len(found) for found in rivals(25)] == [4, 3, 3, 3, 3, 3, 3, 3]
    assert "id=hue" not in study_page(study_results())
