import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.config import from_toml, to_toml
from byteproxy.errors import InputError
from byteproxy.mixture.schedule import BYTES, PAPER, PRESETS, Mixture, Phase, StepSettings, settings_at


def test_the_papers_schedule():
    assert settings_at(PAPER, 0, 1000) == StepSettings(0.4, "pairs", "random")
    assert settings_at(PAPER, 100, 1000) == StepSettings(pytest.approx(0.65), "pairs", "random")
    assert settings_at(PAPER, 199, 1000).mode == "pairs"
    assert (
        settings_at(PAPER, 200, 1000) == settings_at(PAPER, 999, 1000) == StepSettings(0.9, "one", "random", number=1)
    )
    assert settings_at(BYTES, 0, 10) == settings_at(BYTES, 9, 10) == StepSettings(0.0, "one", "random")
    assert PAPER.needs_view
    assert not BYTES.needs_view
    assert Mixture().schedule == PAPER.schedule


def test_the_other_presets():
    coarse = Mixture("coarse_first")
    assert settings_at(coarse, 599, 1000).rate == 0.9
    assert settings_at(coarse, 600, 1000).rate == settings_at(coarse, 999, 1000).rate == 0
    assert settings_at(Mixture("symbols"), 3, 10).rate == 1


shares = st.lists(st.floats(0.01, 1), min_size=1, max_size=5).map(lambda weights: [w / sum(weights) for w in weights])


@given(shares=shares, steps=st.integers(1, 3000), data=st.data())
def test_each_step_is_in_the_phase_whose_share_it_falls_into(shares, steps, data):
    """Against a walk through all steps, the phases told apart by their rates."""
    phases = tuple(Phase(share, rate=number / 10) for number, share in enumerate(shares))
    step = data.draw(st.integers(0, steps - 1))
    number, end = 0, shares[0] * steps
    while step >= end and number < len(shares) - 1:
        number += 1
        end += shares[number] * steps
    assert settings_at(Mixture(phases=phases), step, steps).rate == number / 10


@given(start=st.floats(0, 1), end=st.floats(0, 1), steps=st.integers(1, 500), data=st.data())
def test_curves_go_from_one_rate_to_the_other(start, end, steps, data):
    step = data.draw(st.integers(0, steps - 1))
    for curve, wanted in (
        ("linear", start + (end - start) * step / steps),
        ("cosine", start + (end - start) * (0.5 - 0.5 * math.cos(math.pi * step / steps))),
    ):
        mixture = Mixture(phases=(Phase(1.0, "one", start, end, curve),))
        assert settings_at(mixture, step, steps).rate == pytest.approx(wanted, abs=1e-12)
        assert mixture.needs_view == (start > 0 or end > 0)


def test_a_mixture_survives_a_file(tmp_path):
    mixture = Mixture(
        phases=(Phase(0.25, "switch", 0.5), Phase(0.75, "pairs", 0.1, 0.7, "cosine", "raw_first")),
        count="positions",
        view_weights={"bpe-300": 2.0},
        source_weights={"code": 0.5},
        packing="whole",
    )
    for one in (mixture, Mixture("coarse_first")):
        (tmp_path / "mixture.toml").write_text(to_toml(one))
        assert from_toml(tmp_path / "mixture.toml", Mixture) == one


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Phase(rate=1.5), r"phases: rate is 1\.5"),
        (lambda: Phase(rate_end=-0.1), r"phases: rate_end is -0\.1"),
        (lambda: Phase(mode="both"), r"mode is 'both': give one of one, pairs"),
        (lambda: Phase(order="first"), "order is 'first'"),
        (lambda: Phase(curve="square"), "curve is 'square'"),
        (lambda: Mixture("papers"), "preset is 'papers': give one of paper, coarse_first"),
        (lambda: Mixture("paper", (Phase(),)), "both a preset and phases"),
        (lambda: Mixture(phases=(Phase(0.5),)), r"shares sum to 0\.5"),
        (lambda: Mixture(count="symbols"), r"mixture\.count is 'symbols'"),
        (lambda: Mixture(packing="tight"), r"mixture\.packing"),
        (lambda: Mixture(passages=0), r"mixture\.passages is 0"),
        (lambda: Mixture(view_weights={"a": -1.0}), r"mixture\.view_weights\.a"),
        (lambda: Mixture(source_weights={"a": math.inf}), r"mixture\.source_weights\.a"),
    ],
)
def test_what_is_wrong_is_refused_by_name(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


def test_presets_are_sound():
    for name in PRESETS:
        assert sum(phase.share for phase in Mixture(name).schedule) == pytest.approx(1)
