"""What is guessed, and how far."""

from hypothesis import given
from hypothesis import strategies as st

from byteproxy.generate.drafts import Costs, Pace, copied


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


def test_guesses_go_as_far_as_they_are_right():
    pace = Pace(6)
    assert pace.length() == 6
    for _ in range(60):
        pace.saw([(pace.length(), min(pace.length(), 2)), (pace.length(), min(pace.length(), 3))])
    lengths = {pace.length()}
    for _ in range(40):
        pace.saw([(pace.length(), min(pace.length(), 2)), (pace.length(), min(pace.length(), 3))])
        lengths.add(pace.length())
    assert lengths == {3, 4}, "one more is tried again now and then"
    for _ in range(2000):
        pace.saw([(pace.length(), pace.length())])
    assert pace.length() == 6


def test_a_drafter_that_is_never_right_is_hardly_asked():
    pace, guessed = Pace(16), 0
    for _ in range(320):
        guessed += pace.length()
        pace.saw([(pace.length(), 0)])
    assert pace.length() <= 1
    assert guessed < 16 * 22
    for _ in range(64):
        pace.saw([])
    assert pace.length() <= 1


def test_a_drafter_that_did_not_pay_is_tried_again():
    pace, costs = Pace(4), Costs()
    for _ in range(5):
        costs.saw(1, 0, 1.0)
        costs.saw(1, 1, 10.0)
    assert pace.length(costs) == 0
    lengths = []
    for _ in range(400):
        guesses = pace.length(costs)
        lengths.append(guesses)
        costs.saw(1, guesses, 1.0)  # it was another program that took the time
        pace.saw([(guesses, guesses)] if guesses else [])
    assert lengths[0] == 0
    assert 1 in lengths[:33]
    assert lengths[-1] == 4


def test_guesses_are_not_made_where_a_pass_with_them_costs_more_than_they_bring():
    pace, costs = Pace(6), Costs()
    for guesses in range(7):
        for _ in range(5):
            costs.saw(1, guesses, 1.0 if guesses <= 3 else 2.0)
            costs.saw(8, guesses, 1.0 + 2 * guesses)
        costs.saw(1, guesses, 100.0)
    for _ in range(60):
        pace.saw([(6, 6), (6, 5), (6, 4), (6, 3)])
    assert pace.length() == 6
    assert pace.length(costs, 1) == 3
    assert pace.length(costs, 8) == 0
    assert pace.length(costs, 3) == 6, "of so many documents no pass was seen yet"
