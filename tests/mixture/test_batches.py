"""Batches are the same global sequence of rows, however they are divided."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixture.corpora import corpus as make_corpus

from byteproxy.errors import InputError
from byteproxy.mixture.batches import IGNORED, BatchDataset, Batches, Part
from byteproxy.mixture.loader import NO_TARGET, Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.schedule import MODES, Mixture, Phase

STEPS = 60


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def stream_of(corpus, mixture, rows=3, seed=1, steps=STEPS, length=640):
    store, (bpe, codebook) = corpus
    return Stream(store, (bpe.name, codebook.name), mixture, Shape(rows, length, 100), seed, steps)


MIXTURES = st.builds(
    lambda modes, rates, count, packing, weight: Mixture(
        phases=(Phase(0.5, modes[0], rates[0], rates[1]), Phase(0.5, modes[1], rates[2])),
        count=count,
        passages=2,
        packing=packing,
        source_weights={"two": weight},
    ),
    st.tuples(st.sampled_from(MODES), st.sampled_from(MODES)),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    st.sampled_from(["segments", "bytes", "positions"]),
    st.sampled_from(["fill", "whole"]),
    st.floats(0.1, 5),
)


def by_row(batches):
    """Every row by step and number, as bytes of all that it holds."""
    rows = {}
    for batch in batches:
        for row in range(len(batch.symbols)):
            parts = (batch.symbols, batch.targets, batch.representations, batch.documents)
            key = batch.step, batch.first_row + row
            assert key not in rows, "a row came twice"
            rows[key] = b"".join(part[row].tobytes() for part in parts), batch.step_targets, batch.following
    return rows


@settings(max_examples=40)
@given(mixture=MIXTURES, rows=st.integers(1, 5), seed=st.integers(0, 2**63 - 1), stop=st.integers(0, 9))
def test_going_on_gives_the_next_50_batches_bit_for_bit(corpus, mixture, rows, seed, stop):
    undisturbed = list(Batches(stream_of(corpus, mixture, rows, seed)))
    state = undisturbed[stop - 1].following if stop else State()
    again = iter(Batches(stream_of(corpus, mixture, rows, seed), state=state))
    for wanted in undisturbed[stop : stop + 50]:
        batch = next(again)
        assert (batch.step, batch.step_targets, batch.following) == (wanted.step, wanted.step_targets, wanted.following)
        for name in ("symbols", "targets", "representations", "documents", "positions"):
            assert np.array_equal(getattr(batch, name), getattr(wanted, name))


@settings(max_examples=40)
@given(
    mixture=MIXTURES,
    rows=st.integers(1, 6),
    seed=st.integers(0, 2**63 - 1),
    ranks=st.integers(1, 4),
    micro=st.none() | st.integers(1, 4),
    workers=st.integers(1, 3),
    stop=st.integers(0, 8),
)
def test_any_division_is_the_same_sequence(corpus, mixture, rows, seed, ranks, micro, workers, stop):
    """Up to a stop with one division, and on from there with another."""
    wanted = by_row(Batches(stream_of(corpus, mixture, rows, seed, 12)))
    found, counts = {}, []
    state = State()
    for rank in range(ranks):
        divided = Batches(stream_of(corpus, mixture, rows, seed, 12), Part(rank, ranks, micro))
        turns = [divided.turns(worker, workers) for worker in range(workers)]
        taken = []
        for number in range(10**9):  # as torch's loader does: a batch from each worker in turn
            batch = next(turns[number % workers], None)
            if batch is None or batch.step >= stop:
                break
            taken.append(batch)
            state = batch.following
        counts.append(len(taken))
        found |= by_row(taken)
    assert len(set(counts)) == 1, "ranks have different numbers of batches"
    found |= by_row(Batches(stream_of(corpus, mixture, rows, seed, 12), Part(0, 1, micro), state))
    assert found == wanted


def test_a_rank_without_rows_gets_empty_batches(corpus):
    stream = stream_of(corpus, Mixture("paper"), rows=2)
    shapes = [[batch.symbols.shape for batch in Batches(stream, Part(rank, 3))][:2] for rank in range(3)]
    assert shapes == [[(0, 640)] * 2, [(1, 640)] * 2, [(1, 640)] * 2]
    last = [[batch.last for batch in Batches(stream_of(corpus, Mixture("paper"), rows=5), Part(0, 2, 2))][:4]]
    assert last == [[False, True, False, True]]


def test_tensors_say_what_the_batches_say(corpus):
    """Labels stand at their own place; torch's loader gives the same with any number of processes."""
    stream = stream_of(corpus, Mixture(phases=(Phase(1.0, "pairs", 0.6),), packing="whole"), steps=7)
    batches = list(Batches(stream, Part(micro_sequences=2)))
    for workers in (0, 2):
        dataset = BatchDataset(Batches(stream, Part(micro_sequences=2)))
        loaded = list(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=workers))
        assert len(loaded) == len(batches) == 14
        for tensors, batch in zip(loaded, batches, strict=True):
            assert np.array_equal(tensors["input_ids"].numpy(), batch.symbols)
            assert np.array_equal(tensors["position_ids"].numpy(), batch.positions)
            labels = tensors["labels"].numpy()
            assert (labels[:, 0] == IGNORED).all()
            assert np.array_equal(labels[:, 1:] == IGNORED, batch.targets[:, :-1] == NO_TARGET)
            aimed = labels != IGNORED
            assert np.array_equal(labels[aimed], batch.symbols[aimed])
            for row in range(len(batch.symbols)):
                sizes = np.bincount(batch.documents[row])
                assert batch.positions[row].tolist() == [at for size in sizes for at in range(size)]


def test_wrong_parts_are_refused():
    with pytest.raises(InputError, match="rank is 2 of 2"):
        Part(2, 2)
    with pytest.raises(InputError, match="micro_sequences is 0"):
        Part(micro_sequences=0)
