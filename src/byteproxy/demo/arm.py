"""An arm of a demo: a small model from scratch, trained in a folder of its own and scored on text that it never saw."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.checksummed import read_checksummed
from byteproxy.demo.demo_recipe import DemoRecipe
from byteproxy.generate.score import Scored, score
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.network import Transformer
from byteproxy.progress import Progress, Stage, silent
from byteproxy.runs.lineage import remember_lineage
from byteproxy.store.store import Store
from byteproxy.train.budget import steps_for_flops
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.run_config import METRICS
from byteproxy.train.train_config import TrainConfig, steps
from byteproxy.train.trainer import Trainer

MIN_STEPS = 8
"""Of an arm, however small the budget is."""
_APART = 4
"""Steps between two evaluations on the validation split, at least."""


class ScoredText(NamedTuple):
    """Text, and the windows that it is scored in, in bytes."""

    texts: list[bytes]
    window: int
    stride: int

    def score(self, model: Transformer, progress: Progress = silent) -> Scored:
        """What raw bytes of the text cost; progress counts bytes."""
        return score(model, self.texts, self.window, self.stride, progress=progress)


def arm_config(recipe: DemoRecipe, mixture: Mixture, view: str, dtype: str) -> TrainConfig:
    """The run of an arm, without its length."""
    return TrainConfig(
        seed=recipe.seed,
        views=(view,) if mixture.needs_view else (),
        dtype=dtype,
        model=recipe.model,
        mixture=mixture,
        shape=recipe.shape,
        optim=recipe.optim,
    )


def with_flops(config: TrainConfig, store: Store, flops: float, evaluations: int) -> TrainConfig:
    """The run with as many steps as bring it to so many FLOPs, evaluated about so often, the last time at its end."""
    count = steps_for_flops(flops, config, store, MIN_STEPS)
    return replace(config, stop=steps(count), validate_every=max(_APART, -(-count // evaluations)))


def trained_arm(config: TrainConfig, store: Store, folder: Path, curve_text: ScoredText, stage: Stage) -> Trainer:
    """An arm that is trained; its curve is of that text."""
    trainer = Trainer(config, store, folder)
    remember_lineage(trainer.folder, config, store)

    def validate(model: Transformer) -> dict[str, float]:
        return {"raw_bpb": curve_text.score(model).bpb}

    with stage(f"train {folder.name}", "steps") as progress:
        trainer.run(validate, progress, stage)
    return trainer


def arm_figures(trainer: Trainer, raw_bpb: float) -> dict[str, Any]:
    """What an arm took, and what came of it."""
    counters = trainer.counters
    lines = read_metrics(trainer.folder / METRICS)
    return {
        "raw_bpb": raw_bpb,
        **counters.seen(),
        "steps": trainer.config.steps,
        "loading_share": counters.loading_seconds / counters.seconds,
        "compressed_share": {
            "asked": counters.asked_rate / trainer.config.steps,
            **counters.compressed_share(),
        },
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "curve": [line for line in lines if "loss" in line],
        "validation": [line for line in lines if "raw_bpb" in line],
    }


def noted(path: Path) -> dict[str, Any]:
    """What an earlier stage noted; whoever holds the folder has looked that it isn't damaged."""
    found = read_checksummed(path)
    assert found is not None, "it was written before"
    return found
