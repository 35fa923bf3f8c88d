"""What is guessed, and how far."""

from itertools import accumulate, product
from operator import mul

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.generate.drafts import LEADS, AcceptanceRates, PassTimes, copied, kinds_of, worth


def searched(text, context, most):
    """By looking at every place, from the last."""
    end = text[-6:]
    for at in range(len(text) - 7, max(0, len(text) - context) - 1, -1):
        if text[at : at + 6] == end:
            return list(text[at + 6 : at + 6 + most])
    return []


@given(st.lists(st.sampled_from([b"abcdef", b"a", b"b", b"xyz"]), max_size=12), st.integers(1, 60), st.integers(0, 20))
def test_copies_are_what_followed_the_last_same_bytes(parts, context, most):
    text = b"".join(parts)
    found = copied(bytearray(text), context, most)
    assert found == (searched(text, context, most) if len(text) > 6 else [])


def test_acceptance_rates_are_those_of_late_and_of_guesses_in_a_row():
    odds, rng = AcceptanceRates(3), np.random.default_rng(0)
    assert odds.of([0, 1, 2]) == [1.0, 1.0, 1.0], "until something was seen"
    rates = [0.9, 0.5, 0.2]
    for _ in range(400):
        kinds = rng.integers(0, 3, 5).tolist()
        outcomes = rng.random(5) < [rates[kind] for kind in kinds]
        odds.saw(kinds, 5 if outcomes.all() else int(outcomes.argmin()))
    found = [odds.of([kind])[0] for kind in range(3)]
    assert found == pytest.approx(rates, abs=0.25)
    assert odds.of([0, 2, 1]) == pytest.approx([found[0], found[0] * found[2], found[0] * found[2] * found[1]])
    for _ in range(200):
        odds.saw([2], 1)
    assert odds.of([2])[0] > 0.99
    assert odds.of([1])[0] == found[1], "what no wrong guess let be seen is not counted"


def test_only_what_was_checked_in_a_row_is_counted():
    odds = AcceptanceRates(4)
    odds.saw([0, 1, 2, 3], 1)  # the first was right, the second wrong
    assert odds.of([0])[0] == 1.0
    assert odds.of([1])[0] < 1.0
    assert odds.of([2, 3]) == [1.0, 1.0]


def test_kinds_rise_with_the_lead():
    kinds = kinds_of([0.0, 0.4, 1.0, 5.0, 1e9])
    assert kinds == sorted(kinds)
    assert kinds[0] == 0
    assert kinds[-1] == LEADS - 1
    assert len(set(kinds)) == 5
    assert kinds_of([float("inf"), float("nan")]) == [LEADS - 1, 0]


class Known(PassTimes):
    def __init__(self, costs):
        self.costs = costs

    def of(self, documents, most):
        return [self.costs(guesses) for guesses in range(most + 1)]


chance = st.sampled_from([1.0, 0.9, 0.7, 0.5, 0.1])


@given(st.lists(st.lists(chance, max_size=3), min_size=1, max_size=3), st.integers(0, 40), st.integers(0, 2))
def test_what_is_checked_brings_the_most_bytes_for_its_cost(steps, slope, more):
    """Against every way to cut each document's guesses."""
    chances = [list(accumulate(own, mul)) for own in steps]

    def costs(guesses):
        return 1 + slope * guesses / 20

    found = worth(chances, Known(costs))
    assert worth(chances, Known(costs), more) == [
        min(len(own), count + more) for own, count in zip(chances, found, strict=True)
    ]

    def rate(counts):
        brought = len(chances) + sum(sum(own[:count]) for own, count in zip(chances, counts, strict=True))
        return brought / costs(sum(counts))

    best = max(rate(counts) for counts in product(*(range(len(own) + 1) for own in chances)))
    assert rate(found) == pytest.approx(best)


def test_pass_times_are_the_least_of_the_last_few_and_never_fall_with_guesses():
    costs = PassTimes()
    assert costs.of(1, 3) == [1.0] * 4
    for seconds in (9.0, 5.0, 7.0):
        costs.saw(1, 4, seconds)
    assert costs.of(1, 6) == [5.0] * 7
    costs.saw(1, 0, 1.0)
    assert costs.of(1, 6) == [1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0]
    costs.saw(1, 2, 30.0)  # it was another program that took the time
    assert costs.of(1, 4) == [1.0, 3.0, 5.0, 5.0, 5.0]
    assert costs.of(8, 2) == [1.0] * 3, "of so many documents no pass was seen yet"
    for _ in range(5):
        costs.saw(1, 2, 1.5)
    assert costs.of(1, 4) == [1.0, 1.25, 1.5, 3.25, 5.0]
