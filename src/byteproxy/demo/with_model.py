"""The demo with a model of tokens: it learns raw bytes, and a small model of bytes begins from scratch beside it.

The folder:

    demo.toml     what was asked for            arms/bytes/    the run from scratch, see `train`
    budget.json   FLOPs of each of both         model/         a link to convert/model, the byte model
    convert/      the conversion, see           results.json   all figures
                  `convert.conversion_folder`   report.html

The minutes are divided so that both get the same training FLOPs: a few steps of each, thrown away, say how fast this
machine is at them. Both learn from the same text and are measured on the same held-out text in the same windows. What
isn't equal: parameters, wall time, how much text is seen, and what the model of tokens had learned before.

Every stage finds what is already there, so a stopped demo goes on where it was.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import byteproxy
from byteproxy.checksummed import read_checksummed, write_checksummed
from byteproxy.convert import conversion_folder
from byteproxy.convert.before_and_after import written_as_bytes
from byteproxy.convert.conversion import STDLIB, Conversion
from byteproxy.convert.cut_prompts import counted
from byteproxy.convert.run_conversion import Tell, run_conversion, say_nothing
from byteproxy.demo.arm import MIN_STEPS, ScoredText, arm_config, arm_figures, trained_arm, with_flops
from byteproxy.demo.demo_folder import ARMS, BUDGET, CONVERSION, MODEL, claimed, finish
from byteproxy.demo.demo_recipe import Demo, DemoRecipe
from byteproxy.demo.demo_verdict import model_verdict
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.progress import Stage, quietly
from byteproxy.report.model_demo_page import write_model_demo_page
from byteproxy.store.store import Store
from byteproxy.train.budget import steps_for_flops, training_rate
from byteproxy.train.train_config import TrainConfig, steps

OWN = "byteproxy"
"""Name of the source that is our own code, and of its only project."""
SIDES = ("before", "after", "scratch")
"""Who goes on with a prompt: the model as it was, by tokens; the same as bytes; the one from scratch."""


def demo_sources() -> tuple[str, ...]:
    """The standard library to learn from, and byteproxy's own code, which recipes hold out: no model can know it."""
    return STDLIB, f"{Path(byteproxy.__file__).parent}:name={OWN},languages=python,depth=0"


def run_with_model(demo: Demo, out: Path, stage: Stage = quietly, tell: Tell = say_nothing) -> dict[str, Any]:
    """Run the demo with a model, or go on with it, and return its results, which can be written as JSON.

    tell: takes sentences for people.
    Raises InputError for what a user can mend, KeyboardInterrupt after saving if asked to stop.
    """
    begin = time.perf_counter()
    recipe = demo.recipe
    with claimed(out, demo) as going_on:

        def length(config: TrainConfig, store: Store) -> str:
            flops = _budget(recipe, config, store, out, stage)
            return steps(steps_for_flops(flops, config, store, MIN_STEPS))

        conversion = Conversion(demo.model, demo.sources, recipe.convert)
        converted = run_conversion(conversion, out / CONVERSION, stage=stage, tell=tell, length=length)
        _link(out)
        scratch = _from_scratch(recipe, converted, out, stage)
        cuts = [
            {**cut, "scratch": written}
            for cut, written in zip(converted["cuts"]["written"], scratch.pop("cuts"), strict=True)
        ]
        samples = [
            {**sample, "scratch": written}
            for sample, written in zip(converted["samples"], scratch.pop("samples"), strict=True)
        ]
        results = {
            "byteproxy": byteproxy.__version__,
            "machine": converted["machine"],
            "seed": recipe.seed,
            "minutes": recipe.minutes,
            "held_out": recipe.held_out,
            "convert": _summary(converted, scratch),
            "conversion": converted,
            "scratch": scratch,
            "samples": samples,
            "cuts": {**counted(cuts, SIDES), "written": cuts},
        }
        results["verdict"] = model_verdict(results)
        return finish(results, out, begin, going_on, write_model_demo_page)


def _budget(recipe: DemoRecipe, config: TrainConfig, store: Store, out: Path, stage: Stage) -> float:
    """The FLOPs of each, with which both together take the minutes; measured once. config: of the conversion's run."""
    known = read_checksummed(out / BUDGET)
    if known is None:
        beside = arm_config(recipe, recipe.arms[recipe.beside], "", config.dtype)
        with stage("measure this machine (under a minute, minutes where it is busy)", "models") as progress:
            seconds_per_flop = 0.0
            for done, one in enumerate((config, beside), 1):
                seconds_per_flop += 1 / training_rate(one, store)
                progress(done, 2)
        known = {"flops": recipe.minutes * 60 / seconds_per_flop}
        write_checksummed(out / BUDGET, known)
    flops: float = known["flops"]
    return flops


def _link(out: Path) -> None:
    """Let the byte model be where the demo without a model leaves its own."""
    link = out / MODEL
    if not link.is_symlink():
        link.symlink_to(Path(CONVERSION) / conversion_folder.MODEL)


def _from_scratch(recipe: DemoRecipe, converted: Mapping[str, Any], out: Path, stage: Stage) -> dict[str, Any]:
    """The arm beside the model: its figures, and what it writes; trained on the same text with as many FLOPs."""
    store = Store.open(out / CONVERSION / conversion_folder.CORPUS)
    asked, window = recipe.convert.run.validation, converted["validation"]["window"]
    texts = held_out_texts(store, "validation", asked.bytes, asked.document_bytes)
    scored = ScoredText(texts, window, converted["validation"]["stride"])
    config = arm_config(recipe, recipe.arms[recipe.beside], "", converted["machine"]["dtype"])
    config = with_flops(config, store, converted["cost"]["flops"], recipe.scoring.evaluations)
    trainer = trained_arm(config, store, out / ARMS / recipe.beside, scored, stage)
    figures = arm_figures(trainer, scored.score(trainer.model).bpb)
    written = written_as_bytes(trainer.folder, recipe.convert.samples, converted["cuts"]["written"], stage)
    return {**figures, "context": recipe.shape.context_bytes, **written._asdict()}


def _summary(converted: Mapping[str, Any], scratch: Mapping[str, Any]) -> dict[str, Any]:
    """What came out, in a few figures."""
    cost = converted["cost"]
    return {
        "raw_bpb_before": converted["before"]["raw_bpb"],
        "raw_bpb_after": converted["after"]["raw_bpb"],
        "token_bpb": converted["before"]["token_bpb"],
        "token_bpb_after": converted["after"]["token_bpb"],
        "scratch_raw_bpb": scratch["raw_bpb"],
        **{f"{side}flops": one["flops"] for side, one in (("", cost), ("scratch_", scratch))},
        **{f"{side}seconds": one["seconds"] for side, one in (("", cost), ("scratch_", scratch))},
        **{f"{side}positions": one["positions"] for side, one in (("", cost), ("scratch_", scratch))},
    }
