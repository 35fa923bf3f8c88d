"""Rows against the store they came from."""

import numpy as np
import pytest

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import Split
from byteproxy.errors import InputError
from byteproxy.mixture import planner
from byteproxy.mixture.loader import NO_TARGET, Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.schedule import BYTES, Mixture
from byteproxy.store.prepare import add_view, prepare
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import EOS, FIRST_BYTE, FIRST_SYMBOL, closing, opening

PAIRED = Mixture(0.6, 0.6, 1.0, True)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    generator = np.random.default_rng(0)
    words = [b"alpha", b"beta", b"\n", b" ", b"gamma()", b"\xff", "\N{EURO SIGN}".encode()]
    texts = [b"".join(generator.choice(np.array(words, object), n)) for n in generator.integers(1, 900, 40)]
    folder = tmp_path_factory.mktemp("corpus")
    documents = [Document(str(i), text, "toy", f"project{i}") for i, text in enumerate(texts)]
    prepare(documents, folder, Split(0.05, 0.1), shard_bytes=20_000)
    view = BpeView.train(texts, 270)
    add_view(folder, view)
    return Store.open(folder), view


def stream_of(corpus, mixture, steps=50, seed=1, length=256):
    store, view = corpus
    return Stream(store, view.name if mixture.needs_view else None, mixture, Shape(2, length, 100), seed, steps)


def test_rows_say_what_the_store_says(corpus):
    """Every segment of every row decodes to the text that its piece names, through the view's own decoder."""
    store, view = corpus
    stream, state = stream_of(corpus, PAIRED), State()
    buffers = {shard: store.text_buffer(shard) for shard in store.shards("train")}
    assert len(buffers) > 1
    whole = 0
    for _ in range(60):
        plan, state = stream.plan(state)
        rows = stream.rows(plan)
        for piece in plan.pieces.tolist():
            row, at, _, passage, representation, begin, end, closed, ended = piece
            here = row * 256 + at
            assert rows.symbols[here] == opening(representation)
            content = rows.symbols[here + 1 : here + 1 + end - begin]
            after = here + 1 + end - begin
            if closed:
                assert rows.symbols[after] == closing(representation)
            if ended:
                assert rows.symbols[after + 1] == EOS
            assert (rows.representations[here : after + closed + ended] == representation).all()
            passages = stream.passages
            text = buffers[passages.shard[passage]][passages.byte_start[passage] : passages.byte_end[passage]].tobytes()
            if representation == 0:
                assert (content - FIRST_BYTE).astype(np.uint8).tobytes() == text[begin:end]
            elif begin == 0 and closed:
                assert view.decode(content - FIRST_SYMBOL) == text
                whole += 1
    assert whole > 50


def test_a_target_is_the_next_symbol_of_the_same_document(corpus):
    stream, state = stream_of(corpus, PAIRED), State()
    for _ in range(10):
        plan, state = stream.plan(state)
        rows = stream.rows(plan)
        document = np.repeat(np.arange(len(plan.lengths)), plan.lengths)
        for place in range(len(rows.symbols)):
            inside = place + 1 < len(document) and document[place + 1] == document[place]
            assert rows.targets[place] == (rows.symbols[place + 1] if inside else NO_TARGET)
        counted = np.bincount(rows.representations[rows.targets != NO_TARGET], minlength=2)
        assert counted.tolist() == plan.targets.tolist()
        # A type is that of the last opening sentinel.
        last = 0
        for place, symbol in enumerate(rows.symbols):
            last = {opening(0): 0, opening(1): 1}.get(int(symbol), last)
            assert rows.representations[place] == last


def test_going_on_from_a_state_gives_the_same_rows(corpus):
    stream, states = stream_of(corpus, PAIRED), [State()]
    rows = []
    for _ in range(50):
        plan, following = stream.plan(states[-1])
        rows.append(stream.rows(plan))
        states.append(following)
    for step in (3, 31):
        fresh, state = stream_of(corpus, PAIRED), states[step]
        for wanted in rows[step:]:
            plan, state = fresh.plan(state)
            for one, other in zip(fresh.rows(plan), wanted, strict=True):
                assert np.array_equal(one, other)


def test_another_seed_gives_other_rows(corpus):
    one, other = (stream_of(corpus, PAIRED, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one.rows(one.plan(State())[0]).symbols, other.rows(other.plan(State())[0]).symbols)


def test_text_bytes_are_counted_to_the_byte(corpus):
    """Over whole segments the counted bytes are the passages' own, cut at row ends or not."""
    stream, state = stream_of(corpus, PAIRED, steps=200, length=64), State()
    counted, begun, done = np.zeros(2, int), np.zeros(2, int), 0
    for _ in range(200):
        plan, state = stream.plan(state)
        counted += stream.text_bytes(plan)
        for piece in plan.pieces.tolist():
            size = int((stream.passages.byte_end - stream.passages.byte_start)[piece[planner.PASSAGE]])
            if piece[planner.FROM] == 0 and piece[planner.TO] > 0:
                begun[piece[planner.REPRESENTATION]] += size
                done += 1
    assert done > 100
    # Only the last segment can be unfinished.
    assert 0 <= (begun - counted).sum() <= (stream.passages.byte_end - stream.passages.byte_start).max()
    assert (begun - counted >= 0).all()


def test_a_raw_stream_never_opens_a_view_but_draws_the_same_passages(corpus):
    raw, both = stream_of(corpus, BYTES), stream_of(corpus, PAIRED)
    assert np.array_equal(raw.passages.byte_end, both.passages.byte_end)
    rows = raw.rows(raw.plan(State())[0])
    assert rows.symbols.max() < FIRST_SYMBOL
    assert raw.vocab.size == FIRST_SYMBOL


def test_wrong_requests_are_refused(corpus):
    store, _ = corpus
    with pytest.raises(InputError, match="no view is named"):
        Stream(store, None, PAIRED, Shape(), 0, 1)
    with pytest.raises(InputError, match="no view 'other'"):
        Stream(store, "other", PAIRED, Shape(), 0, 1)
    with pytest.raises(InputError, match=r"shape\.rows"):
        Shape(rows=0)
