import numpy as np
import pytest
from tests.mixture.corpora import corpus as make_corpus

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.planner import State
from byteproxy.mixture.preview import planned, span_of, step_figures, summed
from byteproxy.mixture.schedule import Mixture, Phase


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def stream_of(corpus, mixture, steps=200):
    store, (bpe, _) = corpus
    return Stream(store, (bpe.name,), mixture, Shape(4, 1024, 256), 0, steps)


def test_the_paper_preset_is_within_sampling_error_at_every_rate(corpus):
    """In windows of ten steps, on both splits of one half."""
    stream = stream_of(corpus, Mixture("paper"))
    steps = [step_figures(stream, plan) for plan, _ in planned(stream, 0, 200)]
    windows = [summed(steps[at : at + 10], "segments") for at in range(0, 200, 10)]
    assert min(window["asked"] for window in windows) < 0.46
    assert max(window["asked"] for window in windows) == pytest.approx(0.9)
    assert max(abs(window["deviation"]) for window in windows) < 4
    assert np.mean([window["deviation"] ** 2 for window in windows]) < 2
    assert {step["mode"] for step in steps[:40]} == {"pairs"}
    assert {step["mode"] for step in steps[40:]} == {"one"}


@pytest.mark.parametrize("count", ["segments", "bytes", "positions"])
@pytest.mark.parametrize("rate", [0.2, 0.8])
def test_what_is_asked_in_one_count_differs_from_the_others(corpus, count, rate):
    stream = stream_of(corpus, Mixture(phases=(Phase(1.0, "pairs", rate),), count=count))
    total = summed([step_figures(stream, plan) for plan, _ in planned(stream, 0, 200)], count)
    assert total["share"][count] == pytest.approx(rate, abs=0.03)
    if count == "positions":
        assert total["share"]["segments"] > rate + 0.05
    else:
        assert total["share"]["positions"] < rate - 0.05


def test_figures_are_those_of_the_rows(corpus):
    stream = stream_of(corpus, Mixture(phases=(Phase(1.0, "one", 0.5),), packing="whole"))
    for plan, _ in planned(stream, 3, 6):
        figures = step_figures(stream, plan)
        rows = stream.rows(plan)
        assert figures["positions"][1] == (rows.representations == 1).sum()
        assert sum(figures["positions"]) + figures["padding"] == len(rows.symbols)
        assert sum(figures["targets"]) == (rows.targets >= 0).sum()
        assert figures["share"]["positions"] == figures["positions"][1] / sum(figures["positions"])
        assert figures["segments"] == [(rows.symbols == opening).sum() for opening in (12, 14)]


def test_a_span_in_the_middle_is_that_of_the_whole_run(corpus):
    stream = stream_of(corpus, Mixture("paper"), steps=30)
    whole = [step_figures(stream, plan) for plan, _ in planned(stream, 0, 30)]
    assert [step_figures(stream, plan) for plan, _ in planned(stream, 11, 17)] == whole[11:17]
    *_, (_, state) = planned(stream, 11, 17)
    assert isinstance(state, State)
    assert state.step == 17


def test_spans():
    assert span_of("0:200", 1000) == (0, 200)
    assert span_of(":", 1000) == (0, 1000)
    assert span_of("5:", 10) == (5, 10)
    for wrong in ("200", "5:5", "0:1001", "-1:5", "a:b", "1:2:3"):
        with pytest.raises(InputError, match="give first:last"):
            span_of(wrong, 1000)
