import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.mixture.probabilities import Lengths, costs, draw_probabilities
from byteproxy.mixture.schedule import MODES, StepSettings

MOMENTS = st.builds(
    StepSettings, st.floats(0, 1), st.sampled_from(MODES), st.sampled_from(["random", "raw_first", "compressed_first"])
)
LENGTHS = st.builds(Lengths, st.floats(1, 5000), st.floats(1, 5000), st.floats(0.01, 1))


@given(settings=MOMENTS, count=st.sampled_from(["segments", "bytes", "positions"]), lengths=LENGTHS)
def test_the_odds_keep_the_rate(settings, count, lengths):
    raw, compressed, both = draw_probabilities(settings, count, lengths)
    assert min(raw, compressed, both) >= 0
    assert raw + compressed + both == pytest.approx(1)
    if settings.mode not in ("pairs", "parallel"):
        assert both == 0
    raw_alone, compressed_alone, paired_raw, paired_compressed = costs(settings, count, lengths)
    ours = compressed * compressed_alone + both * paired_compressed
    theirs = raw * raw_alone + both * paired_raw
    assert ours / (ours + theirs) == pytest.approx(settings.rate, abs=1e-9)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.6, 0.9])
@pytest.mark.parametrize("count", ["segments", "positions"])
def test_pairs_are_as_frequent_as_the_rate_allows(rate: float, count: str):
    raw, compressed, both = draw_probabilities(StepSettings(rate, "pairs", "random"), count, Lengths(900, 300))
    assert both > 0
    assert min(raw, compressed) == 0


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.6, 0.9])
def test_the_papers_two_formulas(rate: float):
    raw, compressed, both = draw_probabilities(StepSettings(rate, "pairs", "random"))
    if rate > 0.5:
        assert (compressed, both) == pytest.approx((2 - 1 / rate, 1 / rate - 1))
    else:
        assert (raw, both) == pytest.approx((1 - rate / (1 - rate), rate / (1 - rate)))


def test_bytes_are_counted_like_segments():
    for mode in MODES:
        settings = StepSettings(0.7, mode, "random")
        assert draw_probabilities(settings, "bytes", Lengths(900, 100)) == draw_probabilities(settings, "segments")


def costs_by_hand(mode, order, raw, compressed):
    """Positions of raw and compressed text in one document of each kind, laid out as in the design."""
    first = {"random": 0.5, "raw_first": 0, "compressed_first": 1}[order]
    alone = {"one": 3, "pairs": 3, "parallel": 3, "plain": 2}[mode]
    pair = {"pairs": (raw + 2 + first, compressed + 2 + 1 - first)}.get(mode, (raw + alone, compressed + alone))
    return (raw + alone, compressed + alone, *pair)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "switch"])
@pytest.mark.parametrize("order", ["random", "raw_first", "compressed_first"])
def test_positions_are_those_of_the_layout(mode, order):
    assert costs(StepSettings(0.5, mode, order), "positions", Lengths(100, 40)) == costs_by_hand(mode, order, 100, 40)
