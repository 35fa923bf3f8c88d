"""The recipe of a study, in TOML: a corpus, arms, sizes of the model, budgets of compute, and seeds.

A run of the study is one arm at one size, budget and seed. It trains `[run]`, changed by its size and then by its arm
(`StudyRecipe.config`): these name the fields of a run's configuration that they set, nested as there. A size may have
budgets of its own, too (`Budgets`). Lists replace
lists; in a mixture, a preset and phases replace each other.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from byteproxy.config import from_values, toml_of
from byteproxy.errors import InputError
from byteproxy.ranges import bounds, ensure_in_range, ensure_one_of, ranged
from byteproxy.study.recipe_given import Corpus, StartModel
from byteproxy.train.train_config import MAX_SEED, TrainConfig, ensure_reads_tokens, ensure_starts_anew

Role = Literal["bytes", "control", "proxy", "tokenizer"]
Beginning = Literal["", "model"]
SET_BY_THE_STUDY = ("stop", "seed", "corpus", "validate_every", "validation")
"""Fields of a run that a recipe can't set."""
_SHOWN = {"preset", "phases"}
_FLOPS = bounds(1.0, 1e30)
_NAME = re.compile(r"[A-Za-z0-9][\w.]*")


@dataclass(frozen=True)
class Trials:
    """Short runs that choose each arm's learning rate and rows at each size, out of the same grid for all.

    learning_rates: to try. sequences_per_step: to try with each of them; empty: the run's own. flops: of each trial.
    seed: of all trials; never one of the study's seeds.
    """

    learning_rates: tuple[float, ...] = field(metadata=bounds(0.0, 100.0, above=True))
    flops: float = field(metadata=_FLOPS)
    sequences_per_step: tuple[int, ...] = ranged((), 1, 1 << 24)
    seed: int = ranged(1000, 0, MAX_SEED)

    def __post_init__(self) -> None:
        if not self.learning_rates:
            raise InputError("trials.learning_rates holds positive numbers, at least one")
        ensure_in_range(self, "trials.")
        _differ("trials.learning_rates", [short(rate) for rate in self.learning_rates])
        _differ("trials.sequences_per_step", list(self.sequences_per_step))


@dataclass(frozen=True)
class Scoring:
    """What is measured on held-out text.

    validation_bytes, test_bytes: of text that a finished run is scored on, of each split.
    document_bytes: the most that one document gives, from its start, so that no long one dominates.
    stride: bytes by which windows move on; a window is as long as a passage.
    curve: evaluations on the validation split during a run, the last one at its end. curve_bytes: of text for each
        evaluation.
    viewer_documents, viewer_bytes: excerpts of validation text that are shown byte by byte, and how long they are.
    robust_bytes: of validation text that a final run at its arm's largest budget is also scored on with typing errors,
        and after prompts cut inside a token of the study's model; 0: none.
    """

    validation_bytes: int = ranged(300_000, 1, 1 << 50)
    test_bytes: int = ranged(1_000_000, 1, 1 << 50)
    document_bytes: int = ranged(20_000, 1, 1 << 50)
    stride: int = ranged(256, 1, 1 << 30)
    curve: int = ranged(12, 1, 1 << 40)
    curve_bytes: int = ranged(40_000, 1, 1 << 50)
    viewer_documents: int = ranged(3, 0, 10_000)
    viewer_bytes: int = ranged(1200, 1, 1500)
    robust_bytes: int = ranged(0, 0, 1 << 50)

    def __post_init__(self) -> None:
        ensure_in_range(self, "scoring.")


@dataclass(frozen=True)
class Arm:
    """An arm: one way to train.

    about: one sentence. role: "bytes" reads raw bytes only; "control" is what a proxy has to beat beside them;
        "proxy" is a method; "tokenizer" reads symbols only, and its bits are those of its symbols.
    run: what is its own in a run's configuration.
    start: "model" begins with the study's model, and its tokenizer is the arm's first view; empty: with random weights.
    sizes, flops, seeds: the final runs that it gets; empty: all of the study's.
    """

    role: Role
    about: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    start: Beginning = ""
    sizes: tuple[str, ...] = ()
    flops: tuple[float, ...] = field(default=(), metadata=_FLOPS)
    seeds: tuple[int, ...] = ranged((), 0, MAX_SEED)

    def __post_init__(self) -> None:
        ensure_in_range(self)
        if self.role not in get_args(Role):
            raise InputError(f"role is {self.role!r}: give one of {', '.join(get_args(Role))}")
        ensure_one_of("start", self.start, get_args(Beginning))


@dataclass(frozen=True)
class Budgets:
    """The budgets of a size, in place of the study's.

    flops: of final runs; empty: the study's. trial_flops: of each trial; 0: as `trials.flops` has it.
    """

    flops: tuple[float, ...] = field(default=(), metadata=_FLOPS)
    trial_flops: float = field(default=0.0, metadata=bounds(1.0, 1e30, or_zero=True))

    def __post_init__(self) -> None:
        ensure_in_range(self)
        _differ("flops", [short(flops) for flops in self.flops])


_OF_BUDGETS = tuple(one.name for one in fields(Budgets))


@dataclass(frozen=True)
class Claim:
    """What the test split is opened for, once, when all final runs of its arms are done.

    arms: whose final runs are scored on it. against: those that every other arm is compared with.
    """

    name: str
    arms: tuple[str, ...]
    against: tuple[str, ...]


class Cell(NamedTuple):
    """Runs that differ in their seeds only."""

    arm: str
    size: str
    flops: float


@dataclass(frozen=True)
class StudyRecipe:
    """A study.

    about: one sentence. seeds: of the final runs' weights and mixtures. flops: budgets of final runs, each of which is
        a run of its own with a schedule of its own. run: fields of a run's configuration that all arms share.
    sizes: by name, what each changes in `run`, and its `Budgets` where it has its own. trials: None trains every arm
        with its own learning rate.
    model: that arms may begin with; None: all begin with random weights.
    keep_models: final runs keep their newest checkpoint. Without them a run is scored on the test text at its end, into
        a file that is opened with its claim, and leaves no weights.
    """

    seeds: tuple[int, ...] = field(metadata=bounds(0, MAX_SEED))
    corpus: Corpus
    sizes: dict[str, dict[str, Any]]
    arms: dict[str, Arm]
    flops: tuple[float, ...] = field(default=(), metadata=_FLOPS)
    about: str = ""
    run: dict[str, Any] = field(default_factory=dict)
    trials: Trials | None = None
    scoring: Scoring = field(default_factory=Scoring)
    claims: tuple[Claim, ...] = ()
    model: StartModel | None = None
    keep_models: bool = True

    def __post_init__(self) -> None:
        if not self.seeds:
            raise InputError("seeds holds whole numbers from 0 to 2^63 - 1, at least one")
        if not self.flops and not all(size.get("flops") for size in self.sizes.values()):
            raise InputError("flops holds positive numbers, at least one, such as 4e12")
        ensure_in_range(self)
        _differ("seeds", list(self.seeds))
        _differ("flops", [short(flops) for flops in self.flops])
        for what, names in (("sizes", self.sizes), ("arms", self.arms)):
            if not names:
                raise InputError(f"{what} is empty: name at least one")
            for name in names:
                if not _NAME.fullmatch(name):
                    raise InputError(f"{what}: {name!r} is no name for one: use letters, digits, _ and . only")
        if self.trials is not None and self.trials.seed in self.seeds:
            raise InputError(
                f"trials.seed is {self.trials.seed}, which is one of seeds: give another, so that no choice is made on "
                "the runs that are reported"
            )
        for name, arm in self.arms.items():
            self._check_restrictions(name, arm)
        self._check_claims()
        if self.model is not None and not any(arm.start for arm in self.arms.values()):
            raise InputError('a model is named, and no arm begins with it: let an arm have start = "model"')
        for name in self.arms:
            for size in self.sizes_of(name):
                self._check_run(name, size)
        if self.scoring.robust_bytes and self.model is None:
            raise InputError(
                "scoring.robust_bytes cuts prompts inside tokens of the study's model: name one, or let it be 0"
            )

    def _check_restrictions(self, name: str, arm: Arm) -> None:
        for what, own, all_of in (
            ("sizes", arm.sizes, tuple(self.sizes)),
            ("flops", arm.flops, self.all_flops()),
            ("seeds", arm.seeds, self.seeds),
        ):
            strange = [one for one in own if one not in all_of]
            if strange:
                there = ", ".join(f"{one:g}" if what == "flops" else str(one) for one in all_of)
                raise InputError(
                    f"arms.{name}.{what} has {strange[0]!r}, which the study has not: give some of {there}"
                )
        if not self.sizes_of(name):
            raise InputError(f"arms.{name} has no runs: none of its sizes has a budget of arms.{name}.flops")

    def _check_claims(self) -> None:
        _differ("claims: name", [claim.name for claim in self.claims])
        for claim in self.claims:
            unknown = [name for name in (*claim.arms, *claim.against) if name not in self.arms]
            if unknown:
                raise InputError(
                    f"claim {claim.name!r} names the arm {unknown[0]!r}: give some of {', '.join(self.arms)}"
                )
            aside = [name for name in claim.against if name not in claim.arms]
            if aside or not claim.against or len(claim.arms) < 2:
                raise InputError(
                    f"claim {claim.name!r} needs at least two arms, and against names some of them"
                    f"{f', which {aside[0]} is not' if aside else ''}"
                )

    def _check_run(self, name: str, size: str) -> None:
        config = self.config(name, size)
        arm = self.arms[name]
        if arm.start and self.model is None:
            raise InputError(f"arms.{name} begins with a model, and none is named: do so under [model], or by --model")
        if arm.start:
            ensure_reads_tokens(config, f"arms.{name}")
        else:
            ensure_starts_anew(config, f'let arms.{name} have start = "model"')
        if self.scoring.stride > config.shape.context_bytes:
            raise InputError(
                f"scoring.stride is {self.scoring.stride}: give at most shape.context_bytes, which is "
                f"{config.shape.context_bytes} for arm {name}"
            )
        if config.mixture.needs_view and not config.views and self.model is None:
            raise InputError(f"arms.{name}: its mixture shows compressed text, so name what in arms.{name}.run.views")
        if arm.role == "bytes" and config.mixture.needs_view:
            raise InputError(
                f'arms.{name} has the role bytes and shows compressed text: give it mixture = {{preset = "bytes"}}, or '
                "another role"
            )
        views = len(config.views) or (self.model is not None)  # its tokenizer, where none is named
        if arm.role == "tokenizer" and (views != 1 or not config.objective.symbols):
            raise InputError(
                f"arms.{name} has the role tokenizer: name its one view in arms.{name}.run.views, and let "
                "objective.symbols be above 0"
            )

    def config(self, arm: str, size: str) -> TrainConfig:
        """The run of an arm at a size, without what the study sets: its length, seed, corpus and evaluations.

        Raises InputError naming the field that is wrong.
        """
        of_size = {field: value for field, value in self.sizes[size].items() if field not in _OF_BUDGETS}
        values = merged(merged(self.run, of_size), self.arms[arm].run)
        where = f"arm {arm} at size {size}"
        for name in SET_BY_THE_STUDY:
            if name in values:
                raise InputError(f"{where}: the study sets {name} by itself, so leave it out")
        config = from_values(values, TrainConfig, where)
        if config.start.path and not self.arms[arm].start:
            raise InputError(
                f"{where}: start.path is {config.start.path!r}: name the model under [model], and let arms that begin "
                'with it have start = "model"'
            )
        return config

    def sizes_of(self, arm: str) -> tuple[str, ...]:
        """The sizes at which an arm has final runs, in the recipe's order."""
        own = self.arms[arm].sizes or tuple(self.sizes)
        return tuple(size for size in own if self.flops_of(arm, size))

    def seeds_of(self, arm: str) -> tuple[int, ...]:
        """The seeds of an arm's final runs."""
        return self.arms[arm].seeds or self.seeds

    def flops_of(self, arm: str, size: str) -> tuple[float, ...]:
        """The budgets of an arm's final runs at a size, in the recipe's order."""
        own = self.arms[arm].flops
        return tuple(flops for flops in self._flops_at(size) if not own or flops in own)

    def trial_flops(self, size: str) -> float:
        """The budget of each trial at a size; the study has trials."""
        assert self.trials is not None
        return self._budgets(size).trial_flops or self.trials.flops

    def all_flops(self) -> tuple[float, ...]:
        """The budgets of all sizes, from the smallest to the largest."""
        return tuple(sorted({flops for size in self.sizes for flops in self._flops_at(size)}))

    def _flops_at(self, size: str) -> tuple[float, ...]:
        return self._budgets(size).flops or self.flops

    def _budgets(self, size: str) -> Budgets:
        own = {field: value for field, value in self.sizes[size].items() if field in _OF_BUDGETS}
        return from_values(own, Budgets, f"sizes.{size}")

    def cells(self) -> Iterator[Cell]:
        """The final runs without their seeds, by budget, then size, then arm."""
        for flops in self.all_flops():
            for size in self.sizes:
                for name in self.arms:
                    if size in self.sizes_of(name) and flops in self.flops_of(name, size):
                        yield Cell(name, size, flops)

    def grid(self, arm: str, size: str) -> list[tuple[float, int]]:
        """The learning rates and rows that trials try; one pair, the run's own, where there are none."""
        config = self.config(arm, size)
        if self.trials is None:
            return [(config.optim.learning_rate, config.shape.sequences_per_step)]
        rows = self.trials.sequences_per_step or (config.shape.sequences_per_step,)
        return [(rate, count) for rate in self.trials.learning_rates for count in rows]


def read_recipe(path: Path, changes: Mapping[str, Any] | None = None) -> StudyRecipe:
    """The study in a TOML file, with some fields otherwise; InputError naming the field that is wrong."""
    return from_values(merged(toml_of(path), changes or {}), StudyRecipe, path)


def short(value: float) -> str:
    """A number in as few digits as name it: 3e-03, 1.2e+13."""
    texts = (f"{value:.{digits}e}" for digits in range(17))
    return next(text for text in texts if float(text) == value)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values with some of them replaced."""
    found = dict(base)
    for name, value in over.items():
        before = found.get(name)
        if not (isinstance(before, Mapping) and isinstance(value, Mapping)):
            found[name] = value
            continue
        if name == "mixture" and _SHOWN & set(value):
            before = {key: one for key, one in before.items() if key not in _SHOWN}
        found[name] = merged(before, value)
    return found


def _differ(what: str, values: list[Any]) -> None:
    twice = next((one for one in values if values.count(one) > 1), None)
    if twice is not None:
        raise InputError(f"{what} holds {twice} twice: name each once")
