"""The rules of a fair comparison. Each raises InputError if it is broken, and says what to do.

Training FLOPs are equal. No project is in two splits. Every arm has the same trials. Every trick of an arm that reads
compressed text is given to some arm of raw bytes as well. All arms see as many bytes of text before each byte. Text is
newer than a model that arms begin with, where both have a date; where one has none, the results say that the model may
have seen the text. The test split is opened once for each claim.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from byteproxy.checksummed import MAX_BYTES, DamagedError, parse_checksummed, with_checksum
from byteproxy.corpus.split import SPLITS
from byteproxy.errors import InputError
from byteproxy.files import read_bytes, write_aside
from byteproxy.store.store import Store
from byteproxy.study.recipe import StudyRecipe
from byteproxy.study.study_folder import OPENED, Notes
from byteproxy.train.train_config import TrainConfig

MAX_APART = 0.01
"""Share of a budget that a run's FLOPs may be off."""


def check_budget(what: str, asked: float, flops: float) -> None:
    """FLOPs, planned or done, are within 1 % of what was asked for."""
    off = flops / asked - 1
    if abs(off) > MAX_APART:
        raise InputError(
            f"{what} has {flops:.4g} FLOPs, {100 * off:+.1f} % from the budget of {asked:.4g}, and arms are compared "
            f"within {100 * MAX_APART:.0f} %: give a larger budget, or smaller steps (fewer rows)"
        )


def check_apart(store: Store, out: Path) -> None:
    """No project is in the train split and in a held-out one, but those that the split had to divide.

    These are the projects of the groups whose files were split, as `corpus stats` and the manifest say. Read from every
    shard, once for each corpus.
    """
    notes, fingerprint = Notes(out, "splits"), store.manifest.fingerprint
    both = notes.get(fingerprint)
    if both is None:
        trained, *others = (_projects(store, split) for split in SPLITS)
        both = sorted(trained & set().union(*others))
        notes.put(fingerprint, both)
    divided = sum(group.projects for group in store.manifest.groups if group.divides_projects)
    if len(both) > divided:
        raise InputError(
            f"{store.path}: {len(both)} projects are in the train split and in a held-out one ({', '.join(both[:3])}), "
            "so arms would be scored on what they trained on: prepare the corpus again into another folder"
        )


def _projects(store: Store, split: Any) -> set[str]:
    found: set[str] = set()
    for shard in store.shards(split):
        found.update(pc.unique(store.names(shard).column("project")).to_pylist())
    return found


def check_tricks(recipe: StudyRecipe) -> None:
    """Require that every trick of an arm of compressed text is also in some arm of raw bytes, at each of its sizes."""
    arms = recipe.arms.items()
    rivals = [name for name, arm in arms if arm.role in ("proxy", "control")]
    byte_arms = [name for name, arm in arms if arm.role == "bytes" or (name in rivals and _reads_bytes(recipe, name))]
    if rivals and not any(arm.role == "bytes" for _, arm in arms):
        raise InputError(
            f'no arm has the role bytes, so arm {rivals[0]} has nothing to beat: add one with role = "bytes"'
        )
    for name in rivals:
        for size in recipe.sizes_of(name):
            beside = [recipe.config(one, size) for one in byte_arms if size in recipe.sizes_of(one)]
            for trick, (shown, given) in _TRICKS.items():
                own = given(recipe.config(name, size))
                if own and not any(_as_much(given(one), own) for one in beside):
                    raise InputError(
                        f"arm {name} has {trick} = {shown(own)} at size {size}, and no arm of raw bytes has that "
                        f"there: give it to one of {', '.join(byte_arms)}, or add such an arm"
                    )


def _reads_bytes(recipe: StudyRecipe, arm: str) -> bool:
    """Whether an arm is shown raw bytes only, whatever its role is called."""
    return not any(recipe.config(arm, size).mixture.needs_view for size in recipe.sizes_of(arm))


def check_contexts(recipe: StudyRecipe) -> None:
    """Require that all arms of a size have the same context, in bytes of text, whatever they read it as."""
    for size in recipe.sizes:
        contexts: dict[int, str] = {}
        for name in recipe.arms:
            if size in recipe.sizes_of(name):
                contexts.setdefault(recipe.config(name, size).shape.context_bytes, name)
        if len(contexts) > 1:
            (one, first), (two, second), *_ = contexts.items()
            raise InputError(
                f"at size {size} arm {first} reads {one} bytes of text at once and arm {second} {two}, so what they "
                "cost isn't of equal contexts: let shape.context_bytes be the same for all arms of a size"
            )


def check_unseen(recipe: StudyRecipe) -> None:
    """Require that text is newer than the model that arms begin with, where the recipe dates both."""
    if recipe.model is None:
        return
    text, model = recipe.corpus.published, recipe.model.published
    if text and model and date.fromisoformat(text) <= date.fromisoformat(model):
        raise InputError(
            f"the text was first published on {text} or later, and the model on {model}: it may have been trained on "
            "it, so what it costs says nothing of new text; take newer text, or an older model"
        )


def why_seen(recipe: StudyRecipe) -> str:
    """Why the model that arms begin with may have seen the text, in words; empty where the recipe dates both."""
    if recipe.model is None:
        return ""
    if not recipe.corpus.published:
        return "nobody said when the text was first published, so the model may have been trained on it"
    if not recipe.model.published:
        return (
            "nobody said when the model was published (--set model.published=DAY does), so it may have been trained on "
            f"text of {recipe.corpus.published} and later"
        )
    return ""


def _ngrams(config: TrainConfig) -> tuple[frozenset[int], int] | None:
    return (frozenset(config.model.ngrams), config.model.ngram_rows) if config.model.ngrams else None


_TRICKS: dict[str, tuple[Callable[[Any], str], Callable[[TrainConfig], Any]]] = {
    "optim.optimizer": (repr, lambda config: config.optim.optimizer),
    "model.ngrams": (lambda own: f"{sorted(own[0])} with {own[1]} rows", _ngrams),
    "model.ngrams that stay": (repr, lambda config: bool(config.model.ngrams) and config.scaffolding.ngrams.stays),
    "model.ngram_outputs": (repr, lambda config: getattr(config.model, "ngram_outputs", False)),
    "model.byte_heads": (repr, lambda config: config.model.byte_heads > 1 and config.model.byte_heads),
    "model.byte_head_ngrams": (repr, lambda config: bool(config.model.byte_head_ngrams)),
    "model.qk_norm": (repr, lambda config: config.model.qk_norm),
    "model.value_embeddings": (repr, lambda config: config.model.value_embeddings),
    "model.soft_cap": (repr, lambda config: config.model.soft_cap),
    "start": (lambda own: "the study's model", lambda config: bool(config.start.path)),
    "start.byte_rows": (repr, lambda config: config.start.byte_rows != "single" and config.start.byte_rows),
}
"""What makes a model better and has nothing to do with compressed text: how it is shown, and what a run has of it."""


def _as_much(there: Any, own: Any) -> bool:
    """Whether an arm has as much of a trick: all n-gram lengths and as many rows, the same optimizer, else any."""
    if not there:
        return False
    if isinstance(own, tuple):
        return bool(there[0] >= own[0] and there[1] >= own[1])
    return not isinstance(own, str) or bool(there == own)


def check_trials(recipe: StudyRecipe, trials: Iterable[Mapping[str, Any]], finals: Iterable[Mapping[str, Any]]) -> None:
    """Require that every arm with final runs chose its learning rate and rows from the whole grid."""
    if recipe.trials is None:
        return
    tried: dict[tuple[str, str], set[tuple[float, int]]] = {}
    for trial in trials:
        tried.setdefault((trial["arm"], trial["size"]), set()).add(
            (trial["learning_rate"], trial["sequences_per_step"])
        )
    for arm, size in dict.fromkeys((run["arm"], run["size"]) for run in finals):
        missing = set(recipe.grid(arm, size)) - tried.get((arm, size), set())
        if missing:
            rate, rows = min(missing)
            raise InputError(
                f"arm {arm} at size {size} has final runs, but its trial at learning rate {rate:g} with {rows} rows is "
                "missing: run the study again, so that all arms choose from the same grid"
            )


_REMEDY = (
    "it says for which claim the test split was opened: restore the file from a copy, or say --reopen, which keeps it "
    "aside and begins a new one, and all results will then tell"
)


def openings(out: Path) -> list[dict[str, Any]]:
    """Each time that the test split was opened: time, claim, runs, made_with.

    Raises DamagedError where a line is damaged, or none is left though runs have scores of the test split: nothing else
    says who saw it.
    """
    where = out / OPENED
    try:
        lines = read_bytes(where, MAX_BYTES).splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise InputError(f"cannot read {where} ({error.strerror}): make it readable") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(parse_checksummed(line, f"line {number} of {where}"))
        except DamagedError as error:
            raise DamagedError(f"{error}, and {_REMEDY}") from error
    if not found and next(out.glob("runs/*/scores-test.json"), None) is not None:
        raise DamagedError(f"{where} says nothing, though runs have scores of the test split, and {_REMEDY}")
    return found


def forgive_damage(out: Path) -> None:
    """Set a damaged log of openings aside, and begin a new one that says so; nothing if it is whole."""
    try:
        openings(out)
    except DamagedError:
        aside = out / f"{OPENED}.damaged"
        if (out / OPENED).exists():
            os.replace(out / OPENED, aside)
        _log(out, [{"time": _now(), "claim": f"what the damaged log says: {aside.name}", "runs": [], "made_with": ""}])


def open_once(out: Path, claim: str, runs: Sequence[str], made_with: str, reopen: bool) -> None:
    """Note that the test split is opened for a claim, before it is; nothing if that was done for these very runs.

    made_with: a hash of all that decides the claim's figures.
    Raises InputError where the claim was opened with something else, unless `reopen`.
    """
    before = openings(out)
    own = [line for line in before if line["claim"] == claim]
    if any(line["made_with"] == made_with for line in own):
        return
    if own and not reopen:
        raise InputError(
            f"the test split was opened for claim {claim!r} at {own[-1]['time']}, and the recipe says something else "
            "by now: a second evaluation makes its figures a choice; give the claim another name or the corpus another "
            "salt, or say --reopen, which all results will then tell"
        )
    line = {
        "time": _now(),
        "claim": claim,
        "runs": list(runs),
        "made_with": made_with,
        **({"reopened": True} if own or any(not one["runs"] for one in before) else {}),
    }
    _log(out, [*before, line])


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _log(out: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    write_aside(out / OPENED, "".join(json.dumps(with_checksum(line)) + "\n" for line in lines).encode())
