import re
from importlib.resources import files
from pathlib import Path

import pytest

from byteproxy.config import from_toml, from_values, to_toml
from byteproxy.convert.conversion import ConvertRecipe
from byteproxy.demo.demo_recipe import DemoRecipe
from byteproxy.errors import InputError
from byteproxy.mixture.schedule import BYTES, PAPER
from byteproxy.study.fairness import check_tricks
from byteproxy.study.recipe import StudyRecipe
from byteproxy.train.train_config import TrainConfig

RECIPES = [Path(str(path)) for path in (files("byteproxy") / "recipes").iterdir() if path.name.endswith(".toml")]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipes_are_valid_and_survive_being_written(path, tmp_path):
    named = {"demo": DemoRecipe, "convert": ConvertRecipe}
    kind = named[path.stem] if path.stem in named else StudyRecipe if path.stem.startswith("study_") else TrainConfig
    recipe = from_toml(path, kind)
    copy = tmp_path / "copy.toml"
    copy.write_text(to_toml(recipe))
    assert from_toml(copy, kind) == recipe


def test_the_demo_compares_bytes_with_the_papers_mixture():
    (demo,) = [path for path in RECIPES if path.name == "demo.toml"]
    assert from_toml(demo, DemoRecipe).arms == {"bytes": BYTES, "proxy": PAPER}


STUDIES = [path for path in RECIPES if path.stem.startswith("study_")]


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_studies_that_come_along_are_fair(path):
    check_tricks(from_toml(path, StudyRecipe))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("minutes = ", "wrong.toml"),
        ("minuets = 3", "minuets"),
        ('minutes = "six"', "minutes"),
        ("[model]\nwidth = 100\nheads = 3", "model.width"),
        ("[model]\nwidht = 100", "widht"),
        ("[arms.bytes]\nrate_end = 2.0", r"there is no field arms\.bytes\.rate_end"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    path = tmp_path / "wrong.toml"
    path.write_text(text + "\n[sample]\narm = 'bytes'\n" + ("" if "arms" in text else "[arms.bytes]\n"))
    with pytest.raises(InputError, match=said) as error:
        from_toml(path, DemoRecipe)
    assert "wrong.toml" in str(error.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shape = { rows = 4 }", "shape.sequences_per_step"),
        ("shape = { length = 64 }", "shape.sequence_length"),
        ("shape = { passage_bytes = 64 }", "shape.context_bytes"),
        ("micro_rows = 2", "micro_sequences"),
        ('model = { places = "bytes" }', "model.rope_positions"),
        ("optim = { most_skips = 3 }", "optim.max_skips"),
        ('optim = { curve = "wsd" }', "optim.schedule"),
        ("objective = { spell = 1.0 }", "objective.symbol_bytes"),
    ],
)
def test_an_earlier_name_is_refused_with_the_one_of_today(tmp_path, text, name):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"did you mean {re.escape(name)}\?"):
        from_toml(path, TrainConfig)


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        (
            TrainConfig,
            {"shape": {"rows": 4, "length": 64}},
            "x: there is no field shape.rows; did you mean shape.sequences_per_step? "
            "There is no field shape.length; did you mean shape.sequence_length?",
        ),
        (TrainConfig, {"shape.rows": 4}, "x: there is no field shape.rows; did you mean shape.sequences_per_step?"),
        (TrainConfig, {"width": 4}, "x: there is no field width; did you mean model.width?"),
        (
            TrainConfig,
            {"mixture": {"phases": [{"rate": 0.5}, {"shar": 1}]}},
            "x: there is no field mixture.phases.shar; did you mean mixture.phases.share?",
        ),
        (TrainConfig, {"model": {"ngrams": 3}}, "x: model.ngrams is 3: give a list, such as [3]"),
        (TrainConfig, {"views": "bpe"}, "x: views is 'bpe': give a list, such as ['bpe']"),
        (
            StudyRecipe,
            {"trials": {"rows": 4}, "arms": {"a": {"qqqq": 1}}},
            "x: there is no field arms.a.qqqq. There is no field trials.rows; did you mean trials.sequences_per_step?",
        ),
    ],
)
def test_every_unknown_field_and_what_is_no_list_is_named_with_its_section(kind, values, said):
    with pytest.raises(InputError) as error:
        from_values(values, kind, "x")
    assert str(error.value) == said
