"""Hints of rows against a search through all tokens, piece by piece."""

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tests.mixture.corpora import corpus as make_corpus

from byteproxy.errors import InputError
from byteproxy.mixture.fading import Fading
from byteproxy.mixture.hints import NO_HINT, Hints, hinted_view
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.row_pieces import AT, FROM, PASSAGE, REPRESENTATION, ROW, TO
from byteproxy.mixture.schedule import MODES, Mixture, Phase
from byteproxy.views.bits import BitsView
from byteproxy.vocab import FIRST_BYTE

LENGTH = 640
HALF = Hints(0.5, scale=Fading(2.0, 0.2, 0.6))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def stream_of(corpus, hints, mode="one", seed=1, rows=3):
    store, (bpe, codebook) = corpus
    mixture = Mixture(phases=(Phase(1.0, mode, 0.4),), passages=2)
    return Stream(store, (codebook.name, bpe.name), mixture, Shape(rows, LENGTH, 100), seed, 10, hints=hints)


def slow_hints(strings, text):
    ends = [
        [(len(string), -token) for token, string in enumerate(strings) if string and text[:end].endswith(string)]
        for end in range(1, len(text) + 1)
    ]
    return [-max(one)[1] if one else None for one in ends]


@pytest.mark.parametrize("mode", MODES)
def test_a_raw_byte_is_hinted_the_longest_token_since_its_piece_began(corpus, mode):
    bpe = corpus[1][0]
    stream = stream_of(corpus, Hints(1.0, bpe.name), mode)
    plan, _ = stream.plan(State())
    rows = stream.rows(plan)
    wanted = np.full(len(rows.symbols), NO_HINT)
    for piece in plan.pieces[plan.pieces[:, REPRESENTATION] == 0]:
        at = piece[ROW] * LENGTH + piece[AT] + 1
        text = (rows.symbols[at : at + piece[TO] - piece[FROM]] - FIRST_BYTE).astype(np.uint8).tobytes()
        found = slow_hints(bpe.strings, text)
        wanted[at : at + len(text)] = [NO_HINT if one is None else stream.vocab.first_id(2) + one for one in found]
    assert rows.hints.scale == 1.0
    assert rows.hints.ids.tolist() == wanted.tolist()
    assert len(set(wanted.tolist())) > 10


def hinted_passages(stream, plan, rows):
    """Whether each raw piece of text is hinted: all of it or nothing."""
    found = []
    for piece in plan.pieces[(plan.pieces[:, REPRESENTATION] == 0) & (plan.pieces[:, TO] > plan.pieces[:, FROM])]:
        at = piece[ROW] * LENGTH + piece[AT] + 1
        own = rows.hints.ids[at : at + piece[TO] - piece[FROM]] != NO_HINT
        assert own.all() == own.any()
        found.append((piece[PASSAGE], own.all()))
    return found


def test_a_share_of_passages_is_hinted_while_the_scale_falls(corpus):
    stream, state = stream_of(corpus, HALF, rows=12), State()
    found, scales = [], []
    for _ in range(10):
        plan, state = stream.plan(state)
        rows = stream.rows(plan)
        scales.append(rows.hints.scale if rows.hints else 0.0)
        found += hinted_passages(stream, plan, rows) if rows.hints else []
    assert scales == [HALF.scale.at(step / 10) for step in range(10)]
    assert scales[6:] == [0.0] * 4
    hinted = [one for _, one in found]
    assert len(hinted) > 100
    assert 0.3 < np.mean(hinted) < 0.7
    both = {passage for passage, one in found if one} & {passage for passage, one in found if not one}
    assert both, "another step hints at other passages"


def test_hints_are_the_same_for_any_rows_at_a_time_and_after_a_resume(corpus):
    stream, state = stream_of(corpus, HALF), State()
    for _ in range(3):
        _, state = stream.plan(state)
    plan, _ = stream.plan(state)
    whole = stream.rows(plan).hints.ids
    again = pickle.loads(pickle.dumps(stream))
    parts = [again.rows(again.plan(state)[0], row, row + 1).hints.ids for row in range(3)]
    assert np.array_equal(np.concatenate(parts), whole)
    other = stream_of(corpus, HALF, seed=2)
    assert not np.array_equal(other.rows(other.plan(state)[0]).hints.ids, whole)


def test_without_hints_rows_are_as_they_were(corpus):
    plain, with_hints = stream_of(corpus, Hints()), stream_of(corpus, HALF)
    one, other = (stream.rows(stream.plan(State())[0]) for stream in (plain, with_hints))
    assert one.hints is None
    assert np.array_equal(one.symbols, other.symbols)
    assert plain.plan(State())[1] == with_hints.plan(State())[1]


def test_what_has_no_tokens_is_refused(corpus):
    store, (bpe, _) = corpus
    for views, hints in (((), HALF), ((bpe.name,), replace(HALF, view="other"))):
        mixture = Mixture(phases=(Phase(1.0, "one", 0.4 if views else 0.0),))
        stream = Stream(store, views, mixture, Shape(2, LENGTH, 100), 1, 10, hints=hints)
        with pytest.raises(InputError, match=r"scaffolding\.hints\.view is .*name one of the run's views"):
            _ = stream.hinted_view
    with pytest.raises(InputError, match=r"those of 'bits' don't"):
        hinted_view(BitsView(), 320)


def test_a_byte_that_a_tokenizer_lacks_has_no_hint():
    """The view stands in for it by a symbol of its own, which no model has learned."""
    view = hinted_view(SimpleNamespace(strings=[b"a", b"ba", b"b", b"c"], own_bytes=range(2, 4)), 1000)
    ids = np.frombuffer(b"abac", np.uint8).astype(np.int64) + FIRST_BYTE
    assert view.tokens.of_ids(ids).tolist() == [0, -1, 1, -1]
