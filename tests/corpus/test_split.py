import random

import pytest

from byteproxy.corpus.split import SIDES, Split
from byteproxy.errors import InputError

PROJECTS = [f"project-{number}" for number in range(20_000)]


def test_fractions_are_what_was_asked() -> None:
    sides = [Split(validation=0.2, test=0.3).side_of(project) for project in PROJECTS]
    assert sides.count("validation") / len(sides) == pytest.approx(0.2, abs=0.01)
    assert sides.count("test") / len(sides) == pytest.approx(0.3, abs=0.01)
    assert set(sides) == set(SIDES)


def test_sides_depend_on_nothing_but_salt_and_name() -> None:
    shuffled = random.Random(0).sample(PROJECTS, len(PROJECTS))
    forward = {project: Split().side_of(project) for project in PROJECTS}
    assert {project: Split().side_of(project) for project in shuffled} == forward


def test_sides_never_change_between_versions() -> None:
    names = ["json", "asyncio", "email", "http", "xml", "decimal", "unittest", "typing", "é", ""]
    assert [Split(0.2, 0.3).side_of(name) for name in names] == [
        "train",
        "test",
        "train",
        "train",
        "train",
        "test",
        "test",
        "test",
        "train",
        "test",
    ]


def test_salt_draws_another_split() -> None:
    one, other = Split(0.2, 0.3), Split(0.2, 0.3, salt="again")
    agreeing = sum(one.side_of(project) == other.side_of(project) for project in PROJECTS)
    assert agreeing / len(PROJECTS) == pytest.approx(0.5**2 + 0.2**2 + 0.3**2, abs=0.02)


def test_salt_and_name_are_kept_apart() -> None:
    projects = PROJECTS[:500]
    one = [Split(0.2, 0.3, salt="ab").side_of("c" + project) for project in projects]
    assert one != [Split(0.2, 0.3, salt="a").side_of("bc" + project) for project in projects]


def test_held_out_grows_without_moving_what_is_held_out() -> None:
    small, large = Split(validation=0.0, test=0.1), Split(validation=0.0, test=0.2)
    assert all(large.side_of(project) == "test" for project in PROJECTS if small.side_of(project) == "test")


def test_nothing_held_out() -> None:
    assert {Split(0.0, 0.0).side_of(project) for project in PROJECTS} == {"train"}


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["validation", "test"])
def test_impossible_fraction_is_refused_by_name(field: str, fraction: float) -> None:
    with pytest.raises(InputError, match=f"split.{field}"):
        Split(validation=fraction) if field == "validation" else Split(test=fraction)


def test_fractions_that_leave_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        Split(validation=0.5, test=0.5)
