"""Rows against the store they came from."""

import json
import pickle

import numpy as np
import pytest
from tests.mixture.corpora import corpus as make_corpus

from byteproxy.corpus.document import Document
from byteproxy.corpus.source import sources
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.loader import NO_TARGET, Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.row_pieces import FROM, PASSAGE, REPRESENTATION, TO
from byteproxy.mixture.schedule import BYTES, MODES, Mixture, Phase
from byteproxy.store.encode import add_view
from byteproxy.store.passage_index import KEY, PLACE_BITS, length_column, start_column
from byteproxy.store.prepare import Preparation, prepare, prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.base import Encoded
from byteproxy.vocab import EOS, FIRST_BYTE, FIRST_SYMBOL, NEUTRAL, PAD, closing, opening

PAIRED = Mixture(phases=(Phase(1.0, "pairs", 0.6),))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def stream_of(corpus, mixture=PAIRED, steps=50, seed=1, length=640, rows=2, both=True):
    store, (bpe, codebook) = corpus
    views = (bpe.name, codebook.name) if both else (bpe.name,)
    return Stream(store, views if mixture.needs_view else (), mixture, Shape(rows, length, 100), seed, steps)


def text_of(stream, passage):
    row = stream.table.rows[passage]
    start = int(row[start_column(0)])
    return stream.store.text_buffer(int(row[KEY] >> PLACE_BITS))[start : start + int(row[length_column(0)])].tobytes()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("packing", ["fill", "whole"])
def test_rows_say_what_the_store_says(corpus, mode, packing):
    """Every segment of every row decodes to the text that its piece names, through the views' own decoders."""
    _, views = corpus
    mixture = Mixture(phases=(Phase(1.0, mode, 0.6),), passages=2, packing=packing)
    stream, state = stream_of(corpus, mixture), State()
    whole, seen = 0, set()
    for _ in range(40):
        plan, state = stream.plan(state)
        rows = stream.rows(plan)
        untouched = np.ones(len(rows.symbols), bool)
        for piece in plan.pieces.tolist():
            row, at, _, passage, representation, opened, begin, end, closed, ended = piece
            here = row * 640 + at
            assert rows.symbols[here] == opened == (NEUTRAL if mode == "plain" else opening(representation))
            content = rows.symbols[here + 1 : here + 1 + end - begin]
            after = here + 1 + end - begin
            if closed:
                assert rows.symbols[after] == closing(representation)
            if ended:
                assert rows.symbols[after + closed] == EOS
            assert (rows.representations[here : after + closed + ended] == representation).all()
            untouched[here : after + closed + ended] = False
            text = text_of(stream, passage)
            seen.add(representation)
            if representation == 0:
                assert (content - FIRST_BYTE).astype(np.uint8).tobytes() == text[begin:end]
            elif begin == 0 and ended:
                first = stream.vocab.first_id(representation)
                assert views[representation - 1].decode(content - first) == text
                whole += 1
        assert (rows.symbols[untouched] == PAD).all()
        assert (rows.targets[untouched] == NO_TARGET).all()
        assert int(untouched.sum()) == plan.padding
    assert whole > 20
    assert seen == {0, 1, 2}


@pytest.mark.parametrize("packing", ["fill", "whole"])
def test_a_target_is_the_next_symbol_of_the_same_document(corpus, packing):
    mixture = Mixture(phases=(Phase(1.0, "switch", 0.6),), passages=2, packing=packing)
    stream, state = stream_of(corpus, mixture), State()
    for _ in range(10):
        plan, state = stream.plan(state)
        rows = stream.rows(plan)
        document = np.repeat(np.arange(len(plan.lengths)), plan.lengths)
        for place in range(len(rows.symbols)):
            inside = place + 1 < len(document) and document[place + 1] == document[place]
            wanted = rows.symbols[place + 1] if inside and rows.symbols[place] != PAD else NO_TARGET
            assert rows.targets[place] == wanted
        counted = np.bincount(rows.representations[rows.targets != NO_TARGET], minlength=3)
        assert counted.tolist() == plan.targets.tolist()
        # A type is that of the last opening sentinel.
        last = 0
        for place, symbol in enumerate(rows.symbols):
            last = {opening(0): 0, opening(1): 1, opening(2): 2}.get(int(symbol), last)
            assert rows.representations[place] == last or symbol == PAD


@pytest.mark.parametrize("packing", ["fill", "whole"])
def test_any_rows_of_a_step_can_be_made_alone(corpus, packing):
    mixture = Mixture(phases=(Phase(1.0, "pairs", 0.6),), packing=packing)
    stream = stream_of(corpus, mixture, rows=5)
    plan, _ = stream.plan(State())
    whole = stream.rows(plan)
    for first in range(6):
        for last in range(first, 6):
            part = stream.rows(plan, first, last)
            for name in ("symbols", "targets", "representations"):
                assert np.array_equal(getattr(part, name), getattr(whole, name)[first * 640 : last * 640])
            assert part.lengths.sum() == (last - first) * 640
    parts = [stream.rows(plan, row, row + 1).lengths.tolist() for row in range(5)]
    assert [length for part in parts for length in part] == whole.lengths.tolist()


def test_another_seed_gives_other_rows(corpus):
    one, other = (stream_of(corpus, PAIRED, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one.rows(one.plan(State())[0]).symbols, other.rows(other.plan(State())[0]).symbols)


def test_text_bytes_are_counted_to_the_byte(corpus):
    """Over whole segments the counted bytes are the passages' own, cut at row ends or not."""
    stream, state = stream_of(corpus, PAIRED, steps=200, length=64), State()
    counted, begun, done = np.zeros(3, int), np.zeros(3, int), 0
    sizes = stream.table.lengths(0)
    for _ in range(200):
        plan, state = stream.plan(state)
        counted += stream.text_bytes(plan)
        for piece in plan.pieces.tolist():
            if piece[FROM] == 0 and piece[TO] > 0:
                begun[piece[REPRESENTATION]] += sizes[piece[PASSAGE]]
                done += 1
    assert done > 100
    # Only the last segment can be unfinished.
    assert 0 <= (begun - counted).sum() <= sizes.max()
    assert (begun - counted >= 0).all()


def test_a_raw_stream_never_opens_a_view_but_draws_the_same_passages(corpus):
    raw, both = stream_of(corpus, BYTES), stream_of(corpus, both=False)
    assert np.array_equal(raw.table.rows[:, :3], both.table.rows[:, :3])
    rows = raw.rows(raw.plan(State())[0])
    assert rows.symbols.max() < FIRST_SYMBOL
    assert raw.vocab.size == FIRST_SYMBOL


def test_the_largest_document_is_found(corpus):
    stream, state = stream_of(corpus, rows=8), State()
    for _ in range(5):
        plan, state = stream.plan(state)
        positions: dict[tuple[int, int], int] = {}
        for _, _, _, passage, _, _, begin, end, closed, ended in plan.pieces.tolist():
            head = passage
            while int(stream.table.rows[head, KEY]) & ((1 << PLACE_BITS) - 1):
                head -= 1
            positions[head] = positions.get(head, 0) + 1 + end - begin + closed + ended
        assert plan.largest_document(stream.table) == max(positions.values()) / (8 * 640)


def test_no_draw_takes_more_than_a_passage(tmp_path):
    """One document of a megabyte among small ones: it comes piece by piece, and no step is full of it."""
    line = b"".join(b"%d " % number for number in range(20)) + b"\n"
    documents = [Document("large", line * 20_000, "toy", "large")]
    documents += [Document(f"small{number}", line * 40 + b"%d" % number, "toy", f"{number}") for number in range(500)]
    prepare_documents(documents, tmp_path, SplitOptions(0, 0))
    stream = Stream(Store.open(tmp_path), (), BYTES, Shape(32, 2048, 512), 0, 20)
    share = 20_000 / (20_000 + 500 * 40)
    for plan in stream.plans():
        assert plan.lengths.max() <= 512 + 3
        assert plan.largest_document(stream.table) == pytest.approx(share, abs=0.15)


def test_sources_are_drawn_by_their_weights(corpus):
    for weight in (1.0, 4.0):
        mixture = Mixture(phases=PAIRED.phases, source_weights={"two": weight})
        stream, state = stream_of(corpus, mixture, steps=300), State()
        for _ in range(300):
            _, state = stream.plan(state)
        epochs = stream.epochs(state)
        assert epochs["two"] / epochs["one"] == pytest.approx(weight, rel=0.15)


def test_a_corpus_brings_weights_of_its_own(tmp_path):
    """Those of its sources, unless the mixture says others."""
    for name in ("one", "two"):
        lines = "".join(json.dumps({"text": f"{name} {number} " * 40}) + "\n" for number in range(60))
        (tmp_path / f"{name}.jsonl").write_text(lines)
    named = sources([str(tmp_path / "one.jsonl"), f"{tmp_path / 'two.jsonl'}:weight=3"])
    prepare(named, tmp_path / "out", Preparation(SplitOptions(0, 0)))
    for weights, wanted in (({}, 3.0), ({"two": 0.5}, 0.5)):
        mixture = Mixture("bytes", source_weights=weights)
        stream, state = Stream(Store.open(tmp_path / "out"), (), mixture, Shape(4, 2048, 512), 0, 60), State()
        for _ in range(60):
            _, state = stream.plan(state)
        epochs = stream.epochs(state)
        assert epochs["two"] / epochs["one"] == pytest.approx(wanted, rel=0.15)


def test_a_copied_stream_gives_the_same_rows(corpus):
    stream = stream_of(corpus)
    copy = pickle.loads(pickle.dumps(stream))
    one, other = (each.rows(each.plan(State())[0]) for each in (stream, copy))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class Wide:
    """Each byte as a number that needs 32 bits."""

    name, alphabet_size, fingerprint, aligned = "wide", 1 << 20, "wide", True

    def encode(self, document: bytes) -> Encoded:
        symbols = np.frombuffer(document, np.uint8).astype(np.uint32) * 4097
        return Encoded(symbols, np.ones(len(symbols), np.uint32))

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        return list(map(self.encode, documents))


def test_symbols_of_32_bits(tmp_path):
    text = bytes(range(256)) * 4
    prepare_documents([Document("a", text, "toy", "a")], tmp_path, SplitOptions(0, 0))
    add_view(tmp_path, Wide())
    stream = Stream(Store.open(tmp_path), ("wide",), Mixture("symbols"), Shape(1, 2000, 512), 0, 1)
    plan, _ = stream.plan(State())
    content = stream.rows(plan).symbols
    shown = content[content >= FIRST_SYMBOL] - FIRST_SYMBOL
    start = text.index(bytes([int(shown[0]) // 4097, int(shown[1]) // 4097]))
    assert len(shown) > 1000
    assert shown.max() == 255 * 4097
    assert bytes((shown[:100] // 4097).tolist()) == text[start : start + 100]


def test_a_damaged_table_is_refused(corpus):
    stream = stream_of(corpus)
    plan, _ = stream.plan(State())
    rows = stream.table.rows.copy()
    rows[plan.pieces[3, PASSAGE], start_column(int(plan.pieces[3, REPRESENTATION]))] += 1 << 30
    stream.table = stream.table._replace(rows=rows)
    with pytest.raises(InputError, match=r"delete its folder \.passages"):
        stream.rows(plan)


def test_wrong_requests_are_refused(corpus):
    store, (bpe, _) = corpus
    with pytest.raises(InputError, match="no view is named"):
        Stream(store, (), PAIRED, Shape(), 0, 1)
    with pytest.raises(InputError, match="no view 'other'"):
        Stream(store, ("other",), PAIRED, Shape(), 0, 1)
    with pytest.raises(InputError, match=r"shape\.sequences_per_step"):
        Shape(sequences_per_step=0)
    for weights, message in (
        ({"three": 1.0}, r"mixture\.source_weights names 'three'"),
        ({"one": 0.0, "two": 0.0}, "no text to draw"),
    ):
        with pytest.raises(InputError, match=message):
            Stream(store, (bpe.name,), Mixture(source_weights=weights), Shape(), 0, 1)
    for seed, steps, message in (
        (0, 0, "steps is 0"),
        (0, "3", "steps is '3'"),
        (-1, 1, "seed is -1"),
        (1.5, 1, "seed"),
    ):
        with pytest.raises(InputError, match=message):
            Stream(store, (bpe.name,), Mixture(), Shape(), seed, steps)
    with pytest.raises(InputError, match=r"mixture\.view_weights are all 0"):
        Stream(store, (bpe.name,), Mixture(view_weights={bpe.name: 0.0}), Shape(), 0, 1)
    with pytest.raises(InputError, match=r"mixture\.packing is whole.*lower shape\.context_bytes"):
        Stream(store, (bpe.name,), Mixture(packing="whole"), Shape(2, 128, 100), 0, 1)


def test_a_phase_of_a_view_that_the_run_has_not_is_refused(corpus):
    store, (bpe, codebook) = corpus
    mixture = Mixture(phases=(Phase(1.0, "one", 0.5, view=codebook.name),))
    with pytest.raises(InputError, match=rf"mixture\.phases: view is '{codebook.name}'.*{bpe.name}"):
        Stream(store, (bpe.name,), mixture, Shape(), 0, 1)
