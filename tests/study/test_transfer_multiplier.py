"""The transfer multiplier against a slow reading of the curve, its own definition, and the paired t-test."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.evaluate.paired import paired_difference
from byteproxy.generate.score import Scored
from byteproxy.study.statistics import paired_by_seed
from byteproxy.study.transfer_multiplier import (
    DRAWS,
    Measured,
    drawn_bpb,
    multiplier,
    on_drawn_documents,
    sources_of,
    text_needed,
    trend,
)

BITS = st.integers(100, 300).map(lambda hundredths: hundredths / 100)
TEXTS = st.lists(st.integers(1, 10**9), min_size=1, max_size=5, unique=True).map(sorted)
FALLING = st.lists(BITS, min_size=5, max_size=5, unique=True).map(lambda bits: sorted(bits, reverse=True))


def one_seed(raw_text, bpb):
    return Measured(float(raw_text), {0: bpb})


def slowly_needed(texts, curve, wanted):
    """Walk the curve from its start, and halve the first stretch at whose end it has come down far enough."""
    at = np.log(texts)

    def bits(place):
        return float(np.interp(place, at, curve))

    if bits(at[0]) <= wanted:
        return (texts[0], texts[0]) if bits(at[0]) == wanted else (0.0, texts[0])
    for low, high in itertools.pairwise(at):
        if bits(high) <= wanted:
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (low, middle) if bits(middle) <= wanted else (middle, high)
            return math.exp(high), math.exp(high)
    return texts[-1], math.inf


@given(TEXTS, st.lists(BITS, min_size=5, max_size=5), BITS)
def test_the_text_needed_is_that_of_a_slow_walk_along_any_curve(texts, curve, wanted):
    curve = curve[: len(texts)]
    found = text_needed(np.array(texts, float), np.array([curve]), np.array([wanted]))
    assert [float(bound[0]) for bound in found] == pytest.approx(slowly_needed(texts, curve, wanted), rel=1e-6)


@given(TEXTS, FALLING, st.data())
def test_a_bytes_run_has_exactly_one(texts, bits, data):
    curve = [one_seed(*point) for point in zip(texts, bits, strict=False)]
    own = data.draw(st.sampled_from(curve))
    assert multiplier(own, curve, own).m == 1
    assert multiplier(own, curve[::-1]).m == 1, "in any order"


@given(TEXTS, FALLING, BITS, st.integers(1, 10**9), st.integers(2, 9))
def test_it_scales_with_the_text_of_either_side(texts, bits, bpb, raw_text, times):
    curve = [one_seed(*point) for point in zip(texts, bits, strict=False)]
    more = [one_seed(times * point.raw_text, point.mean) for point in curve]
    found = multiplier(one_seed(raw_text, bpb), curve)
    bounds = [found.least, found.most]
    fewer, longer = multiplier(one_seed(times * raw_text, bpb), curve), multiplier(one_seed(raw_text, bpb), more)
    assert [times * fewer.least, times * fewer.most] == pytest.approx(bounds)
    assert [longer.least / times, longer.most / times] == pytest.approx(bounds)


@given(TEXTS, FALLING, BITS, st.integers(1, 10**9), st.data())
def test_above_break_even_is_fewer_bits_at_equal_flops(texts, bits, bpb, raw_text, data):
    curve = [one_seed(*point) for point in zip(texts, bits, strict=False)]
    equal = data.draw(st.sampled_from(curve))
    found, even = multiplier(one_seed(raw_text, bpb), curve), equal.raw_text / raw_text
    if bpb < equal.mean:
        assert found.least >= even * (1 - 1e-12)
    if bpb > equal.mean:
        assert found.most <= even * (1 + 1e-12)


def test_nothing_is_read_beyond_the_curve():
    curve = [one_seed(100, 2.0), one_seed(1000, 1.5)]
    worse, better = multiplier(one_seed(50, 2.01), curve), multiplier(one_seed(50, 1.49), curve)
    assert (worse.m, worse.least, worse.most) == (None, 0, 2)
    assert (better.m, better.least, better.most) == (None, 20, math.inf)
    assert multiplier(one_seed(50, 1.75), curve).m == pytest.approx(math.sqrt(100 * 1000) / 50)
    assert (worse.low, worse.high, worse.above, worse.sources.said) == (None, None, None, None), (
        "one seed, no documents"
    )


def test_where_more_text_was_worse_the_least_that_suffices_counts():
    curve = [one_seed(100, 2.0), one_seed(1000, 2.2), one_seed(10_000, 1.8)]
    assert multiplier(one_seed(100, 2.0), curve).m == 1
    assert multiplier(one_seed(100, 2.1), curve).most == 1, "not the 1,000 to 3,000 bytes that are worse"
    assert multiplier(one_seed(100, 1.9), curve).m == pytest.approx(1000 * 10**0.75 / 100)


def seeds_of(mean, *thousandths):
    return {seed: mean + off / 1000 for seed, off in enumerate(thousandths)}


@pytest.mark.parametrize("offsets", [((1, 0, -1), (3, -4, 1)), ((5, 1, -3, 0, -3), (0, 2, 2, -8, 4))])
def test_the_spread_over_seeds_is_that_of_the_paired_t_test(offsets):
    arm, equal = Measured(40.0, seeds_of(1.9, *offsets[0])), Measured(100.0, seeds_of(2.0, *offsets[1]))
    sources = sources_of(arm, [equal])
    interval, _, _ = paired_by_seed(arm.bpb, equal.bpb)
    found = np.quantile(drawn_bpb(arm, sources) - drawn_bpb(equal, sources), (0.025, 0.975))
    assert sources.said == "seeds"
    assert found - interval.mean == pytest.approx(np.array([interval.low, interval.high]) - interval.mean, rel=0.15)


@pytest.mark.parametrize(("gap", "above"), [(-0.2, True), (0.2, False), (0.0, None)])
@pytest.mark.parametrize("budget", range(3))
def test_it_says_what_the_difference_at_equal_flops_says(gap, above, budget):
    curve = [Measured(100.0 * 10**at, seeds_of(2.5 - at / 2, 2, -2, 0)) for at in range(3)]
    equal = curve[budget]
    bpb = seeds_of(equal.mean + gap, -1, 0, 1)
    found = multiplier(Measured(70.0, bpb), curve, equal)
    interval, _, _ = paired_by_seed(bpb, equal.bpb)
    assert found.above is above
    assert (True if interval.high < 0 else False if interval.low > 0 else None) is above
    if above is None:
        assert found.low < equal.raw_text / 70 < found.high or budget != 1


def documents(rng, level, hardness, sizes):
    return Scored((level + hardness + 0.05 * rng.standard_normal(len(sizes))) * sizes, sizes)


def test_documents_are_drawn_for_the_arm_and_the_curve_together():
    rng, sizes = np.random.default_rng(0), np.arange(40, 100)
    hardness = 0.5 * rng.standard_normal(len(sizes))  # the same for all models, so it must not widen the interval
    scored = {
        name: [documents(rng, level, hardness, sizes)] for name, level in (("long", 1.5), ("short", 2.5), ("arm", 2.0))
    }
    drawn = on_drawn_documents(scored)
    paired = paired_difference(scored["arm"][0], scored["long"][0])
    found = np.quantile(drawn["arm"] - drawn["long"], (0.025, 0.975))
    assert found - paired.bpb == pytest.approx(np.array([paired.low, paired.high]) - paired.bpb, rel=0.15)

    measured = {
        name: Measured(100.0 + 900 * (name == "long"), {7: own[0].bpb}, drawn[name]) for name, own in scored.items()
    }
    together = multiplier(measured["arm"], [measured["short"], measured["long"]])
    assert together.sources.said == "documents"
    assert together.low < together.m < together.high
    apart = measured["arm"]._replace(drawn=np.roll(drawn["arm"], 1))
    alone = multiplier(apart, [measured["short"], measured["long"]])
    assert alone.high - alone.low > 2 * (together.high - together.low)


def test_the_same_figures_each_time_and_wider_with_both_sources():
    rng, sizes = np.random.default_rng(5), np.arange(40, 100)
    scored = {
        name: [documents(rng, level, 0, sizes) for _ in range(3)]
        for name, level in (("long", 1.5), ("short", 2.5), ("arm", 2.0))
    }
    drawn = on_drawn_documents(scored)

    def found(with_documents):
        measured = {
            name: Measured(
                100.0 + 900 * (name == "long"),
                {seed: one.bpb for seed, one in enumerate(own)},
                drawn[name] if with_documents else None,
            )
            for name, own in scored.items()
        }
        return multiplier(measured["arm"], [measured["short"], measured["long"]])

    assert found(True) == found(True)
    assert (found(True).sources.said, found(False).sources.said) == ("seeds and documents", "seeds")
    assert found(True).high - found(True).low > found(False).high - found(False).low


def test_documents_have_to_be_the_same_and_one_says_nothing():
    rng, sizes = np.random.default_rng(0), np.array([10, 20])
    other = documents(rng, 2, 0, np.array([10, 21]))
    with pytest.raises(ValueError, match="same documents"):
        on_drawn_documents({"a": [documents(rng, 2, 0, sizes)], "b": [other]})
    assert on_drawn_documents({"a": [documents(rng, 2, 0, sizes[:1])]}) == {}
    assert on_drawn_documents({}) == {}
    assert on_drawn_documents({"a": [other]})["a"].shape == (DRAWS,)


def test_seeds_count_where_the_arm_and_the_budgets_beside_it_have_several():
    several, single = {0: 2.0, 1: 2.1}, {0: 1.0}
    curve = [Measured(10, {0: 3.0, 1: 3.1}), Measured(100, {0: 1.5, 1: 1.4}), Measured(1000, single)]
    assert sources_of(Measured(5, several), curve).freedom == 1
    assert sources_of(Measured(5, {0: 2.0}), curve).freedom == 0
    assert sources_of(Measured(5, {0: 1.2, 1: 1.3}), curve).freedom == 0, "the last budget has one"
    found = multiplier(Measured(5, several), curve)
    assert found.low < found.m < found.high


def test_how_it_changes_with_compute():
    curve = [one_seed(100, 2.0), one_seed(1000, 1.5), one_seed(10_000, 1.0)]
    first, last = one_seed(50, 1.75), one_seed(500, 1.20)
    found = trend((first, curve), (last, curve))
    assert found.least == found.most == pytest.approx(multiplier(last, curve).m / multiplier(first, curve).m)
    assert (found.low, found.high, found.direction) == (None, None, "unclear")
    late = trend((first, curve), (one_seed(500, 0.9), curve))
    assert (late.least, late.most) == (pytest.approx(20 / multiplier(first, curve).m), math.inf)
    early = trend((one_seed(50, 2.2), curve), (last, curve))
    assert (early.least, early.most) == (pytest.approx(multiplier(last, curve).m / 2), math.inf)


@pytest.mark.parametrize(("later", "direction"), [(1.0, "rises"), (1.45, "falls"), (1.25, "unclear")])
def test_a_change_counts_where_chance_leaves_no_other(later, direction):
    curve = [Measured(100.0 * 10**at, seeds_of(2 - at / 2, 2, -2, 0)) for at in range(4)]
    first, last = Measured(50.0, seeds_of(1.75, 1, 0, -1)), Measured(500.0, seeds_of(later, 0, 2, -2))
    assert trend((first, curve), (last, curve)).direction == direction
