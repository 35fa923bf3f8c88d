"""Whether a run that has taken some steps may get another length.

It may if all its steps so far were those of a run that had the new length from the start. Several settings are relative
to the number of steps, so each is computed for both lengths and compared, step by step: the learning rate, what the
mixture shows, and the weights of heads. With the curve "wsd" and `optim.warmup_steps` the rate is the same until its
fall begins, with a mixture of one phase at a constant rate what is shown is the same for ever.
"""

from collections.abc import Iterator

from byteproxy.errors import InputError
from byteproxy.mixture.schedule import at
from byteproxy.train.config import TrainConfig
from byteproxy.train.optim import learning_rate


def ensure_same_so_far(then: TrainConfig, now: TrainConfig, done: int) -> None:
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
        for kind, why in _differences(then, now, step):
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
    'A run can be made longer before its decay if it has optim.curve "wsd", optim.warmup_steps, a mixture of one phase '
    "at a constant rate, and no objective.heads_weight_end."
)


def _differences(then: TrainConfig, now: TrainConfig, step: int) -> Iterator[tuple[str, str]]:
    """In what a step (from 0) would have been another one: a kind, and what there is to say of it."""
    optim, steps = then.optim, then.steps
    if learning_rate(optim, step, steps) != learning_rate(optim, step, now.steps):
        if optim.curve == "cosine":
            yield "decay", f"its learning rate has followed a cosine over {steps} steps since step {step + 1}"
        elif step < max(optim.warmup(steps), optim.warmup(now.steps)):
            yield "warm-up", f"the learning rate of step {step + 1}, as its warm-up is a share of all steps"
        else:
            yield "decay", f"its learning rate has been decaying since step {step + 1} of {steps}"
    if at(then.mixture, step, steps) != at(now.mixture, step, now.steps):
        yield "mixture", f"what the mixture shows at step {step + 1}, as its phases are shares of all steps"
    if then.model.byte_heads > 1 or then.model.symbol_heads > 1:
        weights = [one.objective.head_weight(2, step / one.steps) for one in (then, now)]
        if weights[0] != weights[1]:
            yield "heads", f"the weight of heads at step {step + 1}, which moves over all steps"
