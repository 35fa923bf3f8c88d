"""What a recipe says, and what is refused by name."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from tests.study.toys import VALUES, prepare, recipe

from byteproxy.errors import InputError
from byteproxy.progress import quietly
from byteproxy.recipes.named import study_named
from byteproxy.study.queue import Queue
from byteproxy.study.recipe import Cell, merged, short
from byteproxy.train.flops import training_flops
from byteproxy.vocab import FIRST_SYMBOL

BYTES = VALUES["arms"]["bytes"]


def test_arms_change_sizes_and_sizes_change_the_run(tmp_path):
    study = recipe(
        tmp_path,
        sizes={"small": {"model": {"layers": 2}}, "large": {"model": {"layers": 3, "ffn": 48}}},
        arms={
            **VALUES["arms"],
            "bytes": {"role": "bytes", "run": {"mixture": {"preset": "bytes"}, "model": {"ffn": 40}}},
        },
    )
    config = study.config("bytes", "large")
    assert (config.model.width, config.model.layers, config.model.ffn) == (16, 3, 40)
    assert study.config("proxy", "large").model.ffn == 48
    assert study.config("proxy", "small").views == ("bpe-300",)


def test_a_preset_replaces_phases_and_other_fields_of_a_mixture_stay():
    base = {"mixture": {"phases": [{"rate": 0.5}], "packing": "whole"}, "views": ["a"]}
    assert merged(base, {"mixture": {"preset": "bytes"}}) == {
        "mixture": {"preset": "bytes", "packing": "whole"},
        "views": ["a"],
    }
    assert merged(base, {"mixture": {"passages": 2}})["mixture"]["phases"] == [{"rate": 0.5}]
    assert base["mixture"]["phases"], "what was merged stays as it is"


def test_an_arm_may_have_fewer_runs(tmp_path):
    few = {**BYTES, "role": "control", "sizes": ["small"], "flops": [1.6e8], "seeds": [1]}
    study = recipe(
        tmp_path,
        flops=[1.6e8, 3.2e8],
        sizes={"small": {}, "large": {}},
        arms={**VALUES["arms"], "extra": few},
    )
    assert [cell for cell in study.cells() if cell.arm == "extra"] == [Cell("extra", "small", 1.6e8)]
    assert study.seeds_of("extra") == (1,)
    assert len(list(study.cells())) == 9


def test_a_size_may_have_budgets_of_its_own(tmp_path):
    few = {**BYTES, "role": "control", "flops": [6.4e8]}
    sizes = {"small": {}, "large": {"model": {"ffn": 48}, "flops": [6.4e8, 3.2e8], "trial_flops": 3.2e8}}
    study = recipe(tmp_path, sizes=sizes, arms={**VALUES["arms"], "extra": few})
    assert [cell for cell in study.cells() if cell.arm != "proxy"] == [
        Cell("bytes", "small", 1.6e8),
        Cell("bytes", "large", 3.2e8),
        Cell("bytes", "large", 6.4e8),
        Cell("extra", "large", 6.4e8),
    ]
    assert study.config("bytes", "large").model.ffn == 48
    queue = Queue(study, prepare(study, tmp_path, quietly), tmp_path / "out")
    trials = {(key.size, key.flops) for key in queue.keys if key.kind == "trial"}
    assert trials == {("small", 1.6e8), ("large", 3.2e8)}
    shown = [key for key in queue.keys if key.kind == "final" and key.arm == "bytes" and key.seed == 0]
    jobs = [queue._job(key, 3e-3, 1) for key in shown]
    assert [(job.key.flops, job.viewed) for job in jobs] == [(1.6e8, True), (3.2e8, False), (6.4e8, True)]
    assert study.sizes_of("extra") == ("large",)
    nowhere = {**few, "sizes": ["small"]}
    with pytest.raises(InputError, match=r"arms\.extra has no runs: none of its sizes"):
        recipe(tmp_path, sizes=sizes, arms={**VALUES["arms"], "extra": nowhere})
    alone = recipe(tmp_path, flops=None, sizes={"large": sizes["large"]})
    assert alone.all_flops() == (3.2e8, 6.4e8)


STUDIES = sorted(path.stem for path in Path(str(files("byteproxy"))).glob("recipes/study_*.toml"))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_that_comes_with_it_is_one(name):
    study = study_named(name)
    for arm in study.arms:
        assert study.arms[arm].about, arm
        assert any(cell.arm == arm for cell in study.cells()), arm


def test_the_grid_has_equal_positions_for_each_parameter():
    """To 3 %, by what a position costs: matrices, the softmax, and attention to documents of a passage."""
    study = study_named("study_grid")
    found = []
    for size in study.sizes:
        config = study.config("bytes", size)
        lengths = np.full(1, config.shape.context_bytes + 4)
        cost = training_flops(config.model, lengths, int(lengths.sum()) * FIRST_SYMBOL) / lengths.sum()
        found.append([flops / cost / config.model.matrix_parameters for flops in study.flops_of("bytes", size)])
        steps = found[-1][0] * config.model.matrix_parameters / config.shape.sequences_per_step
        assert steps / config.shape.sequence_length == pytest.approx(500, rel=0.1)
    for at_one in zip(*found, strict=True):
        assert max(at_one) / min(at_one) < 1.06


def test_numbers_are_named_in_as_few_digits_as_tell_them_apart():
    assert [short(value) for value in (3e-3, 1.5e-3, 1.2e13, 4e12, 1)] == [
        "3e-03",
        "1.5e-03",
        "1.2e+13",
        "4e+12",
        "1e+00",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": []}, "seeds"),
        ({"seeds": [1, 1]}, "seeds holds 1 twice"),
        ({"flops": [-1.0]}, "flops"),
        ({"flops": [1.6e8, 160000000]}, "flops holds 1.6e.08 twice"),
        ({"sizes": {}}, "sizes is empty"),
        ({"sizes": {"a-b": {}}}, "'a-b' is no name"),
        ({"flops": None}, "flops holds positive numbers"),
        ({"sizes": {"small": {"flops": [0.0]}}}, "sizes.small.*flops"),
        ({"sizes": {"small": {"flops": [2e8, 2e8]}}}, "flops holds 2e.08 twice"),
        ({"arms": {}, "claims": []}, "arms is empty"),
        ({"trials__seed": 1}, "trials.seed is 1"),
        ({"trials__learning_rates": []}, "learning_rates"),
        ({"trials__flops": 0.0}, "trials.flops"),
        ({"trials__sequences_per_step": [0]}, "trials.sequences_per_step"),
        ({"scoring__curve": 0}, "scoring.curve"),
        ({"scoring__stride": 51}, "scoring.stride is 51"),
        ({"scoring__viewer_bytes": 2000}, "viewer_bytes"),
        ({"corpus": {}}, "corpus needs"),
        ({"corpus": {"path": "x", "views": ["bpe"]}}, "corpus.views"),
        ({"corpus": {"sources": ["stdlib"], "test": 0.0}}, "corpus.test"),
        ({"run__model__widht": 32}, "widht"),
        ({"run__model__width": 33}, "width"),
        ({"run__seed": 3}, "the study sets seed by itself"),
        ({"run__stop": "3 steps"}, "the study sets stop"),
        ({"sizes": {"small": {"model": {"heads": "two"}}}}, "heads"),
        ({"arms": {"bytes": {**BYTES, "role": "base"}}, "claims": []}, "role"),
        ({"arms": {"bytes": {**BYTES, "seeds": [7]}}, "claims": []}, "arms.bytes.seeds has 7"),
        ({"arms": {"bytes": {**BYTES, "sizes": ["big"]}}, "claims": []}, "arms.bytes.sizes has 'big'"),
        ({"arms": {"bytes": {**BYTES, "flops": [1e9]}}, "claims": []}, "arms.bytes.flops has"),
        (
            {"arms": {"bytes": {"role": "bytes", "run": {"views": ["v"]}}}, "claims": []},
            "role bytes and shows compressed",
        ),
        ({"arms": {"proxy": {"role": "proxy"}}, "claims": []}, "arms.proxy.run.views"),
        ({"arms": {"bytes": BYTES, "t": {**BYTES, "role": "tokenizer"}}, "claims": []}, "role tokenizer"),
        ({"claims": [{"name": "c", "arms": ["bytes", "nobody"], "against": ["bytes"]}]}, "'nobody'"),
        ({"claims": [{"name": "c", "arms": ["bytes"], "against": ["bytes"]}]}, "at least two arms"),
        ({"claims": [{"name": "c", "arms": ["bytes", "proxy"], "against": []}]}, "against"),
        ({"claims": 2 * VALUES["claims"]}, "twice"),
    ],
)
def test_what_is_wrong_is_refused_by_name(tmp_path, changes, said):
    with pytest.raises(InputError, match=said) as refused:
        recipe(tmp_path, **changes)
    assert "toy.toml" in str(refused.value)
