"""Every number of every configuration has a finite range, and what is outside is refused by the field's name."""

import math
import types
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.demo.demo_recipe import DemoRecipe as Demo
from byteproxy.demo.demo_recipe import Sample
from byteproxy.demo.demo_recipe import Scoring as DemoScoring
from byteproxy.errors import InputError
from byteproxy.mixture.schedule import BYTES, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.ranges import Range, ensure_in_range, range_of
from byteproxy.study.recipe import Arm, Budgets, Scoring, StudyRecipe, Trials
from byteproxy.study.recipe_given import Corpus
from byteproxy.train.train_config import TrainConfig

ARM = Arm("bytes", run={"mixture": {"preset": "bytes"}})
CONFIGS = [
    TrainConfig(),
    Phase(),
    Corpus(sources=("stdlib",)),
    Trials((1e-3,), 1e9),
    Scoring(),
    ARM,
    StudyRecipe((1,), Corpus(sources=("stdlib",)), {"s": {}}, {"bytes": ARM}, (1e9,)),
    Budgets((1e9,)),
    Demo({"bytes": BYTES}, Sample("bytes")),
]
BAD = [math.nan, math.inf, -math.inf, -1, -5e-324, 1e300, 1 << 70, -(1 << 70), 10**5000]


def all_configs():
    found = list(CONFIGS)
    for config in found:
        for field in fields(config):
            value = getattr(config, field.name)
            if is_dataclass(value) and type(value) not in map(type, found):
                found.append(value)
    return [one for one in found if type(one).__module__.split(".")[1] != "corpus"]  # the split has its own tests


def holds_numbers(kind):
    if get_origin(kind) in (Union, types.UnionType, tuple, dict):
        return any(holds_numbers(one) for one in get_args(kind))
    return kind in (int, float)


NUMERIC = [
    (config, field)
    for config in all_configs()
    for field in fields(config)
    if holds_numbers(get_type_hints(type(config))[field.name])
]


def named(value):
    if is_dataclass(value):
        return type(value).__name__
    return getattr(value, "name", "")


def test_all_are_looked_at():
    kinds = {type(config) for config, _ in NUMERIC}
    assert kinds >= {TrainConfig, ModelConfig, Phase, Trials, Scoring, StudyRecipe, DemoScoring}
    assert len(NUMERIC) > 70


@pytest.mark.parametrize(("config", "field"), NUMERIC, ids=named)
def test_every_number_has_a_finite_range_and_nothing_else_is_taken(config, field):
    allowed = range_of(field)
    assert allowed is not None, "declare one, with byteproxy.ranges"
    assert math.isfinite(allowed.least)
    assert math.isfinite(allowed.most)
    kind = get_type_hints(type(config))[field.name]
    assert allowed.whole == ("int" in str(kind))
    if field.default is not MISSING:
        ensure_in_range(config)
    for value in BAD:
        if allowed.holds(value):
            assert value == -1 or value in (1 << 70, 1e300), "never so, but who knows"
            assert allowed.least <= value <= allowed.most
            continue
        given = {"name": value} if get_origin(kind) is dict else (value,) if get_origin(kind) is tuple else value
        with pytest.raises(InputError, match=rf"{field.name}\b.* is .*: give (0, or )?a (whole )?number"):
            replace(config, **{field.name: given})


@given(st.integers() | st.floats(), st.booleans(), st.booleans(), st.booleans())
def test_a_range_is_its_ends(value, above, below, or_zero):
    allowed = Range(-2.5, 4.0, above, below, or_zero)
    inside = (value > -2.5 if above else value >= -2.5) and (value < 4 if below else value <= 4)
    assert allowed.holds(value) == (inside or (or_zero and value == 0))
    assert not Range(0, 1, whole=True).holds(True)
    assert not Range(0, 9, whole=True).holds(3.0)
