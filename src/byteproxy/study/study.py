"""Run a study from recipe to report.

The recipe is checked, then runs are made, the test split is opened, and everything is written down. What is done
already is kept, so the same call continues a study that was stopped.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.checksummed import write_checksummed
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.evaluate.held_out import RULE
from byteproxy.progress import Stage, quietly
from byteproxy.store.build import build_corpus
from byteproxy.store.prepare import Preparation
from byteproxy.store.store import Store
from byteproxy.study.fairness import (
    check_apart,
    check_contexts,
    check_tricks,
    check_unseen,
    forgive_damage,
    open_once,
    openings,
)
from byteproxy.study.queue import Job, Key, Queue
from byteproxy.study.recipe import Claim, StudyRecipe
from byteproxy.study.references import References
from byteproxy.study.repair import damaged, repair
from byteproxy.study.results import WritePage, write_results
from byteproxy.study.run_files import FAILED, begun, scores, viewed
from byteproxy.study.start_model import as_noted, bound, ensure_encoded, taken
from byteproxy.study.study_folder import SETTINGS, claimed
from byteproxy.study.task_workers import Do, Outcome, Task, doing
from byteproxy.train.checkpoint import newest


def prepared(recipe: StudyRecipe, out: Path, stage: Stage) -> Store:
    """The corpus of a recipe; prepared into the study's folder as `byteproxy prepare` does it, unless it has a path."""
    corpus = recipe.corpus
    if corpus.path:
        return Store.open(Path(corpus.path))
    preparation = Preparation(split=SplitOptions(corpus.validation, corpus.test, corpus.salt))
    return build_corpus(corpus.sources, corpus.views, out / "corpus", preparation, stage=stage).store


Prepare = Callable[[StudyRecipe, Path, Stage], Store]
"""Gives the corpus of a recipe, made in a folder where it isn't there yet."""


class Limits(NamedTuple):
    """The limits of one call.

    jobs: processes at a time; 1 is this one. minutes: after which it stops; None: when all is done. only: names of the
    arms whose runs are wanted; empty: all. reopen: let the test split be opened for a claim a second time.
    """

    jobs: int = 1
    minutes: float | None = None
    only: tuple[str, ...] = ()
    reopen: bool = False


ALL = Limits()


def run_study(
    recipe: StudyRecipe,
    name: str,
    out: Path,
    prepare: Prepare = prepared,
    limits: Limits = ALL,
    stage: Stage = quietly,
    say: Callable[[str], None] = lambda line: None,
    page: WritePage | None = None,
) -> dict[str, Any]:
    """Run a study, or go on with it, and return its results, which can be written as JSON.

    say: told what becomes of each run, in a line for people. page: writes the page about them; None: there is none.
    Raises InputError for what a user can mend, KeyboardInterrupt after saving if asked to stop.
    """
    if limits.jobs < 1:
        raise InputError(f"jobs is {limits.jobs}: give at least 1")
    if limits.minutes is not None and not limits.minutes > 0:
        raise InputError(f"minutes is {limits.minutes}: give a positive number")
    until = None if limits.minutes is None else time.time() + 60 * limits.minutes
    with claimed(out, recipe):
        repair(out, say)
        if limits.reopen:
            forgive_damage(out)
        openings(out)  # refuses a damaged log before anything is trained
        queue = checked(recipe, out, prepare, limits.only, stage)
        references = References(queue)
        references.measure(["validation"], stage)
        with doing(queue.store, limits.jobs, until, stage) as do:
            _run(queue, do, say)
            refusal, unscored = _open(queue, do, limits.reopen, say)
        if openings(out):
            references.measure(["test"], stage)
        results = write_results(queue, name, stage, unscored, page)
    if refusal is not None:
        raise refusal
    return results


def report_study(
    recipe: StudyRecipe,
    name: str,
    out: Path,
    stage: Stage = quietly,
    say: Callable[[str], None] = lambda line: None,
    page: WritePage | None = None,
) -> dict[str, Any]:
    """Write a study's results again from the runs that are done; may be called while it is at work.

    say: told of damaged files, whose figures are left out until the study is run again. page: as by `run_study`.
    Raises InputError where the folder holds no study.
    """
    if not (out / SETTINGS).exists():
        raise InputError(f"{out} holds no study yet: run it first, or name its folder with --out")
    store = Store.open(Path(recipe.corpus.path) if recipe.corpus.path else out / "corpus")
    with stage("verify the corpus", "B") as progress:
        store.ensure_unaltered(progress)
    for path, again in damaged(out):
        say(f"{path} is damaged, or of an earlier version, and left out. When the study is run again, {again}")
    return write_results(Queue(as_noted(recipe, out), store, out), name, stage, page=page)


def checked(
    recipe: StudyRecipe, out: Path, prepare: Prepare = prepared, only: Iterable[str] = (), stage: Stage = quietly
) -> Queue:
    """The queue of a study, with all that can be known before a run found fair."""
    check_unseen(recipe)
    model = taken(recipe, out)
    recipe = bound(recipe, model, out)
    check_tricks(recipe)
    check_contexts(recipe)
    store = prepare(recipe, out, stage)
    with stage("verify the corpus", "B") as progress:
        store.ensure_unaltered(progress)
    ensure_encoded(store, model)
    check_apart(store, out)
    queue = Queue(recipe, store, out, only)
    queue.check_budgets(stage)
    return queue


def _run(queue: Queue, do: Do, say: Callable[[str], None]) -> None:
    """Make all runs that aren't done; a failed one is noted, and the others go on."""
    keys = queue.wanted()
    left = [key for key in keys if _is_left(queue, key)]
    taken: set[str] = set()

    def following() -> Task | None:
        for key in left:
            if key.name in taken or (job := queue.job(key)) is None:
                continue
            taken.add(key.name)
            if not _is_left(queue, key):  # it waited for a trial that was made again, and chose the same
                continue
            try:
                return Task("train", queue.resolved(job))
            except InputError as error:
                _note_failure(job, str(error), say)
        return None

    def on_outcome(outcome: Outcome) -> None:
        job = outcome.task.job
        if outcome.state == "failed":
            _note_failure(job, outcome.why, say)
        elif outcome.state == "late":
            say(f"{job.key.name}: stopped as time is up; what is done of it is saved")
        else:
            (job.folder / FAILED).unlink(missing_ok=True)
            result = queue.result(job.key)
            assert result is not None, "it is done"
            done = sum(queue.result(key) is not None for key in keys)
            bpb, seconds = result["validation_bpb"], result["wall_seconds"]
            scored = "diverged" if bpb is None else f"{bpb:.4f} bits per byte on validation text"
            say(f"[{done}/{len(keys)}] {job.key.name}: {scored}, {seconds:.0f} s")

    if left:
        do(following, on_outcome, len(left))


def _is_left(queue: Queue, key: Key) -> bool:
    return queue.result(key) is None or _lacks_excerpts(queue, key)


def _lacks_excerpts(queue: Queue, key: Key) -> bool:
    """Whether a run that is done can still be scored on the excerpts that the page shows, and isn't yet."""
    job = queue.job(key)
    if job is None or not job.viewed or viewed(job, queue.store) is not None:
        return False
    return newest(job.folder / "checkpoints") is not None


def _note_failure(job: Job, why: str, say: Callable[[str], None]) -> None:
    write_checksummed(job.folder / FAILED, {"why": why})
    say(f"{job.key.name}: failed: {why}")


def _open(
    queue: Queue, do: Do, reopen: bool, say: Callable[[str], None]
) -> tuple[InputError | None, list[dict[str, str]]]:
    """Score the runs of each claim on the test split, once all of them are done.

    Gives the refusal if a claim is refused, and the runs that could not be scored, each with why.
    """
    refusal, unscored = None, []
    for claim in queue.recipe.claims:
        keys = claim_keys(queue, claim)
        if any(queue.result(key) is None for key in keys):
            continue
        jobs = [job for key in keys if (job := queue.job(key)) is not None]
        try:
            open_once(queue.out, claim.name, [key.name for key in keys], _decided_by(claim, jobs), reopen)
        except InputError as error:
            refusal = error
            continue
        left = [job for job in jobs if scores(job, queue.store, "test") is None]
        if left:
            say(f"claim {claim.name!r}: scoring {len(left)} runs on the test split")
            unscored += _score_all(left, do, say)
    return refusal, unscored


def claim_keys(queue: Queue, claim: Claim) -> list[Key]:
    """The final runs that a claim is about."""
    return [key for key in queue.keys if key.kind == "final" and key.arm in claim.arms]


def _decided_by(claim: Claim, jobs: list[Job]) -> str:
    """A hash of all that decides a claim's figures; other arms and claims of the recipe don't."""
    runs = [[job.key.name, job.made_with, job.config.optim.learning_rate, begun(job)] for job in jobs]
    text = [[job.scoring.test_bytes, job.scoring.document_bytes, RULE] for job in jobs[:1]]
    what = [claim.name, claim.arms, claim.against, runs, text]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]


def _score_all(left: list[Job], do: Do, say: Callable[[str], None]) -> list[dict[str, str]]:
    waiting = iter(left)
    failed = []

    def following() -> Task | None:
        job = next(waiting, None)
        return None if job is None else Task("test", job)

    def on_outcome(outcome: Outcome) -> None:
        if outcome.state == "failed":
            why = f"could not be scored on the test split: {outcome.why}"
            say(f"{outcome.task.job.key.name}: {why}")
            failed.append({"key": outcome.task.job.key.name, "why": why})

    do(following, on_outcome, len(left))
    return failed
