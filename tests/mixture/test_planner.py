"""The planner against a slow, obvious one that writes symbols one by one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy import coins
from byteproxy.mixture import planner
from byteproxy.mixture.planner import State
from byteproxy.mixture.schedule import RAW_ONLY, Mixture, at, shares


def slow_rows(mixture, steps, passages, rows, length, seed, until):
    """Rows as lists of (document, representation, what), what being "open", "close", "eos" or (passage, index)."""
    out, row, documents = [], [], 0
    draw = -1

    def flush():
        nonlocal row
        out.append(row)
        row = []

    def room():
        return length - len(row)

    while len(out) < until * rows:
        draw += 1
        step = len(out) // rows
        raw_only, compressed_only, _ = shares(at(mixture, step, steps))
        toss = coins.coin(np.uint64(seed), draw, coins.KIND)
        if toss < raw_only:
            order = [0]
        elif toss < raw_only + compressed_only:
            order = [1]
        else:
            order = [0, 1] if coins.coin(np.uint64(seed), draw, coins.ORDER) < 0.5 else [1, 0]
        passage = coins.passage_of(np.uint64(seed), draw, passages.shape[1])
        documents += 1
        for number, representation in enumerate(order):
            row.append((documents, representation, "open"))
            left = list(range(passages[representation, passage]))
            while left:
                while left and room():
                    row.append((documents, representation, (passage, left.pop(0))))
                if left:
                    flush()
                    documents += 1
                    row.append((documents, representation, "open"))
            for last in ["close"] + ["eos"] * (number == len(order) - 1):
                if room():
                    row.append((documents, representation, last))
            if not room():
                flush()
                documents += 1
    return out[: until * rows]


def planned_rows(plan, rows, length):
    out = [[None] * length for _ in range(rows)]
    for piece in plan.pieces.tolist():
        row, at_, document, passage, representation, begin, end, closed, ended = piece
        whats = ["open", *((passage, i) for i in range(begin, end)), *["close"] * closed, *["eos"] * ended]
        for place, what in enumerate(whats, at_):
            assert out[row][place] is None, "two pieces overlap"
            out[row][place] = (document, representation, what)
    return out


lengths = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 15)), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    lengths=lengths,
    start=st.floats(0, 1),
    end=st.floats(0, 1),
    warmup=st.floats(0, 1),
    pairs=st.booleans(),
    rows=st.integers(1, 3),
    length=st.integers(8, 60),
    seed=st.integers(0, 2**63 - 1),
)
def test_rows_are_those_of_the_slow_planner(lengths, start, end, warmup, pairs, rows, length, seed):
    passages = np.array(lengths).T.copy()
    mixture, steps = Mixture(start, end, warmup, pairs), 5
    slow = slow_rows(mixture, steps, passages, rows, length, seed, steps)
    state = State()
    for step in range(steps):
        plan, state = planner.plan(mixture, steps, passages, rows, length, seed, state)
        fast = planned_rows(plan, rows, length)
        mine = slow[step * rows : (step + 1) * rows]
        without_numbers = [[(r, what) for _, r, what in row] for row in mine]
        assert [[cell and cell[1:] for cell in row] for row in fast] == without_numbers
        # Documents: the same borders, and lengths that say so.
        borders = [d for row in mine for d, _, _ in row]
        counted = [borders.count(d) for d in dict.fromkeys(borders)]
        assert plan.lengths.tolist() == counted
        assert [cell[0] for row in fast for cell in row] == [i for i, n in enumerate(counted) for _ in range(n)]
        # Targets: positions whose successor is in the same document, by representation.
        cells = [cell for row in fast for cell in row]
        wanted = [0, 0]
        for here, there in pairwise(cells):
            wanted[here[1]] += here[0] == there[0]
        assert plan.targets.tolist() == wanted
        assert plan.keys_attended == sum(n * (n + 1) // 2 for n in counted)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4, 0.5, 0.55, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("pairs", [True, False])
def test_realised_share_of_segments_is_the_rate(rate: float, pairs: bool):
    generator = np.random.default_rng(0)
    size = generator.integers(50, 513, 5000)
    passages = np.stack([size, size // 3 + 1])
    mixture, steps, state = Mixture(rate, rate, 1.0, pairs), 400, State()
    segments = np.zeros(2)
    for _ in range(steps):
        plan, state = planner.plan(mixture, steps, passages, 2, 2048, 1, state)
        segments += plan.segments
    share = segments[1] / segments.sum()
    # Draws are independent: three standard errors of a share, generously counting every segment as its own draw.
    assert abs(share - rate) < 3 * np.sqrt(rate * (1 - rate) / segments.sum()) + 1e-3


def test_both_orders_of_a_pair_occur_equally_often():
    passages = np.array([[20], [5]])
    plan, _ = planner.plan(Mixture(0.5, 0.5, 1.0, True), 1, passages, 1, 100_000, 0, State())
    first = plan.pieces[np.unique(plan.pieces[:, planner.DOCUMENT], return_index=True)[1], planner.REPRESENTATION]
    assert abs(first.mean() - 0.5) < 0.05


def test_every_symbol_of_an_epoch_is_a_target_once():
    generator = np.random.default_rng(1)
    passages = generator.integers(1, 90, (2, 50))
    state, seen = State(), {}
    for _ in range(200):
        plan, state = planner.plan(Mixture(0.6, 0.6, 1.0, True), 200, passages, 2, 64, 3, state)
        for piece in plan.pieces:
            key = int(piece[planner.PASSAGE]), int(piece[planner.REPRESENTATION])
            at_once = np.zeros(passages[key[1], key[0]], int)
            at_once[piece[planner.FROM] : piece[planner.TO]] += 1
            seen[key] = seen.get(key, 0) + at_once
    for counts in seen.values():
        assert counts.max() - counts.min() <= 1, "a segment was cut without its rest coming next"


def test_a_step_is_planned_the_same_from_its_state_alone():
    passages = np.array([[300, 7, 60], [100, 3, 20]])
    mixture, states, plans = Mixture(), [State()], []
    for _ in range(30):
        plan, following = planner.plan(mixture, 30, passages, 2, 128, 5, states[-1])
        plans.append(plan)
        states.append(following)
    for step in (29, 3, 17):
        again, following = planner.plan(mixture, 30, passages, 2, 128, 5, states[step])
        assert np.array_equal(again.pieces, plans[step].pieces)
        assert following == states[step + 1]


def test_bytes_only_never_asks_for_a_view():
    plan, _ = planner.plan(Mixture(0, 0, 0, False), 1, np.array([[30, 40]]), 1, 500, 0, State())
    assert set(plan.pieces[:, planner.REPRESENTATION]) == {RAW_ONLY}
    assert plan.targets[1] == 0
