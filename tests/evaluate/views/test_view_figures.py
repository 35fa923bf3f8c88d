import json
import math
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluate.views.test_view_texts import copies
from tests.store.toys import HUNDREDS, WORDS, Nibbles, Opaque, Pieces
from tests.toy_corpus import toy_documents, toy_store

from byteproxy.corpus.document import Document
from byteproxy.errors import InputError
from byteproxy.evaluate.views import view_figures as view_figures
from byteproxy.evaluate.views.view_figures import (
    compare,
    counts,
    encode_all,
    encode_mb_s,
    figures,
    lossless,
    resynchronisation,
    stability,
)
from byteproxy.evaluate.views.view_terminal import comparison_tables
from byteproxy.evaluate.views.view_texts import Corpus, corpus_named, held_out_sample
from byteproxy.report.views_page import compare_page
from byteproxy.views.base import Encoded
from byteproxy.views.chunks import ChunksView
from byteproxy.views.raw import RawView

CODE = [document.text for document in toy_documents(20)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(view_figures, "SPEED_SECONDS", 0.01)


def encoded(symbols, span_bytes=None):
    return Encoded(np.array(symbols, np.uint16), np.array(span_bytes or [1] * len(symbols), np.uint32))


# Counts


def test_entropy_of_known_sequences():
    fair = counts([np.array([0, 1]), np.array([1, 0])], 12)
    assert fair == {
        "symbols": 4,
        "bytes_per_symbol": 3.0,
        "symbols_used": 2,
        "entropy_bits": 1.0,
        "bits_per_byte": pytest.approx(1 / 3),
    }
    skewed = counts([np.array([7, 7, 7, 300])], 4)
    assert skewed["entropy_bits"] == pytest.approx(0.75 * math.log2(4 / 3) + 0.25 * 2)
    assert skewed["symbols_used"] == 2
    assert counts([np.arange(256)], 256)["bits_per_byte"] == pytest.approx(8)
    assert str(counts([np.array([5, 5])], 2)["entropy_bits"]) == "0.0"


def test_numbers_may_be_large():
    huge = np.array([1 << 63, 5, 1 << 63], np.uint64)
    assert counts([huge], 3)["symbols_used"] == 2


def test_chunks_are_counted_and_compared_as_chunks():
    text = b"abcd" * 3 + b"wxyz" + b"ab"
    found = figures(ChunksView(4), [text, b"abcd"])
    assert (found["symbols"], found["symbols_used"], found["bytes_per_symbol"]) == (6, 3, 22 / 6)
    chunks, raw = (figures(view, CODE)["stability"] for view in (ChunksView(4), RawView()))
    assert chunks["random_delete"] > 4 * raw["random_delete"]
    assert chunks["prefix_cut"] > 3 * raw["prefix_cut"], "cut at the start, most chunks are others"


def test_no_symbols_are_no_figures():
    nothing = counts([np.array([], np.uint16)], 0)
    assert (nothing["symbols"], nothing["bytes_per_symbol"], nothing["bits_per_byte"]) == (0, None, None)


# The contract


class Forgetful(RawView):
    """Gives back a text without its last byte if that is a z."""

    name = "forgetful"

    def decode(self, symbols):
        text = super().decode(symbols)
        return text.removesuffix(b"z")


class Refusing(RawView):
    name = "refusing"

    def decode(self, symbols):
        if len(symbols) == 3:
            raise ValueError("not three")
        return super().decode(symbols)


class Composing(Forgetful):
    """Gives back what it made of the text, and says so."""

    lossless = False


def test_every_text_has_to_come_back():
    def check(view, texts):
        return lossless(view, texts, view.encode_batch(texts))

    assert check(RawView(), [b"", b"abz"]) is True
    assert check(WORDS, [b"ab", b"c"]) is False
    assert check(Forgetful(), [b"ab", b"c"]) is True
    assert check(Composing(), [b"abz", b"c"]) is False
    with pytest.raises(InputError, match="forgetful is broken: of 3 texts it did not give back 2"):
        check(Forgetful(), [b"abz", b"c", b"z"])
    with pytest.raises(InputError, match="refusing is broken"):
        check(Refusing(), [b"ab", b"abc"])
    with pytest.raises(InputError, match="forgetful"):
        figures(Forgetful(), [b"abz"])


def test_spans_and_symbols_have_to_be_right():
    class Wrong(RawView):
        name = "wrong"

        def __init__(self, parsed):
            self.parsed = parsed

        def encode(self, document):
            return self.parsed

    for parsed in (encoded([1, 2]), encoded([1, 2, 3], [1, 1]), encoded([1, 2, 256])):
        with pytest.raises(InputError, match="wrong breaks its contract"):
            encode_all(Wrong(parsed), [b"abc"])
    encode_all(Opaque(), [b"abc"])  # its spans are of no use, and nobody uses them


# Speed


def test_speed_is_of_processor_time(monkeypatch):
    clock = [0.0]

    class Slow(RawView):
        asked = 0

        def encode(self, document):
            self.asked += 1
            clock[0] += 100.0 if self.asked == 1 else len(document) * 1e-6  # the first time, it has to warm up
            self.seen = [*getattr(self, "seen", []), document]
            return super().encode(document)

    monkeypatch.setattr(view_figures.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(view_figures, "SPEED_SECONDS", 0.5)
    slow = Slow()
    texts = [bytes([letter]) * 130_000 for letter in range(20)]
    assert encode_mb_s(slow, texts) == pytest.approx(1)
    assert clock[0] == pytest.approx(100.5, abs=0.1), "then it has seen enough"
    assert slow.asked == 1 + 8
    assert b"".join(slow.seen) == b"".join(texts)[: 9 * 65536], "no text comes twice"
    assert encode_mb_s(Slow(), []) is None


# Together


def test_figures_of_views_that_can_be_foreseen():
    raw = figures(RawView(), CODE)
    assert raw["bytes_per_symbol"] == 1
    assert raw["stability"]["random_delete"] == pytest.approx(0.1, abs=0.005)
    assert raw["resync_bytes"] == raw["resync_bytes_p90"] == 0
    assert raw["crosses_word"] == raw["crosses_line"] == 0
    assert raw["lossless"] is True
    assert raw["train_seconds"] is None
    nibbles = figures(Nibbles(), CODE, 2.5, 1.5)
    assert nibbles["bytes_per_symbol"] == pytest.approx(0.5, rel=0.01)
    assert nibbles["train_seconds"] == 1.5
    assert nibbles["resync_bytes"] == 0
    words = figures(WORDS, CODE)
    assert words["lossless"] is False
    assert words["crosses_word"] == 0
    hundreds = figures(HUNDREDS, CODE)
    assert hundreds["crosses_word"] > 0.9
    assert hundreds["crosses_line"] > 0.9
    opaque = figures(Opaque(), CODE)
    assert opaque["crosses_word"] is None
    assert opaque["stability"]["rename"] > 0.8
    assert opaque["resync_bytes"] > 50


def test_figures_can_be_written_as_json_and_are_the_same_again():
    one, other = (figures(HUNDREDS, CODE, seed=3) for _ in range(2))
    assert json.loads(json.dumps(one)) == one
    assert one == other
    assert figures(HUNDREDS, CODE, seed=4)["stability"] != one["stability"]


def test_means_and_spreads_are_over_pieces():
    class Unsteady(RawView):
        """Every other text loses all that it had in common with what it was before."""

        def encode_batch(self, documents):
            found = super().encode_batch(documents)
            for before, after in zip(found[::4], found[1::4], strict=True):
                after.symbols[:] = 200
                before.symbols[:] = 100
            for before, after in zip(found[2::4], found[3::4], strict=True):
                after.symbols[:] = before.symbols[:] = 100
            return [Encoded(part.symbols[:10], part.span_bytes[:10]) for part in found]

    texts = [bytes(range(32, 72))] * 4
    found = stability(Unsteady(), texts, 0)
    assert found["stability"]["random_delete"] == pytest.approx(0.5)
    assert found["stability_spread"]["random_delete"] == pytest.approx(0.5)
    assert found["stability_pieces"] == {"random_delete": 4, "prefix_cut": 4, "middle_cut": 4, "rename": 0}
    assert found["stability"]["rename"] is found["stability_spread"]["rename"] is None


def test_resynchronisation_gives_median_and_tail(monkeypatch):
    monkeypatch.setattr(view_figures, "resync_distances", lambda *_: np.array([0, 1, 2, 3, 100]))
    found = resynchronisation(RawView(), [b"x"], 0)
    assert found == {"resync_bytes": 2.0, "resync_bytes_p90": pytest.approx(61.2)}
    monkeypatch.setattr(view_figures, "resync_distances", lambda *_: np.empty(0))
    assert resynchronisation(RawView(), [], 0) == {"resync_bytes": None, "resync_bytes_p90": None}


def test_progress_goes_up_to_the_end():
    seen = []
    figures(WORDS, CODE, progress=lambda done, total, note="": seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1] > 0


# Comparisons


def test_compare_measures_every_view_on_the_same_text(tmp_path):
    corpus = copies(tmp_path / "corpus")
    stages = []

    @contextmanager
    def stage(what, unit):
        stages.append((what, unit))
        yield lambda *_: None

    results = compare(["raw", "gzip", "raw"], corpus, seed=1, stage=stage)
    texts = held_out_sample(corpus, "validation", 10**6).texts
    assert list(results["views"]) == ["raw", "gzip"]
    assert results["views"]["gzip"]["name"].startswith("gzip")
    assert results["corpus"] == corpus.name
    assert (results["split"], results["seed"], results["near_duplicates_dropped"]) == ("validation", 1, 2)
    assert results["held_out_bytes"] == sum(map(len, texts))
    assert results["held_out_documents"] == len(texts)
    assert results["stability_raw"] == results["views"]["raw"]["stability"]
    for view in results["views"].values():
        assert view["bytes_per_symbol"] * view["symbols"] == pytest.approx(results["held_out_bytes"])
    assert ("look for copies", "B") in stages
    assert [what for what, _ in stages if what.startswith("measure")] == ["measure raw", "measure gzip"]
    assert not [what for what, _ in stages if what.startswith("train")]
    json.dumps(results)
    test_split = compare(["raw"], corpus, split="test")
    assert test_split["held_out_bytes"] == sum(len(document.text) for document in corpus.documents("test"))


def test_compare_trains_on_the_training_side_only(tmp_path):
    toy_store(tmp_path / "corpus")
    corpus = corpus_named(str(tmp_path / "corpus"))
    read = []

    def documents(split):
        read.append(split)
        return corpus.documents(split)

    results = compare(["bpe:300"], Corpus("toy", documents))
    # What is judged, what it may not be a copy of, what is learnt from, and what the speed is measured on.
    assert read == ["validation", "train", "train", "train"]
    bpe = results["views"]["bpe:300"]
    assert bpe["name"] == "bpe-300"
    assert bpe["train_seconds"] > 0
    assert bpe["bytes_per_symbol"] > 1.5
    assert 0 < bpe["stability"]["random_delete"] < 1


def test_wrong_names_are_said_before_anything_is_read(tmp_path):
    def documents(split):
        raise AssertionError("read")

    for specs, said in ((["raw", "nonesuch"], "nonesuch"), (["bpe:4096,merges=3", "raw"], "merges=3")):
        with pytest.raises(InputError, match=said):
            compare(specs, Corpus("toy", documents))
    with pytest.raises(InputError, match="seed is -1"):
        compare(["raw"], Corpus("toy", documents), seed=-1)


def test_a_missing_file_is_said_before_others_are_trained(tmp_path):
    toy_store(tmp_path / "corpus")
    stages = []

    @contextmanager
    def stage(what, unit):
        stages.append(what)
        yield lambda *_: None

    with pytest.raises(InputError, match="there is no file"):
        compare(["bpe:300", "zz/none.json"], corpus_named(str(tmp_path / "corpus")), stage=stage)
    assert stages == ["look for copies"]


@pytest.mark.parametrize(
    "view", [RawView(), WORDS, Nibbles(), Opaque(), Pieces(rb".", "bytes")], ids=lambda view: view.name
)
def test_awkward_texts_have_figures(view):
    found = figures(view, [b"x", b"", b"\n", "é".encode(), b"\xff\xfe"])
    json.dumps(found)
    assert found["symbols"] > 0


def tiny(letters):
    return st.lists(st.text(letters, max_size=3).map(str.encode), max_size=3)


@given(tiny("ab"), tiny("xy\n").map(lambda texts: [*dict.fromkeys(texts)]))
@settings(max_examples=30)
def test_views_of_next_to_no_text_are_measured_or_refused(train, held_out):
    """No split at all, empty documents, one byte: figures that JSON and the tables take, or a line that refuses."""
    splits = {"train": train, "validation": held_out}
    corpus = Corpus(
        "tiny", lambda split: (Document(f"{split}{n}", text, "s", split) for n, text in enumerate(splits[split]))
    )
    names = ["raw", "bits", "gzip", "chunks", "double_bytes", "raw"]
    if not any(held_out):
        with pytest.raises(InputError, match=r"holds no text|near-duplicate"):
            compare(names, corpus)
        return
    results = compare(names, corpus)
    assert list(results["views"]) == ["raw", "bits", "gzip", "chunks", "double_bytes"], "each once"
    assert results["views"]["raw"]["bytes_per_symbol"] == 1
    assert results["views"]["raw"]["encode_mb_s"] is None, "three bytes tell no speed"
    json.dumps(results, allow_nan=False)
    assert compare_page(results)
    assert comparison_tables(results)
