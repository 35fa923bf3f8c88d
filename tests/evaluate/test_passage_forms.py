"""Documents of passages are those that training shows."""

import numpy as np
import pytest
from tests.mixture.corpora import corpus

from byteproxy.errors import InputError
from byteproxy.evaluate.passage_forms import batches, documents_of, passage_at, sampled
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.planner import State
from byteproxy.mixture.row_pieces import DOCUMENT, FROM, PASSAGE, REPRESENTATION
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.runs.with_corpus import Run
from byteproxy.store.encode import add_view
from byteproxy.store.store import Store
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import model_of, stream_of
from byteproxy.views import registry
from byteproxy.vocab import EOS, Vocab, closing, opening

SMALL = ModelConfig(width=16, layers=1, heads=1, ffn=16)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Two views of several bytes a symbol, and one of several symbols a byte."""
    folder = tmp_path_factory.mktemp("corpus")
    corpus(folder)
    add_view(folder, registry.build("nibbles", lambda: ()).view, spec="nibbles")
    return Store.open(folder)


def config_of(store, mode="pairs", composed=False, **shape):
    return TrainConfig(
        stop="20 steps",
        views=tuple(view.name for view in store.manifest.views),
        model=ModelConfig(width=16, layers=1, heads=1, ffn=16, inputs="mean" if composed else "symbols"),
        objective=Objective(symbols=0.0, bytes=1.0) if composed else Objective(bytes=1.0),
        mixture=Mixture(phases=(Phase(1.0, mode, 0.5),), packing="whole"),
        shape=Shape(**({"sequences_per_step": 2, "sequence_length": 2048, "context_bytes": 200} | shape)),
    )


def run_of(config, store):
    vocab = Vocab(tuple(store.manifest.view(name).alphabet_size for name in config.views))
    return Run("run", store.path, config, store, vocab, model_of(config, vocab.size), 0)


@pytest.mark.parametrize("mode", ["pairs", "one"])
@pytest.mark.parametrize("composed", [False, True], ids=["symbols", "composed"])
def test_documents_are_those_of_the_stream(store, mode, composed):
    """Every array of every document that twenty steps show, empty stretches apart, in each mode and every view."""
    config = config_of(store, mode, composed)
    stream, run = stream_of(config, store), run_of(config, store)
    table = store.table("train", config.views, 200).rows  # in symbols; the stream's may count units
    state, seen = State(), set()
    for _ in range(20):
        plan, state = stream.plan(state)
        rows = stream.rows(plan)
        ends = np.cumsum(plan.lengths)
        text_begins = np.concatenate([[0], rows.expanded.ends])
        for number in np.unique(plan.pieces[:, DOCUMENT]):
            pieces = plan.pieces[plan.pieces[:, DOCUMENT] == number]
            assert (pieces[:, FROM] == 0).all(), "packing is whole"
            shown = pieces[:, REPRESENTATION].tolist()
            seen.add(tuple(shown))
            passage = passage_at(run, table[pieces[0, PASSAGE]])
            made = documents_of([passage], shown)
            here = slice(ends[number] - plan.lengths[number], ends[number])
            assert made.rows.symbols.tolist() == rows.symbols[here].tolist()
            assert made.rows.targets.tolist() == rows.targets[here].tolist()
            assert made.rows.representations.tolist() == rows.representations[here].tolist()
            assert made.rows.lengths.tolist() == [plan.lengths[number]]
            begin = text_begins[here.start]
            assert (made.rows.expanded.ends + begin).tolist() == rows.expanded.ends[here].tolist()
            assert (made.rows.expanded.segment_ends + begin).tolist() == rows.expanded.segment_ends[here].tolist()
            assert (
                made.rows.expanded.ids.tolist() == rows.expanded.ids[begin : rows.expanded.ends[here.stop - 1]].tolist()
            )
    expected = {(0, view) for view in (1, 2, 3)} | {(view, 0) for view in (1, 2, 3)}
    assert seen >= (expected if mode == "pairs" else {(0,), (1,), (2,), (3,)})


def test_several_documents_are_laid_end_to_end(store):
    run = run_of(config_of(store), store)
    passages = sampled(run, "train", 5)
    whole, parts = documents_of(passages, [1, 0]), [documents_of([one], [1, 0]).rows for one in passages]
    for name in ("symbols", "targets", "representations", "lengths"):
        assert getattr(whole.rows, name).tolist() == np.concatenate([getattr(one, name) for one in parts]).tolist()
    assert whole.rows.expanded.ids.tolist() == np.concatenate([one.expanded.ids for one in parts]).tolist()
    for number, passage in enumerate(passages):
        predicting = whole.predicting[whole.document == number]
        assert whole.rows.symbols[whole.opened[number]] == opening(0)
        assert whole.rows.targets[predicting].tolist() == [64 + byte for byte in passage.text]
        assert whole.rows.targets[whole.ending[number]] == closing(0)
        assert whole.rows.symbols[whole.ending[number] + 2] == EOS


def test_passages_are_those_of_the_side_and_all_different(store):
    run = run_of(config_of(store), store)
    for split in ("validation", "test"):
        texts = [document.text for document in store.documents(split)]
        passages = sampled(run, split, 30)
        assert len({passage.text for passage in passages}) == len(passages)
        for passage in passages:
            assert 0 < len(passage.text) <= store.table(split, run.config.views, 200).summary.most[0]
            assert any(passage.text in text for text in texts)
            assert all(form.spans.sum() == len(passage.text) for form in passage.forms)
    assert sampled(run, "train", 10) != sampled(run, "train", 10, seed=1)
    assert len(sampled(run, "train", 10)) == 10


def test_pairs_fit_into_a_row(store):
    """Nibbles take two symbols a byte, so 200 bytes and their pair take 605 positions."""
    run = run_of(config_of(store, mode="one", sequence_length=450), store)
    passages = sampled(run, "train", 100)
    assert max(len(passage.text) for passage in passages) <= 148
    assert documents_of(passages, [3, 0]).rows.lengths.max() <= 450
    with pytest.raises(InputError, match="rows"):
        sampled(run_of(config_of(store, mode="one", sequence_length=8), store), "train", 100)
    with pytest.raises(InputError, match="at least 2"):
        sampled(run, "train", 1)


def test_batches_hold_all_passages_once_and_like_lengths_together(store, monkeypatch):
    run = run_of(config_of(store), store)
    passages = sampled(run, "train", 30)
    monkeypatch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", 600)
    parts = batches(passages, [1, 0])
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(passages)))
    assert len(parts) > 2
    lengths = [documents_of([passages[at] for at in part], [1, 0]).rows.lengths for part in parts]
    assert all(own.sum() < 1200 for own in lengths)
    assert (np.diff(np.concatenate(lengths)) >= 0).all()
