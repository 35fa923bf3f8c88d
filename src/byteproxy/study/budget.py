"""Equal compute: how many steps of each arm come nearest to one number of training FLOPs.

Plans are cheap and exact (they need lengths only), so the FLOPs of a whole run are counted before it starts; as its
schedule is relative to its number of steps, the number is searched for. An arm ends within a step of the budget.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from byteproxy.mixture.loader import Stream
from byteproxy.model.config import ModelConfig
from byteproxy.store.store import Store
from byteproxy.train.flops import plan_flops
from byteproxy.train.trainer import TrainConfig, Trainer

FEWEST_STEPS = 20
_WARM_UP, _MEASURED = 3, 8


def steps_within(budget: float, stream_of: Callable[[int], Stream], model: ModelConfig) -> int:
    """The number of steps whose planned FLOPs come nearest to a budget, and at least `FEWEST_STEPS`.

    stream_of: the arm's stream for a given number of steps.
    """
    flops: dict[int, int] = {}
    steps = FEWEST_STEPS
    while steps not in flops:
        stream = stream_of(steps)
        flops[steps] = sum(plan_flops(model, stream.vocab, plan) for plan in stream.plans())
        steps = max(FEWEST_STEPS, round(budget * steps / flops[steps]))
    return min(flops, key=lambda n: abs(flops[n] - budget))


def training_rate(config: TrainConfig, store: Store) -> float:
    """FLOPs per second, by the formula, that this machine trains this configuration at: a few steps, thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(replace(config, steps=_WARM_UP + _MEASURED), store, Path(folder))
        for _ in range(_WARM_UP):
            trainer.step()
        before = replace(trainer.counters)
        for _ in range(_MEASURED):
            trainer.step()
        return (trainer.counters.flops - before.flops) / (trainer.counters.seconds - before.seconds)
