"""How many steps a run has: of any budget, counted from plans before anything is trained.

Plans are cheap and exact (they need lengths only), so the FLOPs or the text of a run are counted before it starts; as
its schedule is relative to its number of steps, the number is searched for. A run ends within a step of its budget; one
of more than `EXACT_STEPS`, which would take long to plan, near it, by a sample of its steps.
Minutes become FLOPs by a few steps that are thrown away: the run then takes about as long, and stays reproducible.
"""

import gc
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan, State
from byteproxy.progress import Stage, quietly
from byteproxy.store.store import Store
from byteproxy.train import parallel
from byteproxy.train.allocator import keep_freed_memory
from byteproxy.train.compiler import device_of, fastest_dtype
from byteproxy.train.flops import step_flops
from byteproxy.train.memory import ensure_fits
from byteproxy.train.train_config import MAX_STEPS, Start, TrainConfig, steps
from byteproxy.train.trainer import Trainer, stream_of

EXACT_STEPS = 20_000
_SAMPLED_STEPS = 2_000
_MAX_TRIES = 20  # each comes nearer, unless the schedule makes the count jump back and forth
_WARM_UP, _MEASURED = 3, 8
"""Steps that are thrown away and steps that are measured, at most."""
_WARM_UP_SECONDS, _MEASURED_SECONDS = 1.0, 6.0
"""After so long no further one begins: large models take seconds for each, which differ little."""


def resolved(config: TrainConfig, store: Store, stage: Stage = quietly) -> TrainConfig:
    """The same run with its number of steps and its dtype said; of what is measured for that, rank 0's counts.

    Raises InputError where the configuration and the store don't fit together, or the run is too large or too long.
    """
    ensure_fits(config, store.manifest)
    if config.dtype == "auto":
        config = replace(config, dtype=parallel.from_rank_zero(fastest_dtype(config.device)))
    amount, unit = config.length
    if unit == "steps":
        return config
    if unit == "positions":
        return replace(config, stop=steps(ensured_steps(amount / config.shape.positions, config)))
    if unit == "minutes":
        with stage("measure this machine (under a minute, minutes where it is busy)", "steps") as progress:
            progress(0, _WARM_UP + _MEASURED)
            rate = parallel.from_rank_zero(training_rate(config, store))
        amount, unit = rate * amount * 60, "flops"
    if unit == "flops":
        return replace(config, stop=steps(steps_for_flops(amount, config, store)))
    return replace(config, stop=steps(_steps_for(amount, config, store, lambda s, plan: int(s.text_bytes(plan).sum()))))


def steps_for_flops(budget: float, config: TrainConfig, store: Store, fewest: int = 1) -> int:
    """The number of steps whose planned FLOPs come nearest to a budget, and at least `fewest`."""

    def of(stream: Stream, plan: Plan) -> int:
        return step_flops(config.model, config.objective, stream, plan, config.lora)

    return _steps_for(budget, config, store, of, fewest)


def _steps_for(
    budget: float, config: TrainConfig, store: Store, of: Callable[[Stream, Plan], int], fewest: int = 1
) -> int:
    counted: dict[int, float] = {}
    count = max(fewest, 20)
    while count not in counted and len(counted) < _MAX_TRIES:
        stream = stream_of(replace(config, stop=steps(count)), store)
        plans = stream.plans() if count <= EXACT_STEPS else sampled_plans(stream, count, _SAMPLED_STEPS)
        costs = [of(stream, plan) for plan in plans]
        counted[count] = sum(costs) * count / len(costs)
        count = max(fewest, ensured_steps(budget / max(1, counted[count]) * count, config))
    return min((n for n in counted if n >= fewest), key=lambda n: abs(counted[n] - budget))


def sampled_plans(stream: Stream, count: int, sample: int) -> Iterator[Plan]:
    """Plans of so many of a run's steps, evenly spaced, as the mixture changes on the way."""
    first, after = stream.plan(State())
    yield first
    for number in range(1, sample):
        step = number * count // sample
        # As if every step before had drawn as much as the first: another stretch of the corpus each time.
        yield stream.plan(State(step, draw=step * after.draw, drawn=tuple(step * one for one in after.drawn)))[0]


def ensured_steps(count: float, config: TrainConfig) -> int:
    """A number of steps as a whole one, at least 1; InputError where it is more than a run can have."""
    if not count <= MAX_STEPS:
        raise InputError(
            f"stop is {config.stop!r}, which is about {count:.0e} steps: give a length of at most {MAX_STEPS:,} steps"
        )
    return max(1, round(count))


def training_rate(config: TrainConfig, store: Store) -> float:
    """FLOPs per second, by the formula, that this machine trains this configuration at: a few steps, thrown away.

    All of the model moves in them, as it does in most of a run's steps, and freed memory is kept, as in the run.
    """
    if device_of(config.device).type == "cpu":
        keep_freed_memory()
    optim = replace(config.optim, new_rows_share=0.0, new_rows_layers=0)
    config = replace(config, stop=steps(_WARM_UP + _MEASURED), start=Start(), optim=optim, tensorboard=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, store, Path(folder), start_from=lambda model, vocab, start: None)
        _step(trainer, _WARM_UP, _WARM_UP_SECONDS)
        flops, seconds = _step(trainer, _MEASURED, _MEASURED_SECONDS)
    del trainer
    gc.collect()  # its weights and moments are in cycles, and the run's own come next
    return flops / seconds


def _step(trainer: Trainer, most: int, seconds: float) -> tuple[float, float]:
    """Take a step or more, none after so many seconds on any rank; gives their FLOPs, and the seconds they took."""
    before = replace(trainer.counters)
    for _ in range(most):
        trainer.step()
        if parallel.any_rank(trainer.counters.seconds - before.seconds >= seconds):
            break
    return trainer.counters.flops - before.flops, trainer.counters.seconds - before.seconds
