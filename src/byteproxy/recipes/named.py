"""Find what a name or a file stands for: a run to train, a study, or the mixture of a preset, a recipe or a file."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from byteproxy.config import from_toml, from_values, toml_of
from byteproxy.errors import InputError, did_you_mean
from byteproxy.mixture.loader import Shape, Stream, first_view
from byteproxy.mixture.schedule import PRESETS, Mixture
from byteproxy.model.model_config import ModelConfig
from byteproxy.progress import Progress, silent
from byteproxy.store.manifest import Manifest
from byteproxy.store.store import Store

if TYPE_CHECKING:
    from byteproxy.convert.conversion import ConvertRecipe
    from byteproxy.demo.demo_recipe import DemoRecipe as DemoStudy
    from byteproxy.study.recipe import StudyRecipe
    from byteproxy.train.train_config import TrainConfig

T = TypeVar("T", "TrainConfig", "ConvertRecipe")

STEPS = 1000
"""Steps of a run whose recipe names none, or minutes instead."""
CONVERT = "convert"
"""The recipe of conversions, unless a file is named."""
SECONDS_BETWEEN_EVALUATIONS = 10
"""Seconds of the demo's training between two evaluations of a small model, at least."""
SECONDS_BETWEEN_MODEL_EVALUATIONS = 100
"""The same of the model that learns bytes, whose evaluations take ten seconds."""


class Recipe(NamedTuple):
    """What a run shows.

    views: names of the views that it was made for; wanted ones may be missing from a corpus where `needed` is False.
    arm: of a study; None of anything else.
    """

    mixture: Mixture
    shape: Shape = Shape()
    seed: int = 0
    steps: int = STEPS
    views: tuple[str, ...] = ()
    needed: bool = True
    arm: str | None = None

    def views_in(self, manifest: Manifest) -> tuple[str, ...]:
        """The views to show: the recipe's own, or the first aligned one of the corpus; none if none is shown.

        Raises InputError where the corpus has none.
        """
        there = {view.name for view in manifest.views}
        if self.views and (self.needed or there.issuperset(self.views)):
            return self.views
        return first_view(self.mixture, manifest)

    def stream(self, store: Store, views: tuple[str, ...] = (), progress: Progress = silent) -> Stream:
        """What it shows of a corpus; views: in place of its own. Raises InputError where they don't fit together."""
        names = views or self.views_in(store.manifest)
        return Stream(store, names, self.mixture, self.shape, self.seed, self.steps, progress)


def run_recipes() -> dict[str, str]:
    """The recipes of runs that come with byteproxy, by size, and what each says of itself in its first line."""
    found = {path: _content(path, name) for name, path in _built_in().items()}
    sizes = {
        path: from_values(content["model"], ModelConfig, path).matrix_parameters
        for path, content in found.items()
        if not {"arms", "run"} & content.keys()
    }
    runs = sorted(sizes, key=lambda path: (sizes[path], path.stem))
    return {path.stem: path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ") for path in runs}


def run_named(name: str) -> "TrainConfig":
    """The run that a recipe or a TOML file describes; InputError where there is none, or naming the field."""
    from byteproxy.train.run_config import read_run_recipe

    path = _built_in().get(name, Path(name))
    if not path.is_file():
        raise InputError(
            f"there is no recipe {name!r}: name one that comes with byteproxy ({', '.join(run_recipes())}), or a TOML "
            f"file{did_you_mean(name, run_recipes())}"
        )
    if "arms" in _content(path, name):
        raise InputError(
            f"{name} is a study of several arms and no run: name one of {', '.join(run_recipes())}, or a TOML file "
            "with the fields of a run"
        )
    if _is_conversion(_content(path, name)):
        return convert_recipe(name).run
    return read_run_recipe(path)


def convert_recipe(name: str = "") -> "ConvertRecipe":
    """The recipe of a conversion, `convert` unless another is named, or a TOML file; InputError where there is none."""
    from byteproxy.convert.conversion import ConvertRecipe

    name = name or CONVERT
    path = _built_in().get(name, Path(name))
    if not path.is_file():
        raise InputError(
            f"there is no recipe {name!r} of a conversion: name {CONVERT}, or a TOML file with the same fields"
            f"{did_you_mean(name, [CONVERT])}"
        )
    if not _is_conversion(_content(path, name)):
        raise InputError(
            f"{name} is no recipe of a conversion: name {CONVERT}, or a TOML file with the fields of a run under [run]"
        )
    return from_toml(path, ConvertRecipe)


def changed(config: T, changes: Mapping[str, Any]) -> T:
    """A run, or a conversion, with some fields otherwise, nested as in a recipe; InputError naming the wrong one."""
    from byteproxy.study.recipe import merged

    return from_values(merged(asdict(config), changes), type(config), "changes")


def demo_recipe(minutes: float | None = None, seed: int = 0, scratch: bool = False) -> "DemoStudy":
    """The recipe of `byteproxy demo`, for so many minutes of training, and with a seed.

    minutes: None: as many as the recipe says. scratch: of the demo that begins from scratch.
    """
    from byteproxy.demo.demo_recipe import DemoRecipe

    study = from_toml(_built_in()["demo"], DemoRecipe)
    if minutes is None:
        minutes = study.scratch_minutes if scratch else study.minutes
    # Evaluations are so many that they stay a small part of the training: small models take two seconds for one.
    looks = max(1, min(study.scoring.evaluations, round(minutes * 60 / SECONDS_BETWEEN_EVALUATIONS)))
    model_looks = max(1, min(study.convert.evaluations, round(minutes * 60 / SECONDS_BETWEEN_MODEL_EVALUATIONS)))
    convert = replace(study.convert, evaluations=model_looks, run=replace(study.convert.run, seed=seed))
    scoring = replace(study.scoring, evaluations=looks)
    return replace(study, minutes=minutes, seed=seed, scoring=scoring, convert=convert)


def study_named(name: str, changes: Mapping[str, Any] | None = None) -> "StudyRecipe":
    """The study that a recipe or a TOML file describes; InputError where there is none, or naming the field.

    changes: fields that are otherwise, nested as there.
    """
    from byteproxy.study.recipe import read_recipe

    studies = [one for one, path in _built_in().items() if _is_study(_content(path, one))]
    path = _built_in().get(name, Path(name))
    if not path.is_file():
        raise InputError(
            f"there is no study {name!r}: name one that comes with byteproxy ({', '.join(studies)}), or a TOML file"
            f"{did_you_mean(name, studies)}"
        )
    if not _is_study(_content(path, name)):
        raise InputError(
            f"{name} is no study: name one that comes with byteproxy ({', '.join(studies)}), or a TOML file with arms, "
            "sizes, seeds and flops"
        )
    return read_recipe(path, changes)


def _is_study(content: dict[str, Any]) -> bool:
    """Whether a recipe is one for `byteproxy study`; that of the demo has arms, too, and no budgets."""
    return "arms" in content and ("flops" in content or "sizes" in content)


def _is_conversion(content: dict[str, Any]) -> bool:
    return "run" in content and "arms" not in content


def recipe_of(name: str, arm: str | None = None) -> Recipe:
    """The recipe of that name; InputError where there is none, or where its file is wrong, naming the field.

    A TOML file is a study if it has arms, a run if it says where it stops or has a mixture, and else the fields of a
    mixture.
    """
    path = _built_in().get(name)
    content: dict[str, Any] = {}
    if name not in PRESETS:
        path = path or Path(name)
        content = _content(path, name)
    if "arms" in content and path is not None:
        return _of_study(path, arm)
    if arm is not None:
        raise InputError(f"recipe {name} has no arms, and so no arm {arm!r}: leave --arm out, or name a study")
    if path is None or name in PRESETS:
        return Recipe(Mixture(name))
    if "stop" in content or "mixture" in content or _is_conversion(content):
        return _of_run(path)
    return Recipe(from_toml(path, Mixture))


def _built_in() -> dict[str, Path]:
    """The recipes that come with byteproxy."""
    folder = Path(str(files("byteproxy"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _content(path: Path, name: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"there is no recipe {name!r}: name a preset ({', '.join(PRESETS)}), one that comes with byteproxy "
            f"({', '.join(_built_in())}), or a TOML file{did_you_mean(name, [*PRESETS, *_built_in()])}"
        )
    return toml_of(path)


def _of_study(path: Path, arm: str | None) -> Recipe:
    if _is_study(_content(path, str(path))):
        return _of_arm(path, arm)
    from byteproxy.demo.demo_recipe import DemoRecipe

    study = from_toml(path, DemoRecipe)
    arm = _chosen(path, {name: mixture.needs_view for name, mixture in study.arms.items()}, arm)
    mixture = study.arms[arm]
    views = (f"bpe-{study.alphabet}",) if mixture.needs_view else ()
    return Recipe(mixture, study.shape, study.seed, views=views, needed=False, arm=arm)


def _of_arm(path: Path, arm: str | None) -> Recipe:
    """An arm at the study's first size."""
    from byteproxy.study.recipe import read_recipe

    study = read_recipe(path)
    runs = {name: study.config(name, study.sizes_of(name)[0]) for name in study.arms}
    arm = _chosen(path, {name: run.mixture.needs_view for name, run in runs.items()}, arm)
    run = runs[arm]
    return Recipe(run.mixture, run.shape, min(study.seeds), views=run.views, arm=arm)


def _chosen(path: Path, compressed: dict[str, bool], arm: str | None) -> str:
    """The arm that is named; else the first one that shows compressed text, or the first."""
    if arm is None:
        return next((name for name, shown in compressed.items() if shown), next(iter(compressed)))
    if arm not in compressed:
        raise InputError(f"{path} has no arm {arm!r}: name one of {', '.join(compressed)}")
    return arm


def _of_run(path: Path) -> Recipe:
    run = run_named(str(path))
    steps = run.steps if run.length[1] == "steps" else STEPS
    return Recipe(run.mixture, run.shape, run.seed, steps, run.views)
