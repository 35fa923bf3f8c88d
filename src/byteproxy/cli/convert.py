"""`byteproxy convert`: a model that exists learns to read and write raw bytes.

A recipe's own numbers are the defaults of its options, so `--recipe` is looked for before the options are read. What is
heavy to import is imported where it is needed.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from byteproxy.cli.output import Json, console, end

if TYPE_CHECKING:
    from byteproxy.convert.conversion import Conversion, ConvertRecipe

_PROG = "byteproxy convert"
_HELP = ("-h", "--help", "--help-all")
_ABOUT = """Let a model that exists learn to read and write raw bytes, and keep its architecture:

  byteproxy convert models/llama --out runs/bytes --plan
                                 load nothing: steps, time, memory, disk
  byteproxy convert models/llama --out runs/bytes
                                 ten minutes; leaves runs/bytes/model and a report
  byteproxy convert models/llama --out runs/bytes ~/code
                                 learn from a folder's text beside the standard library's
  byteproxy convert hf:ORG/NAME --out runs/bytes --minutes 60
                                 a model on the Hugging Face Hub (byteproxy[hub])
  byteproxy generate runs/bytes/model --prompt "def main("
                                 what comes out reads and writes bytes, here and in transformers, vLLM and llama.cpp

MODEL is a published model with its tokenizer, a Llama, Mistral, Qwen2 or Qwen3: a folder with config.json, safetensors
and tokenizer.json, or a GGUF file. Its tokenizer becomes a view of the text. In a short joint phase the model is shown
some passages as its own tokens and most as raw bytes, so that it reads bytes by what it knows from tokens; then the
tokenizer is thrown away. Before, meanwhile and afterwards both are measured on held-out text: what raw bytes cost, and
what its own tokens cost, which is the ceiling.

Ctrl-C or kill -9 at any moment: the same command goes on. DIR/run is a run like any other (byteproxy report DIR/run).
The numbers of the joint phase are those of the recipe `convert`; --help-all has all of them as options."""


class Asked(NamedTuple):
    """The request of a command line."""

    conversion: "Conversion"
    out: Path
    gguf: bool
    plan: bool
    rate: float | None
    json: bool


def command(arguments: Sequence[str]) -> None:
    """Run `byteproxy convert` with what follows these words."""
    asked = _asked(arguments)
    if asked.plan:
        _plan(asked)
    else:
        _convert(asked)


def _asked(arguments: Sequence[str]) -> Asked:
    from byteproxy.cli.arguments import help_of, parsed
    from byteproxy.cli.overrides import build, fields_told, registry
    from byteproxy.convert.conversion import Conversion, sources_of, with_length
    from byteproxy.recipes.named import convert_recipe

    recipe = convert_recipe(_value(arguments, "--recipe"))
    reader = _reader(recipe)
    if "--help-all" in arguments:
        sys.stdout.write(help_of(reader, _PROG, _ABOUT, registry()))
        sys.exit(0)
    if any(one in _HELP for one in arguments):
        sys.stdout.write(help_of(reader, _PROG, _ABOUT, None, "known") + fields_told(recipe, _PROG))
        sys.exit(0)
    from byteproxy.runs.source_model import named  # imports torch, which help can do without

    values = parsed(reader, _PROG, arguments, registry=registry())()
    known = with_length(build(values["known"]), values["minutes"], values["positions"])
    conversion = Conversion(named(values["model"]), sources_of(values["sources"], values["stdlib"]), known)
    return Asked(conversion, values["out"], values["gguf"], values["plan"], values["rate"], values["json"])


def _value(arguments: Sequence[str], option: str) -> str:
    """What an option is given, "" if it isn't there."""
    for at, word in enumerate(arguments):
        name, sign, value = word.partition("=")
        if name == option:
            return value if sign else next(iter(arguments[at + 1 : at + 2]), "")
    return ""


def _reader(recipe: "ConvertRecipe") -> Callable[..., dict[str, Any]]:
    """What takes the options of a conversion whose numbers are these unless others are given."""
    from byteproxy.convert.conversion import ConvertRecipe

    def read(
        model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
        out: Annotated[Path, tyro.conf.arg(metavar="DIR")],
        sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[SOURCE ...]")] = (),
        minutes: Annotated[float | None, tyro.conf.arg(metavar="M")] = None,
        positions: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
        no_stdlib: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        gguf: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        plan: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        rate: Annotated[float | None, tyro.conf.arg(metavar="FLOPS")] = None,
        recipe: Annotated[str, tyro.conf.arg(metavar="FILE")] = "convert",
        known: Annotated[ConvertRecipe, tyro.conf.arg(name="")] = recipe,
        json: Json = False,
    ) -> dict[str, Any]:
        """Read.

        Args:
            model: Folder of a published model with its tokenizer.json, a GGUF file, hf:ORG/NAME, or
                hf:ORG/NAME/FILE.gguf.
            out: Folder of the conversion: new, empty, or this very conversion, which then goes on.
            sources: Text to learn from beside the standard library, as `byteproxy prepare` takes it.
            minutes: Training time, about; evaluations and preparation come on top. Without it and without positions
                as the recipe says: 10 minutes.
            positions: Length of the training in positions (a byte or a token each), in place of a time.
            no_stdlib: Leave the source files of this Python's standard library out.
            gguf: Export model.gguf for llama.cpp, too.
            plan: Load and write nothing; print what the conversion would take.
            rate: With --plan: FLOPs per second that training reaches. Without it this machine is measured.
            recipe: Recipe of the joint phase: convert, or a TOML file with the same fields.
            known: The recipe's fields.
            json: End the output with all figures as one JSON object on one line.
        """
        return {
            **{"model": model, "out": out, "sources": sources, "stdlib": not no_stdlib},
            **{"minutes": minutes, "positions": positions, "known": known},
            **{"gguf": gguf, "plan": plan, "rate": rate, "json": json},
        }

    return read


def _plan(asked: Asked) -> None:
    from byteproxy.cli.convert_tables import plan_table
    from byteproxy.convert.conversion_plan import plan_conversion
    from byteproxy.runs.source_model import find

    conversion, terminal = asked.conversion, console(asked.json)
    with TemporaryDirectory() as folder:
        model = find(conversion.model, plan_into=Path(folder)).described
    plan = plan_conversion(conversion.recipe, model, conversion.sources, asked.gguf, asked.rate)
    terminal.print(plan_table(plan))
    for what in plan.run.assumed:
        terminal.say(f"Assumed: {what}.")
    if plan.short:
        terminal.say(f"Not enough here: it {plan.short}.")
    end(asked.json, {**asdict(plan), "sources": list(conversion.sources), "recipe": asdict(conversion.recipe)})


def _convert(asked: Asked) -> None:
    from byteproxy.cli.convert_tables import result_table
    from byteproxy.cli.progress import stage
    from byteproxy.convert.run_conversion import run_conversion
    from byteproxy.errors import InputError

    if asked.rate is not None:
        raise InputError("rate is for --plan only: leave it out, or add --plan")
    terminal = console(asked.json)
    results = run_conversion(asked.conversion, asked.out, asked.gguf, stage, terminal.say)
    terminal.print(result_table(results))
    for sample in results["samples"][:1]:
        terminal.say("It writes, byte by byte:", "")
        terminal.print(sample["prompt"], style="dim", end="", soft_wrap=True)
        terminal.print(sample["after"], soft_wrap=True)
    terminal.say("", f"Model: {results['export']['folder']}", f"Report: {results['report']}")
    end(asked.json, results)
