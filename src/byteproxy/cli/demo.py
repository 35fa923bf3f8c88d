"""`byteproxy demo`: the recipe `demo` on the standard library of the running Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from byteproxy.cli.output import Json, console, end, print_whole
from byteproxy.errors import InputError

if TYPE_CHECKING:
    from byteproxy.console import Console

MODEL = Path("models/SmolLM2-135M-Instruct.Q4_1.gguf")
"""Where `make demo` puts the model that it fetches."""


def demo(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo"),
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    scratch: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M")] = None,
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
    json: Json = False,
) -> None:
    """Let a model of tokens read and write raw bytes: 9 minutes on 2 idle cores.

    Takes a small model with its tokenizer. Measures what byteproxy's own source, which no model can know, costs it
    through its tokenizer, which is the ceiling, and as raw bytes. Trains it for some minutes on both forms of this
    Python's standard library (about 30 MB), exports what reads and writes bytes without a tokenizer, and measures
    again. Beside it a small model of bytes is trained from scratch on the same text with equal training FLOPs. All of
    them go on with the same prompts, some of them cut inside a word. Ends with a page, report.html.

    With --scratch no model is needed: the same small transformer is trained twice from scratch at equal training
    FLOPs, on raw bytes only and on the paper's mixture of raw and compressed text, and both are scored on raw bytes.

    No network is used: `make demo` fetches the model before. Needs about 6 GB of memory and 5 GB of disk; with
    --scratch 4 GB and 500 MB. Ctrl-C stops it after the step at hand; the same command goes on from there.

    Args:
        out: Folder of the demo: new, empty, or an earlier one. An unfinished one with the same options is continued; a
            finished one, or one with other options, is replaced.
        model: The model that learns bytes: a GGUF file, or a folder as `byteproxy convert` takes it. Without it
            models/SmolLM2-135M-Instruct.Q4_1.gguf, where `make demo` puts it.
        scratch: Begin from scratch, without a model.
        minutes: Training time of both models together. Preparation, measurements and report take some minutes more.
            Without it 6, with --scratch 3.
        seed: Seed of weights, mixture and samples. The same seed, options and machine give the same figures.
        json: End the output with all figures as one JSON object on one line.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.recipes.named import demo_recipe

    terminal = console(json)
    recipe = demo_recipe(minutes, seed, scratch)
    if scratch:
        from byteproxy.corpus.stdlib import read_stdlib
        from byteproxy.demo.from_scratch import run_from_scratch

        if model is not None:
            raise InputError("model is named, and --scratch needs none: leave one of them out")
        results = run_from_scratch(recipe, read_stdlib, out, stage)
        _show_arms(terminal, results)
    else:
        from byteproxy.demo.demo_recipe import Demo
        from byteproxy.demo.with_model import demo_sources, run_with_model

        results = run_with_model(Demo(recipe, _model(model), demo_sources()), out, stage, terminal.say)
        _show_model(terminal, results)
    terminal.say("", f"Report: {results['report']}")
    end(json, results)


def _model(named: Path | None) -> str:
    """The model's place; InputError where none is named and none was fetched."""
    from byteproxy.runs.source_model import named as as_kept

    if named is None and not MODEL.is_file():
        raise InputError(
            f"there is no model {MODEL}: let `make demo` fetch it, name another with --model, or add --scratch for the "
            "demo that needs none"
        )
    return as_kept(str(named or MODEL))


def _show_arms(terminal: "Console", results: Mapping[str, Any]) -> None:
    from byteproxy.demo.table import arms_table

    sample = results["sample"]
    terminal.print()
    print_whole(terminal, arms_table(results))
    terminal.say("", *results["verdict"].split("\n"), "")
    terminal.say(f"The {sample['arm']} arm, from a folder with {', '.join(sample['files'])} only, writes:", "")
    terminal.print(sample["prompt"], style="dim", end="", soft_wrap=True)
    terminal.print(sample["continuation"], soft_wrap=True)


def _show_model(terminal: "Console", results: Mapping[str, Any]) -> None:
    from byteproxy.demo.table import cuts_table, model_table

    terminal.print()
    print_whole(terminal, model_table(results), cuts_table(results))
    terminal.say("", results["verdict"], "")
    terminal.say(f"From a folder with {', '.join(results['conversion']['export']['files'])} only, it writes:", "")
    for sample in results["samples"][:1]:
        terminal.print(sample["prompt"], style="dim", end="", soft_wrap=True)
        terminal.print(sample["after"], soft_wrap=True)
