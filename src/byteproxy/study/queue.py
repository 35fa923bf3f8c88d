"""The runs of a study in order: trials first, then final runs by budget, so that an early stop leaves balanced cells.

The queue keeps nothing itself; its state is what runs leave in their folders. A run is done if its `result.json` was
made with what the recipe says now: the same configuration (field by field, so a field that is new in byteproxy and has
its default changes nothing), corpus, budget and scoring. A final run also needs its scores on validation text. Whatever
else changes in the recipe costs no run.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from byteproxy.checksummed import known
from byteproxy.config import from_values
from byteproxy.errors import InputError
from byteproxy.evaluate.held_out import RULE
from byteproxy.parsing import parse_toml
from byteproxy.progress import Stage, quietly
from byteproxy.store.store import Store
from byteproxy.study.fairness import check_budget
from byteproxy.study.recipe import Scoring, StudyRecipe, short
from byteproxy.study.run_files import RESULT, scores
from byteproxy.study.study_folder import RUNS, Notes
from byteproxy.train.budget import steps_for_flops
from byteproxy.train.compiler import fastest_dtype
from byteproxy.train.flops import step_flops
from byteproxy.train.train_config import TrainConfig, steps
from byteproxy.train.trainer import stream_of


class Key(NamedTuple):
    """The identity of a run, except for what trials choose: the learning rate and rows of a final run."""

    name: str
    kind: Literal["trial", "final"]
    arm: str
    size: str
    flops: float
    seed: int
    learning_rate: float | None = None
    sequences_per_step: int | None = None


@dataclass(frozen=True)
class Job:
    """A run with all that it takes; can be pickled.

    config: without its steps until it is `resolved`. made_with: a hash of corpus, budget and scoring.
    view: of a tokenizer arm, what is scored; empty of one that is scored on raw bytes. tokens: of a run that is scored
    on raw bytes and has the tokenizer of the study's model, that view, which is scored, too. viewed: whether it is also
    scored byte by byte on the excerpts of the viewer. keeps_model: whether its newest checkpoint stays. robust: the
    view whose tokens prompts are cut in, of a run that is also scored so; empty: it isn't.
    """

    key: Key
    config: TrainConfig
    folder: Path
    scoring: Scoring
    made_with: str
    view: str = ""
    tokens: str = ""
    viewed: bool = False
    keeps_model: bool = True
    robust: str = ""

    def result(self) -> dict[str, Any] | None:
        """The run's result; None if it isn't done, or was done with other settings."""
        found = known(self.folder / RESULT)
        if found is None or found["made_with"] != self.made_with:
            return None
        trained = _config_of(found)
        return found if trained is not None and comparable(trained) == comparable(self.config) else None


def _config_of(result: dict[str, Any]) -> TrainConfig | None:
    """The configuration that a result is of; None where it is of another version's fields."""
    try:
        return from_values(parse_toml(result["config"]), TrainConfig, RESULT)
    except InputError:
        return None


def comparable(config: TrainConfig) -> TrainConfig:
    """A configuration without what is said elsewhere or changes no figure."""
    plain = TrainConfig()
    names = ("stop", "corpus", "validate_every", "log_every", "checkpoint_seconds", "keep", "tensorboard")
    start = replace(config.start, path="somewhere") if config.start.path else config.start  # its checksums say which
    return replace(config, start=start, **{name: getattr(plain, name) for name in names})


class Queue:
    """All runs of a recipe in a folder, with those that are done.

    only: names of the arms whose runs are wanted now; empty: all.
    """

    def __init__(self, recipe: StudyRecipe, store: Store, out: Path, only: Iterable[str] = ()) -> None:
        self.recipe, self.store, self.out = recipe, store, out
        self.only = tuple(only)
        strange = [name for name in self.only if name not in recipe.arms]
        if strange:
            raise InputError(f"there is no arm {strange[0]!r}: name one of {', '.join(recipe.arms)}")
        self._notes = Notes(out, "plans")
        self._dtype = ""
        self._done: dict[str, dict[str, Any]] = {}
        self.keys = [*self._trials(), *self._finals()]

    def wanted(self) -> list[Key]:
        """The runs of the arms that are asked for."""
        return [key for key in self.keys if not self.only or key.arm in self.only]

    def _trials(self) -> Iterator[Key]:
        recipe, trials = self.recipe, self.recipe.trials
        if trials is None:
            return
        for size in recipe.sizes:
            for arm in recipe.arms:
                if size in recipe.sizes_of(arm):
                    for rate, rows in recipe.grid(arm, size):
                        name = f"trial-{arm}-{size}-lr{short(rate)}-rows{rows}"
                        yield Key(name, "trial", arm, size, recipe.trial_flops(size), trials.seed, rate, rows)

    def _finals(self) -> Iterator[Key]:
        recipe = self.recipe
        found = [
            Key(f"final-{cell.arm}-{cell.size}-{short(cell.flops)}-seed{seed}", "final", *cell, seed)
            for cell in recipe.cells()
            for seed in recipe.seeds_of(cell.arm)
        ]
        # Stable: sizes and arms as they are.
        yield from sorted(found, key=lambda key: (key.flops, recipe.seeds.index(key.seed)))

    def choice(self, arm: str, size: str) -> tuple[float, int] | None:
        """The learning rate and rows of an arm's final runs: those of its best trial.

        None until all its trials are done, and where all of them diverged.
        """
        grid = self.recipe.grid(arm, size)
        if self.recipe.trials is None:
            return grid[0]
        scores = {}
        for key in self.keys:
            if (key.kind, key.arm, key.size) == ("trial", arm, size):
                result = self.result(key)
                if result is None:
                    return None
                bpb = result["validation_bpb"]
                scores[key.learning_rate, key.sequences_per_step] = math.inf if bpb is None or math.isnan(bpb) else bpb
        best = min(grid, key=lambda pair: scores[pair])
        return None if math.isinf(scores[best]) else best

    def job(self, key: Key) -> Job | None:
        """A run with its configuration; None of a final one whose trials aren't done."""
        chosen = (key.learning_rate, key.sequences_per_step) if key.kind == "trial" else self.choice(key.arm, key.size)
        if chosen is None:
            return None
        rate, rows = chosen
        assert rate is not None, "a trial has one"
        assert rows is not None, "a trial has some"
        return self._job(key, rate, rows)

    def _job(self, key: Key, rate: float, rows: int) -> Job:
        recipe, scoring = self.recipe, self.recipe.scoring
        config = recipe.config(key.arm, key.size)
        config = replace(
            config,
            stop=f"{key.flops!r} flops",
            corpus=str(self.store.path),
            seed=key.seed,
            dtype=self._dtype_of(config),
            optim=replace(config.optim, learning_rate=rate),
            shape=replace(config.shape, sequences_per_step=rows),
        )
        evaluations = (scoring.curve, scoring.curve_bytes) if key.kind == "final" else ()
        with_what = [
            float(key.flops),
            self.store.manifest.fingerprint_for(config.views),
            [scoring.validation_bytes, scoring.document_bytes, scoring.stride, RULE],
            evaluations,
        ]
        view = config.views[0] if recipe.arms[key.arm].role == "tokenizer" else ""
        largest = key.kind == "final" and key.flops == max(recipe.flops_of(key.arm, key.size))
        return Job(
            key,
            config,
            self.out / RUNS / key.name,
            scoring,
            hashlib.sha256(json.dumps(with_what).encode()).hexdigest()[:32],
            view=view,
            tokens=config.views[0] if recipe.model is not None and config.views and not view else "",
            viewed=largest and key.seed == min(recipe.seeds_of(key.arm)),
            keeps_model=key.kind == "final" and recipe.keep_models,
            robust=self.untrained().views[0] if largest and scoring.robust_bytes else "",
        )

    def untrained(self) -> TrainConfig:
        """A run that begins with the study's model, and changes nothing in it but what its rows of bytes begin as."""
        recipe = self.recipe
        arm = next(name for name, one in recipe.arms.items() if one.start)
        config = recipe.config(arm, recipe.sizes_of(arm)[0])
        start = replace(config.start, byte_rows="single")
        plain = TrainConfig()
        config = replace(config, start=start, lora=plain.lora, scaffolding=plain.scaffolding)
        return replace(config, dtype=self._dtype_of(config), seed=min(recipe.seeds))

    def _dtype_of(self, config: TrainConfig) -> str:
        """The dtype; what "auto" is here is measured once for a folder, so that all its runs have the same."""
        if config.dtype != "auto":
            return config.dtype
        if not self._dtype:
            notes = Notes(self.out, "dtype")
            self._dtype = notes.get("auto") or self._dtype_of_done() or fastest_dtype(config.device)
            if notes.get("auto") != self._dtype:
                notes.put("auto", self._dtype)
        return self._dtype

    def _dtype_of_done(self) -> str:
        """The dtype of a finished run, so that a lost note changes no other run; empty where none is finished."""
        for key in self.keys:
            if self.recipe.config(key.arm, key.size).dtype != "auto":
                continue
            found = known(self.out / RUNS / key.name / RESULT)
            if found is not None and (config := _config_of(found)) is not None:
                return config.dtype
        return ""

    def result(self, key: Key) -> dict[str, Any] | None:
        """A run's result; None if it isn't done as the recipe has it now."""
        if key.name not in self._done:
            job = self.job(key)
            found = None if job is None else job.result()
            if job is None or found is None:
                return None
            if key.kind == "final" and scores(job, self.store, "validation") is None:
                return None
            self._done[key.name] = found
        return self._done[key.name]

    def resolved(self, job: Job) -> Job:
        """The same run with its steps said; InputError where these don't come to its budget."""
        count, _ = self._planned(job)
        every = -(-count // job.scoring.curve) if job.key.kind == "final" else 0
        return replace(job, config=replace(job.config, stop=steps(count), validate_every=every))

    def _planned(self, job: Job) -> tuple[int, int]:
        """The steps of a run, and the FLOPs that were counted for them."""
        config = job.config
        rate = TrainConfig().optim.learning_rate  # changes no plan
        asked = replace(comparable(config), stop=config.stop, optim=replace(config.optim, learning_rate=rate))
        what = [asdict(asked), self.store.manifest.fingerprint_for(config.views)]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]
        found = self._notes.get(digest)
        if found is None:
            count = steps_for_flops(job.key.flops, config, self.store)
            stream = stream_of(replace(config, stop=steps(count)), self.store)
            of = config.model, config.objective, stream
            found = [count, sum(step_flops(*of, plan, config.lora) for plan in stream.plans())]
            self._notes.put(digest, found)
        check_budget(f"arm {job.key.arm} at size {job.key.size}", job.key.flops, found[1])
        return found[0], found[1]

    def check_budgets(self, stage: Stage = quietly) -> None:
        """Count what every arm costs at every size and budget before anything is trained; seeds change it little.

        Raises InputError naming the first arm that can't be brought to its budget.
        """
        first = min(self.recipe.seeds)
        keys: dict[tuple[object, ...], Key] = {}
        for key in self.keys:
            keys.setdefault((key.kind, key.arm, key.size, key.flops, key.sequences_per_step), key)
        with stage("count FLOPs", "plans") as progress:
            for done, key in enumerate(keys.values(), start=1):
                grid = self.recipe.grid(key.arm, key.size)
                for rows in [key.sequences_per_step] if key.sequences_per_step else sorted({rows for _, rows in grid}):
                    seed = key.seed if key.kind == "trial" else first
                    self._planned(self._job(key._replace(seed=seed), grid[0][0], rows))
                progress(done, len(keys))

    def parameters(self, size: str) -> int:
        """The matrix parameters that every position passes through, at a size, of its first arm."""
        arm = next(name for name in self.recipe.arms if size in self.recipe.sizes_of(name))
        return self.recipe.config(arm, size).model.matrix_parameters
