"""`byteproxy demo`: the recipe `demo` on the standard library of the running Python."""

from pathlib import Path
from typing import Annotated

import tyro

from byteproxy.cli.output import Json, console, end


def demo(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/demo"),
    minutes: Annotated[float, tyro.conf.arg(metavar="M")] = 6.0,
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
    json: Json = False,
) -> None:
    """Run the whole pipeline, small: from source files to a model that reads raw bytes.

    Takes the source files of this Python's standard library (about 30 MB), keeps whole projects apart as held-out
    text, trains a BPE view of 4,096 symbols, and prepares the corpus. Then trains the same small transformer twice at
    equal training FLOPs: on raw bytes only, and on the paper's mixture of raw and compressed text. Scores both on raw
    bytes of code that neither has seen, lets the second write a continuation byte by byte without any compressor, and
    writes report.html. No network is used. Needs about 500 MB of disk and under 4 GB of memory.

    Ctrl-C stops it after the step at hand; the same command goes on from there.

    Args:
        out: Folder of the run: new, empty, or an earlier run. An unfinished one with the same options is continued;
            a finished one, or one with other options, is replaced.
        minutes: Training time of both arms together. Preparation, scoring and report take about 2 minutes more.
        seed: Seed of weights, mixture and sample. The same seed, options and machine give the same figures.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.corpus.stdlib import read_stdlib
    from byteproxy.demo.run_demo import run_demo
    from byteproxy.demo.table import arms_table
    from byteproxy.recipes.named import demo_recipe

    results = run_demo(demo_recipe(minutes, seed), read_stdlib, out, stage)
    terminal, sample = console(json), results["sample"]
    terminal.print()
    terminal.print(arms_table(results), soft_wrap=True)
    terminal.say("", *results["verdict"].split("\n"), "")
    terminal.say(f"The {sample['arm']} arm, from a folder with {', '.join(sample['files'])} only, writes:", "")
    terminal.print(sample["prompt"], style="dim", end="", soft_wrap=True)
    terminal.print(sample["continuation"], soft_wrap=True)
    terminal.say("", f"Report: {results['report']}")
    end(json, results)
