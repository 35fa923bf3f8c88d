"""The planner against a slow, obvious one that writes symbols one by one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.mixture.slow_planner import SlowStream, slow_rows
from tests.mixture.toys import table_of

from byteproxy.mixture.planner import Planner, State
from byteproxy.mixture.row_pieces import DOCUMENT, ENDED, FROM, OPENING, PASSAGE, REPRESENTATION, TO
from byteproxy.mixture.schedule import MODES, Mixture, Phase
from byteproxy.vocab import NEUTRAL, opening


def planned_rows(plan, rows, length):
    out = [[None] * length for _ in range(rows)]
    for piece in plan.pieces.tolist():
        row, at_, document, passage, representation, opened, begin, end, closed, ended = piece
        assert opened in (NEUTRAL, opening(representation))
        first = "bos" if opened == NEUTRAL else "open"
        whats = [first, *((passage, i) for i in range(begin, end)), *["close"] * closed, *["eos"] * ended]
        for place, what in enumerate(whats, at_):
            assert out[row][place] is None, "two pieces overlap"
            out[row][place] = (document, representation, what)
    return out


def sources(views):
    """One to three sources, the later ones maybe empty, of documents of passages."""
    passage = st.tuples(st.integers(1, 40), *[st.integers(1, 15)] * views)
    document = st.lists(passage, min_size=1, max_size=6)
    first = st.lists(document, min_size=1, max_size=4)
    return st.tuples(first, st.lists(document, max_size=3), st.lists(document, max_size=2))


PHASES = st.builds(
    lambda mode, rate, end, curve, order: Phase(0.5, mode, rate, end, curve, order),
    st.sampled_from(MODES),
    st.floats(0, 1),
    st.none() | st.floats(0, 1),
    st.sampled_from(["linear", "cosine"]),
    st.sampled_from(["random", "raw_first", "compressed_first"]),
)
CASES = st.integers(1, 3).flatmap(
    lambda views: st.fixed_dictionaries(
        {
            "sources": sources(views),
            "weights": st.tuples(st.floats(0.1, 3), st.floats(0, 3), st.floats(0, 3)),
            "views": st.tuples(st.floats(0.1, 2), *[st.floats(0, 2)] * (views - 1)),
            "phases": st.tuples(PHASES, PHASES),
            "count": st.sampled_from(["segments", "bytes", "positions"]),
            "passages": st.integers(1, 5),
            "rows": st.integers(1, 3),
            "seed": st.integers(0, 2**63 - 1),
        }
    )
)
STEPS = 6


def planner_of(case, length, packing="fill"):
    mixture = Mixture(phases=case["phases"], count=case["count"], passages=case["passages"], packing=packing)
    table = table_of(case["sources"])
    arguments = mixture, STEPS, table, list(case["weights"]), list(case["views"])
    return Planner(*arguments, case["rows"], length, case["seed"]), SlowStream(*arguments, case["seed"])


def check_counts(plan, cells_of_rows):
    """Lengths, targets, positions and keys, counted cell by cell; a cell is (document, representation, what)."""
    borders = [cell[0] for row in cells_of_rows for cell in row]
    counted = [borders.count(document) for document in dict.fromkeys(borders)]
    assert plan.lengths.tolist() == counted
    wanted, positions = [0] * len(plan.segments), [0] * len(plan.segments)
    cells = [cell for row in cells_of_rows for cell in row]
    for cell in cells:
        positions[cell[1]] += cell[2] != "empty"
    for here, there in pairwise(cells):
        wanted[here[1]] += here[0] == there[0] and here[2] != "empty"
    assert plan.targets.tolist() == wanted
    assert plan.positions.tolist() == positions


@settings(max_examples=300)
@given(case=CASES, length=st.integers(8, 60))
def test_filled_rows_are_those_of_the_slow_planner(case, length):
    fast, slow = planner_of(case, length)
    rows = case["rows"]
    wanted = slow_rows(slow, rows, length, STEPS)
    assert fast.lengths[""] == pytest.approx(slow.lengths())
    state = State()
    for step in range(STEPS):
        plan, state = fast.plan(state)
        mine = wanted[step * rows : (step + 1) * rows]
        planned = planned_rows(plan, rows, length)
        assert [[cell and cell[1:] for cell in row] for row in planned] == [[cell[1:] for cell in row] for row in mine]
        numbers = [cell[0] for row in planned for cell in row]
        assert numbers == [number for number, size in enumerate(plan.lengths) for _ in range(size)]
        check_counts(plan, mine)
        begun = [0] * len(plan.segments)
        for _, shown, what in (cell for row in mine for cell in row):
            begun[shown] += what != "eos" and isinstance(what, tuple) and what[1] == 0
        assert plan.segments.tolist() == begun
        assert plan.padding == 0


@settings(max_examples=100)
@given(case=CASES)
def test_whole_packing_shows_the_same_draws_and_cuts_none(case):
    """Every document of the slow stream in order, whole, and each step as full as a next draw allows by its length."""
    length, rows = 260, case["rows"]
    if rows == 1:
        length = 400  # both documents of a parallel draw
    fast, slow = planner_of(case, length, "whole")
    state = State()
    for step in range(STEPS):
        plan, state = fast.plan(state)
        cells = [[cell or ("empty", 0, "empty") for cell in row] for row in planned_rows(plan, rows, length)]
        shown = {}
        for number, row in enumerate(cells):
            for document, representation, what in row:
                if document != "empty":
                    shown.setdefault(document, (number, []))[1].append((representation, what))
        found = sorted(tuple(content) for _, content in shown.values())
        wanted = []
        while len(wanted) < len(found):
            draw = slow.next(step)
            for segments in draw.documents:
                document = []
                for place, (passage, representation) in enumerate(segments):
                    if representation < 0:
                        representation = slow.switched(draw.number, place, step)
                    size = int(slow.table.rows[passage, 2 + 2 * representation])
                    document += [(representation, "bos" if draw.plain else "open")]
                    document += [(representation, (passage, at)) for at in range(size)]
                    document += [(representation, "close")] * (not draw.plain)
                    document += [(representation, "eos")] * (place == len(segments) - 1)
                wanted.append(tuple(document))
        assert found == sorted(wanted)
        assert plan.padding == sum(cell[2] == "empty" for row in cells for cell in row)
        named = [
            [(("empty", number) if cell[0] == "empty" else cell[0], *cell[1:]) for cell in row]
            for number, row in enumerate(cells)
        ]
        check_counts(plan, named)
        assert (slow.number, slow.drawn) == (state.draw, list(state.drawn))
        # The next draw would not have fitted, or fitting it was not found: no step is left half empty.
        assert plan.padding <= rows * 246


@settings(max_examples=100)
@given(case=CASES, packing=st.sampled_from(["fill", "whole"]), order=st.permutations(range(STEPS)))
def test_a_step_is_planned_the_same_from_its_state_alone(case, packing, order):
    fast, _ = planner_of(case, 400, packing)
    states, plans = [State()], []
    for _ in range(STEPS):
        plan, following = fast.plan(states[-1])
        plans.append(plan)
        states.append(following)
    again, _ = planner_of(case, 400, packing)
    for step in order:
        plan, following = again.plan(states[step])
        assert np.array_equal(plan.pieces, plans[step].pieces)
        assert np.array_equal(plan.lengths, plans[step].lengths)
        assert following == states[step + 1]


def corpus(seed=0, documents=800, views=1):
    generator = np.random.default_rng(seed)
    sizes = [generator.integers(50, 513, count) for count in generator.integers(1, 12, documents)]
    return table_of([[[(n, *(n // (3 + view) + 1 for view in range(views))) for n in own] for own in sizes]])


TABLE = corpus()


def realised(mixture, steps=300, rows=2, length=2048, table=TABLE, views=1):
    planner = Planner(mixture, steps, table, [1.0], [1.0] * views, rows, length, 1)
    state, segments, positions = State(), 0, 0
    for _ in range(steps):
        plan, state = planner.plan(state)
        segments, positions = segments + plan.segments, positions + plan.positions
    return segments, positions


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4, 0.5, 0.55, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("mode", MODES)
def test_realised_share_of_segments_is_the_rate(rate: float, mode: str):
    segments, _ = realised(Mixture(phases=(Phase(1.0, mode, rate),)))
    share = segments[1] / segments.sum()
    # Draws are independent: three standard errors of a share, generously counting every segment as its own draw.
    assert abs(share - rate) < 3 * np.sqrt(rate * (1 - rate) / segments.sum()) + 1e-3


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", ["random", "compressed_first"])
def test_realised_share_of_positions_is_the_rate(rate: float, mode: str, order: str):
    mixture = Mixture(phases=(Phase(1.0, mode, rate, order=order),), count="positions")
    segments, positions = realised(mixture)
    share = positions[1] / positions.sum()
    # As a share of segments, a small change d of which moves the share of positions by at most about 3 d here; the
    # coefficient of variation of lengths is about a half.
    assert abs(share - rate) < 3 * 3 * 1.2 * np.sqrt(rate * (1 - rate) / segments.sum()) + 2e-3
    counted_by_segments, _ = realised(Mixture(phases=(Phase(1.0, mode, rate, order=order),)))
    assert segments[1] / segments.sum() > counted_by_segments[1] / counted_by_segments.sum()


def test_both_orders_of_a_pair_occur_equally_often():
    planner = Planner(
        Mixture(phases=(Phase(1.0, "pairs", 0.5),)), 1, table_of([[[(20, 5)]]]), [1.0], [1.0], 1, 100_000, 0
    )
    plan, _ = planner.plan(State())
    first = plan.pieces[np.unique(plan.pieces[:, DOCUMENT], return_index=True)[1], REPRESENTATION]
    assert abs(first.mean() - 0.5) < 0.05


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("packing", ["fill", "whole"])
def test_every_passage_is_shown_once_an_epoch_in_a_new_order(mode: str, packing: str):
    """Over three epochs of each source; with the weights as odds, and every symbol a target once a showing."""
    generator = np.random.default_rng(1)
    documents = [
        [[tuple(generator.integers(1, 30, 2)) for _ in range(generator.integers(1, 7))] for _ in range(12)]
        for _ in range(2)
    ]
    table = table_of(documents)
    mixture = Mixture(phases=(Phase(1.0, mode, 0.5),), passages=3, packing=packing)
    planner = Planner(mixture, 10_000, table, [1.0, 2.0], [1.0], 2, 200, 3)
    state, shown = State(), [[], []]
    while (
        min(count / one.passages for count, one in zip(state.drawn or (0, 0), table.summary.sources, strict=True)) < 3
    ):
        plan, state = planner.plan(state)
        for piece in plan.pieces.tolist():
            source = int(piece[PASSAGE] >= table.summary.sources[1].first)
            if piece[FROM] == 0 and piece[TO] > 0:
                shown[source].append(piece[PASSAGE])
    assert state.drawn[1] / table.summary.sources[1].passages > 1.6 * state.drawn[0] / table.summary.sources[0].passages
    for source, one in enumerate(table.summary.sources):
        counts = np.bincount(np.array(shown[source]) - one.first, minlength=one.passages)
        times = 2 if mode in ("pairs", "parallel") else 1
        if times == 1:
            epochs = state.drawn[source] // one.passages
            assert counts.min() >= epochs - (packing == "whole") - (mode == "switch")
            assert counts.max() <= epochs + 2
        if packing == "fill" and mode in ("one", "plain"):
            first = [shown[source][epoch * one.passages : (epoch + 1) * one.passages] for epoch in range(3)]
            assert all(sorted(epoch) == list(range(one.first, one.first + one.passages)) for epoch in first)
            assert first[0] != first[1] != first[2]


def test_every_symbol_of_a_segment_is_a_target_once():
    generator = np.random.default_rng(1)
    table = table_of([[[tuple(counts)] for counts in generator.integers(1, 90, (50, 2))]])
    planner = Planner(Mixture(phases=(Phase(1.0, "pairs", 0.6),)), 200, table, [1.0], [1.0], 2, 64, 3)
    state, seen = State(), {}
    for _ in range(200):
        plan, state = planner.plan(state)
        for piece in plan.pieces:
            key = int(piece[PASSAGE]), int(piece[REPRESENTATION])
            at_once = np.zeros(table.rows[key[0], 2 + 2 * key[1]], int)
            at_once[piece[FROM] : piece[TO]] += 1
            seen[key] = seen.get(key, 0) + at_once
    for counts in seen.values():
        assert counts.max() - counts.min() <= 1, "a segment was cut without its rest coming next"


def test_chains_are_consecutive_and_begin_elsewhere_in_another_epoch():
    table = table_of([[[(20, 7)] * 9]])
    mixture = Mixture(phases=(Phase(1.0, "switch", 0.5),), passages=4)
    planner = Planner(mixture, 300, table, [1.0], [1.0], 1, 2000, 3)
    plan, _ = planner.plan(State())
    begins = set()
    for document in range(len(plan.lengths)):
        own = plan.pieces[plan.pieces[:, DOCUMENT] == document]
        assert (np.diff(own[:, PASSAGE]) == 1).all()
        assert len(own) <= 4
        assert own[:-1, ENDED].sum() == 0
        begins.add(int(own[0, PASSAGE]))
    assert len(begins) > 5
    both = [np.unique(plan.pieces[plan.pieces[:, DOCUMENT] == d, REPRESENTATION]) for d in range(len(plan.lengths))]
    assert max(map(len, both)) == 2, "no context has both representations"


def test_views_are_taken_by_their_weights():
    table = corpus(documents=100, views=3)
    planner = Planner(Mixture(phases=(Phase(1.0, "one", 0.8),)), 200, table, [1.0], [1.0, 0.0, 3.0], 2, 4096, 1)
    state, segments = State(), 0
    for _ in range(200):
        plan, state = planner.plan(state)
        segments = segments + plan.segments
    assert segments[2] == 0
    assert segments[3] / segments[1] == pytest.approx(3, rel=0.15)


def test_bytes_only_never_opens_a_view():
    planner = Planner(Mixture("bytes"), 1, table_of([[[(30,), (40,)]]]), [1.0], [], 1, 500, 0)
    plan, _ = planner.plan(State())
    assert set(plan.pieces[:, REPRESENTATION]) == {0}
    assert set(plan.pieces[:, OPENING]) == {opening(0)}


def test_whole_packing_loses_little_where_passages_are_short():
    planner = Planner(Mixture(phases=(Phase(1.0, "one", 0.6),), packing="whole"), 20, TABLE, [1.0], [1.0], 64, 4096, 1)
    state, padding = State(), 0
    for _ in range(20):
        plan, state = planner.plan(state)
        padding += plan.padding
    assert 0 < padding / (20 * 64 * 4096) < 0.01


def test_a_phase_shows_the_view_that_it_names():
    """And its odds, counted in positions, are those of that view's lengths."""
    table = table_of([[[(100, 50, 20)] * 5] * 8])
    phases = (Phase(0.5, "one", 0.5, view="coarse"), Phase(0.25, "one", 0.5, view="fine"), Phase(0.25, "one", 0.5))
    mixture = Mixture(phases=phases, count="positions")
    planner = Planner(mixture, 40, table, [1.0], [1.0, 1.0], 4, 600, 0, ("fine", "coarse"))
    state, shown = State(), []
    for _ in range(40):
        plan, state = planner.plan(state)
        shown.append(plan.positions[:3])
    coarse, fine, both = (np.sum(shown[first:last], axis=0) for first, last in ((1, 20), (21, 30), (31, 40)))
    assert coarse[1] == 0
    assert fine[2] == 0
    assert min(both) > 0
    for positions in (coarse, fine):
        assert positions[1:].sum() / positions.sum() == pytest.approx(0.5, abs=0.08)
