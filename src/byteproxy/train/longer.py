"""Whether a run that has taken some steps may get another length.

It may if all its steps so far were those of a run that had the new length from the start. Several settings are relative
to the number of steps, so each is computed for both lengths and compared, step by step: the learning rate, what the
mixture shows, and the weights of heads. With the curve "wsd" and `optim.warmup_steps` the rate is the same until its
fall begins, with a mixture of one phase at a constant rate what is shown is the same for ever.
"""

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
    for step in range(done):
        if (why := _difference(then, now, step)) is not None:
            raise InputError(f"the run can't go on to {now.stop}: {why}")


def _difference(then: TrainConfig, now: TrainConfig, step: int) -> str | None:
    """Why a step (from 0) would have been another one; None if it would not."""
    optim, steps = then.optim, then.steps
    if learning_rate(optim, step, steps) != learning_rate(optim, step, now.steps):
        if optim.curve == "cosine":
            return (
                f"its learning rate has followed a cosine over {steps} steps since step {step + 1}; begin a new run of "
                'that length, with optim.curve "wsd" and optim.warmup_steps if it may become longer still'
            )
        if step < max(optim.warmup(steps), optim.warmup(now.steps)) and optim.warmup_steps is None:
            return (
                f"step {step + 1} would have had another learning rate, as its warm-up is a share of all steps; begin "
                "a new run of that length, with optim.warmup_steps in place of optim.warmup_share if it may become "
                "longer still"
            )
        return (
            f"its learning rate has been falling since step {step + 1} of {steps}; go on from a checkpoint of before "
            f"that step, if one is kept, by moving the later ones away, or begin a new run of that length"
        )
    if at(then.mixture, step, steps) != at(now.mixture, step, now.steps):
        return (
            f"the mixture would have shown something else at step {step + 1}, as its phases are shares of all steps; "
            "begin a new run of that length (a mixture of one phase with a constant rate can be made longer)"
        )
    if then.model.byte_heads > 1 or then.model.symbol_heads > 1:
        weights = [one.objective.head_weight(2, step / one.steps) for one in (then, now)]
        if weights[0] != weights[1]:
            return (
                f"objective.heads_weight goes to objective.heads_weight_end over all steps, so that step {step + 1} "
                "would have weighed otherwise; begin a new run of that length"
            )
    return None
