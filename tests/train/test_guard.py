import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.train.guard import Guard

norms = st.lists(
    st.one_of(st.floats(0.5, 3), st.floats(0, 1e6), st.sampled_from([0.0, math.nan, math.inf, 20.0, 1e-9])),
    max_size=300,
)


def slow(norms, spike):
    """Which are taken, over the whole list at each step."""
    taken, answers = [], []
    for norm in norms:
        window = taken[-128:]
        fits = math.isfinite(norm)
        if fits and spike and len(window) >= 16 and np.median(window) > 0:
            fits = norm <= spike * np.median(window)
        if fits:
            taken.append(norm)
        answers.append(fits)
    return answers


@given(norms, st.sampled_from([0.0, 1.5, 10.0]))
def test_takes_what_the_slow_rule_takes(norms, spike):
    guard = Guard(spike, max_skips=1000)
    assert [guard.judge(step, norm, 1.0) is None for step, norm in enumerate(norms)] == slow(norms, spike)


@given(norms, st.integers(0, 300), st.integers(0, 5))
def test_a_resumed_run_judges_alike(norms, stop, max_skips):
    def answers(guard, first, last):
        """What is said of each step, up to a last word where the run stops."""
        said = []
        for step, norm in list(enumerate(norms))[first:last]:
            try:
                said.append(guard.judge(step, norm, 1.0))
            except InputError as error:
                return [*said, str(error)], True
        return said, False

    whole, _ = answers(Guard(10.0, max_skips), 0, None)
    guard, resumed = Guard(10.0, max_skips), Guard(10.0, max_skips)
    said, ended = answers(guard, 0, stop)
    if not ended:
        resumed.load_state_dict(json.loads(json.dumps(guard.state_dict(), allow_nan=False)))
        said += answers(resumed, stop, None)[0]
    assert said == whole


def test_what_was_usual_in_another_phase_is_forgotten():
    guard = Guard(10.0, max_skips=0)
    assert all(guard.judge(step, 0.1, 1.0, phase=0) is None for step in range(200))
    resumed = Guard(10.0, max_skips=0)
    resumed.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    for one in (guard, resumed):
        assert all(one.judge(200 + step, 5.0, 1.0, phase=1) is None for step in range(20))
        with pytest.raises(InputError, match="median of the last 20 steps"):
            one.judge(220, 51.0, 1.0, phase=1)


def test_a_spike_is_said_in_numbers_and_forgotten():
    guard = Guard(10.0, 20)
    assert all(guard.judge(step, 7.5, 1.0) is None for step in range(200))
    assert guard.judge(200, 312.0, 1.0) == "the gradient norm 312 is 41.6 times the median of the last 128 steps"
    assert guard.judge(201, 75.1, 1.0) is not None
    assert guard.judge(202, 75.0, 1.0) is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_skipped_from_the_first_step_and_with_spikes_allowed(bad):
    assert Guard(0.0, 20).judge(0, bad, 1.0) == f"the gradient norm is {bad}"
    assert Guard(0.0, 20).judge(0, 1.0, bad) == f"the loss is {bad}"


def test_any_finite_norm_is_taken_where_spikes_are_allowed_or_little_is_known():
    for spike, known in ((0.0, 100), (10.0, 15)):
        guard = Guard(spike, 0)
        assert all(guard.judge(step, 1.0, 1.0) is None for step in range(known))
        assert guard.judge(known, 1e30, 1.0) is None


def test_too_many_skips_in_a_row_stop_the_run_and_say_what_to_do():
    guard = Guard(10.0, max_skips=3)
    for step in range(20):
        guard.judge(step, 1.0, 1.0)
    for _ in range(2):  # a step that is taken in between starts the count again
        assert all(guard.judge(20, norm, 1.0) for norm in (50.0, math.nan, 60.0))
        assert guard.judge(21, 1.0, 1.0) is None
    assert all(guard.judge(22, 50.0, 1.0) for _ in range(3))
    with pytest.raises(InputError, match=r"4 steps in a row.*step 23.*lower optim.learning_rate.*skipped/"):
        guard.judge(23, 50.0, 1.0)


def test_the_first_skip_stops_a_run_that_allows_none():
    with pytest.raises(InputError, match="the loss is nan"):
        Guard(10.0, 0).judge(0, 1.0, math.nan)


def test_skips_in_a_row_are_counted_over_a_resumption():
    guard, resumed = Guard(10.0, max_skips=2), Guard(10.0, max_skips=2)
    assert all(guard.judge(step, math.nan, 1.0) for step in range(2))
    resumed.load_state_dict(json.loads(json.dumps(guard.state_dict(), allow_nan=False)))
    with pytest.raises(InputError, match="3 steps in a row"):
        resumed.judge(2, math.nan, 1.0)


def test_steps_without_targets_say_nothing_of_what_is_usual():
    guard = Guard(10.0, 0)
    assert all(guard.judge(step, 0.0, 0.0) is None for step in range(20))
    assert guard.judge(20, 5.0, 1.0) is None


def test_while_scaffolding_falls_any_finite_norm_is_taken_and_forgotten():
    guard = Guard(10.0, max_skips=1000)
    assert not any(guard.judge(step, 1.0, 1.0) for step in range(40))
    assert guard.judge(40, 50.0, 1.0)
    assert not any(guard.judge(step, 50.0 * step, 1.0, falling=True) for step in range(41, 61))
    assert guard.judge(61, math.nan, 1.0, falling=True)
    assert not any(guard.judge(step, 5.0, 1.0) for step in range(62, 82))  # those of 3,000 are forgotten
    assert guard.judge(82, 60.0, 1.0)
