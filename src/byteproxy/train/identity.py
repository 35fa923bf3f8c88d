"""Whether two configurations are of one run, so that the run of the one may go on with the other.

All that decides the weights or the stream has to be the same. `MAY_CHANGE` lists what needn't be; every other field is
refused by its name, a new one too until it is listed.

The length is a case of its own: a run may become longer if all its steps so far were those of a run that had the new
length from the start. Several settings are relative to the number of steps, so each is computed for both lengths and
compared, step by step: the learning rate, what moves, what the mixture shows, the weights of heads, and how much
scaffolding counts. With the schedule "wsd" and `optim.warmup_steps` the rate is the same until its fall begins; a
mixture of one phase at a constant rate shows the same for ever.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.config import to_toml
from byteproxy.errors import InputError
from byteproxy.mixture.schedule import settings_at
from byteproxy.parsing import parse_toml
from byteproxy.train.optim_config import learning_rate
from byteproxy.train.train_config import TrainConfig

MAY_CHANGE = (
    "corpus",  # where it is; which one it is, its fingerprint decides
    "device",
    "attention",
    "micro_sequences",  # changes sums by rounding, as another number of ranks does
    "parallel",  # likewise
    "activation_checkpointing",
    "validation",
    "validate_every",
    "log_every",
    "tensorboard",
    "checkpoint_seconds",
    "keep",
    "rank_timeout_seconds",
)
"""Fields that a run may have otherwise when it goes on. So may `start.path`, as a start's checksums say which it is."""
_SOMEWHERE = "somewhere"


class Difference(NamedTuple):
    """A field that two configurations have otherwise, by its name with dots."""

    field: str
    then: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.field} is {_told(self.then)} there and {_told(self.now)} here"


def identity(config: TrainConfig) -> str:
    """What two configurations of one run agree in, their length apart: all but what may change, as TOML."""
    start = replace(config.start, path=_SOMEWHERE) if config.start.path else config.start
    return request(replace(config, start=start))


def request(config: TrainConfig) -> str:
    """What two commands that ask for one run agree in: as `identity`, and where its start lies, as TOML."""
    return to_toml(taking(config, TrainConfig()))


def taking(config: TrainConfig, other: TrainConfig) -> TrainConfig:
    """A configuration with what may change taken from another one."""
    return replace(config, **{name: getattr(other, name) for name in MAY_CHANGE})


def differences(then: str, now: str) -> list[Difference]:
    """The fields in which two identities, or two requests, differ, the length among them.

    A field that only one of them has, as the other is of another version, counts as having its default there.
    """
    return list(_differences(parse_toml(then), parse_toml(now), parse_toml(to_toml(TrainConfig())), ""))


def ensure_same_run(then: str, now: TrainConfig, done: int, folder: Path) -> None:
    """InputError, naming a field, unless a run may go on with another configuration.

    then: the identity of the run in `folder`, which has taken `done` steps.
    """
    found = differences(then, identity(now))
    if others := [one for one in found if one.field != "stop"]:
        raise InputError(
            f"{folder} holds a run of another configuration ({others[0]}): leave that as it was, or begin another run "
            "in a new folder"
        )
    if found:
        _ensure_same_so_far(replace(now, stop=found[0].then), now, done)


def _ensure_same_so_far(then: TrainConfig, now: TrainConfig, done: int) -> None:
    """InputError, saying why and what can be done, unless `now` had taken the same first `done` steps as `then`.

    then, now: configurations that differ in their numbers of steps only.
    """
    if now.steps < done:
        raise InputError(
            f"stop is {now.stop!r}, but {done} steps are done already: give at least as many as the run has, "
            f"{then.steps} steps, or leave --stop out"
        )
    if now.steps < then.steps:
        raise InputError(
            f"stop is {now.stop!r}, and the run has {then.steps} steps: a run can be made longer, not shorter; begin "
            "another in a new folder"
        )
    found: dict[str, str] = {}
    for step in range(done):
        for kind, why in _steps_apart(then, now, step):
            found.setdefault(kind, why)
    if not found:
        return
    instead = "begin a new run of that length"
    if set(found) == {"decay"}:
        instead = (
            f"go on from a checkpoint of before its decay, if one is kept, by moving later ones away, or {instead}"
        )
    raise InputError(
        f"the run can't go on to {now.stop}, as its {done} steps so far would have been others: "
        f"{'; '.join(found.values())}. What can be done: {instead}. {_MAY_BECOME_LONGER}"
    )


_MAY_BECOME_LONGER = (
    'A run can be made longer before its decay if it has optim.schedule "wsd", optim.warmup_steps, a mixture of one '
    "phase at a constant rate, no optim.new_rows_share, no objective.heads_weight_end, and no scaffolding that falls."
)


def _steps_apart(then: TrainConfig, now: TrainConfig, step: int) -> Iterator[tuple[str, str]]:
    """Ways in which a step (from 0) would have been another one: a kind, and a sentence about it."""
    optim, steps = then.optim, then.steps
    if learning_rate(optim, step, steps) != learning_rate(optim, step, now.steps):
        if optim.schedule == "cosine":
            yield "decay", f"its learning rate has followed a cosine over {steps} steps since step {step + 1}"
        elif step < max(optim.warmup(steps), optim.warmup(now.steps)):
            yield "warm-up", f"the learning rate of step {step + 1}, as its warm-up is a share of all steps"
        else:
            yield "decay", f"its learning rate has been decaying since step {step + 1} of {steps}"
    if (step < optim.all_move_from(steps)) != (step < optim.all_move_from(now.steps)):
        yield "new rows", f"what moves in step {step + 1}, as optim.new_rows_share is one of all steps"
    if settings_at(then.mixture, step, steps) != settings_at(now.mixture, step, now.steps):
        yield "mixture", f"what the mixture shows at step {step + 1}, as its phases are shares of all steps"
    if then.model.byte_heads > 1 or then.model.symbol_heads > 1:
        weights = [one.objective.head_weight(2, step / one.steps) for one in (then, now)]
        if weights[0] != weights[1]:
            yield "heads", f"the weight of heads at step {step + 1}, which moves over all steps"
    for name, at in (("hints", then.scaffolding.hints.scale_at), ("ngrams", then.scaffolding.ngrams.at)):
        if at(step / steps) != at(step / now.steps):
            yield name, f"the scale of scaffolding.{name} at step {step + 1}, as it falls over shares of all steps"


def _differences(then: Any, now: Any, default: Any, name: str) -> Iterator[Difference]:
    if isinstance(then, dict) and isinstance(now, dict):
        usual = default if isinstance(default, dict) else {}
        for key in {**then, **now}:
            known = usual.get(key)
            yield from _differences(then.get(key, known), now.get(key, known), known, f"{name}.{key}" if name else key)
    elif then != now:
        yield Difference(name, then, now)


def _told(value: Any) -> str:
    return "absent" if value is None else repr(value)
