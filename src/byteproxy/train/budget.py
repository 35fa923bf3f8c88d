"""How many steps a run has: of any budget, counted from plans before anything is trained.

Plans are cheap and exact (they need lengths only), so the FLOPs or the text of a run are counted before it starts; as
its schedule is relative to its number of steps, the number is searched for. A run ends within a step of its budget.
Minutes become FLOPs by a few steps that are thrown away: the run then takes about as long, and stays reproducible.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from byteproxy.mixture.loader import Stream
from byteproxy.mixture.planner import Plan
from byteproxy.progress import Stage, quietly
from byteproxy.store.store import Store
from byteproxy.train import parallel
from byteproxy.train.compiler import fastest_dtype
from byteproxy.train.config import TrainConfig, steps
from byteproxy.train.flops import step_flops
from byteproxy.train.trainer import Trainer, stream_of

_WARM_UP, _MEASURED = 3, 8


def resolved(config: TrainConfig, store: Store, stage: Stage = quietly) -> TrainConfig:
    """The same run with its number of steps and its dtype said; of what is measured for that, rank 0's counts.

    Raises InputError where the configuration and the store don't fit together.
    """
    if config.dtype == "auto":
        config = replace(config, dtype=parallel.from_rank_zero(fastest_dtype(config.device)))
    amount, unit = config.length
    if unit == "steps":
        return config
    if unit == "positions":
        return replace(config, stop=steps(max(1, round(amount / config.shape.positions))))
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
        return step_flops(config.model, config.objective, stream, plan)

    return _steps_for(budget, config, store, of, fewest)


def _steps_for(
    budget: float, config: TrainConfig, store: Store, of: Callable[[Stream, Plan], int], fewest: int = 1
) -> int:
    counted: dict[int, int] = {}
    count = max(fewest, 20)
    while count not in counted:
        stream = stream_of(replace(config, stop=steps(count)), store)
        counted[count] = sum(of(stream, plan) for plan in stream.plans())
        count = max(fewest, round(budget * count / max(1, counted[count])))
    return min((n for n in counted if n >= fewest), key=lambda n: abs(counted[n] - budget))


def training_rate(config: TrainConfig, store: Store) -> float:
    """FLOPs per second, by the formula, that this machine trains this configuration at: a few steps, thrown away."""
    config = replace(config, stop=steps(_WARM_UP + _MEASURED), tensorboard=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, store, Path(folder))
        for _ in range(_WARM_UP):
            trainer.step()
        before = replace(trainer.counters)
        for _ in range(_MEASURED):
            trainer.step()
        return (trainer.counters.flops - before.flops) / (trainer.counters.seconds - before.seconds)
