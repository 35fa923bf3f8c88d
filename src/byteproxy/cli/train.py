"""`byteproxy train`: one run from a recipe, on one process or on those that torchrun started.

A recipe's own numbers are the defaults of its options, so it has to be known before the options are read: `main` hands
over all that follows the word train, and the recipe stands in front of them. What is heavy to import is imported where
it is needed.
"""

import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import tyro

from byteproxy.cli.output import Json, console, end
from byteproxy.console import say
from byteproxy.errors import InputError

if TYPE_CHECKING:
    from byteproxy.train.run_plan import Cluster
    from byteproxy.train.train_config import TrainConfig
    from byteproxy.training import Resume

RUNS = Path("runs")
_PROG = "byteproxy train"
_HELP = ("-h", "--help", "--help-all")
_ABOUT = """Train a model: a recipe, and your values in place of its own:

  byteproxy train 3m                                      train it; leaves runs/3m with a report
  byteproxy train 3m --model.width 320 --model.heads 5 --stop "10 minutes" --out runs/wide
  byteproxy train --plan 3m                               train nothing: parameters, memory, FLOPs, text, time
  byteproxy train --plan 14b --ranks 64 --gpu h100-80gb   the same for machines that needn't be there
  byteproxy train --resume runs/3m                        go on with a run, after Ctrl-C or a crash
  byteproxy train --resume runs/3m --stop "8000 steps"    make it longer, where that changes no step so far
  byteproxy train --resume runs/3m --help                 what else can be given when a run goes on
  byteproxy train 3m --resume-if-exists                   start it, or go on with it
  byteproxy train convert --from PATH --corpus DIR        let a Llama, Mistral or Qwen, with its tokenizer, learn bytes
  torchrun --nproc-per-node 2 -m byteproxy.cli.main train 3m

Recipes that come with byteproxy:
{recipes}
A TOML file with the same fields is a recipe too; lists of phases can be given there only."""


class Asked(NamedTuple):
    """The request of a command line; resume: as `training.train` takes it."""

    config: "TrainConfig"
    out: Path
    plan: bool
    rate: float | None
    json: bool
    resume: "Resume" = "no"
    cluster: "Cluster | None" = None


def command(arguments: Sequence[str]) -> None:
    """Run `byteproxy train` with what follows these words; exits with 130 if it was stopped."""
    try:
        asked = _resumed(arguments) if _names(arguments, "--resume") else _asked(arguments)
        if asked.plan:
            _plan(asked)
            return
        try:
            _train(asked)
        except KeyboardInterrupt as stop:
            if _rank() == 0:
                say(f"byteproxy: {_how_to_go_on(str(stop), asked)}")
            sys.exit(130)
    except InputError as error:
        if not getattr(error, "speaks", True):  # another process says the same
            sys.exit(2)
        if _rank() == 0 or hasattr(error, "speaks"):
            raise
        # Rank 0 mostly has the same to say; torchrun then ends this process while it waits.
        time.sleep(3)
        raise InputError(f"process {_rank()}: {error}") from error


def _asked(arguments: Sequence[str]) -> Asked:
    """The run of a recipe and what is to differ from it."""
    from byteproxy.cli.arguments import help_of, parsed, without_values
    from byteproxy.cli.overrides import build, fields_told, registry
    from byteproxy.recipes.named import run_named, run_recipes
    from byteproxy.train.train_config import Start, TrainConfig

    found = run_recipes()
    wide = max(map(len, found)) + 2
    lines = "".join(f"  {name:<{wide}}{about}\n" for name, about in found.items())
    about = _ABOUT.format(recipes=lines)
    # The recipe may stand anywhere, and its numbers are the defaults of the options: they are read twice. Which phases
    # there are is for the recipe to say.
    asked = [one for one in arguments if one not in _HELP]
    name = parsed(_reader(TrainConfig()), _PROG, without_values(asked, r"--mixture\.phases\."), registry=registry())()[
        0
    ]
    reader = _reader(run_named(name), RUNS / Path(name).name.removesuffix(".toml")) if name else _reader(TrainConfig())
    if "--help-all" in arguments:
        sys.stdout.write(help_of(reader, _PROG, about, registry()))
        sys.exit(0)
    if len(asked) < len(arguments):
        sys.stdout.write(help_of(reader, _PROG, about, None, "run") + fields_told(TrainConfig(), _PROG))
        sys.exit(0)
    if not name:
        raise InputError(f"no recipe is named: give one of {', '.join(run_recipes())}, or a TOML file")
    _, run, out, plan, rate, gpu, ranks, utilization, start, goes_on, json = parsed(
        reader, _PROG, arguments, registry=registry()
    )()
    if rate is not None and not (plan and 0 < rate < float("inf")):
        raise InputError(f"rate is {rate}: give a positive number of FLOPs per second, with --plan only")
    cluster = _cluster(plan, rate, gpu, ranks, utilization)
    config = build(run)
    if start is not None:
        from byteproxy.runs.model_folder import tokenizer_of

        tokenizer_of(start)  # what leads nowhere is refused before torch is imported
        config = replace(config, start=Start(str(start), byte_rows=config.start.byte_rows))
    return Asked(config, out, plan, rate, json, "if_exists" if goes_on else "no", cluster)


def _cluster(
    plan: bool, rate: float | None, gpu: str, ranks: int | None, utilization: float | None
) -> "Cluster | None":
    """The cards that a run is to be planned for, if any are named."""
    if not gpu:
        for name, value in (("ranks", ranks), ("utilization", utilization)):
            if value is not None:
                raise InputError(f"{name} is {value}, and no card is named: give --gpu as well, with --plan")
        return None
    from byteproxy.train.cards import card_named

    card = card_named(gpu)
    if not plan or rate is not None:
        raise InputError(f"gpu is {gpu!r}: give it with --plan, and without --rate")
    if utilization is not None and not 0 < utilization <= 1:
        raise InputError(f"utilization is {utilization}: give a share of the cards' peak, above 0 and at most 1")
    from byteproxy.train.run_plan import CARD_UTILIZATION, Cluster

    return Cluster(card, 1 if ranks is None else ranks, CARD_UTILIZATION if utilization is None else utilization)


def _reader(known: "TrainConfig", place: Path = RUNS / "RECIPE") -> Callable[..., tuple[Any, ...]]:
    """What takes the options of a run whose numbers are these unless others are given."""
    from byteproxy.train.train_config import TrainConfig

    def read(
        recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")] = "",
        run: Annotated[TrainConfig, tyro.conf.arg(name="")] = known,
        out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = place,
        plan: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        rate: Annotated[float | None, tyro.conf.arg(metavar="FLOPS")] = None,
        gpu: Annotated[str, tyro.conf.arg(metavar="CARD")] = "",
        ranks: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None,
        utilization: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None,
        start: Annotated[Path | None, tyro.conf.arg(name="from", metavar="DIR")] = None,
        resume_if_exists: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        json: Json = False,
    ) -> tuple[Any, ...]:
        """Read.

        Args:
            recipe: Name of a recipe that comes with byteproxy, or a TOML file.
            run: What a run is.
            out: Folder of the run: new or empty, or of this very run.
            plan: Train nothing; print what the run would cost.
            rate: With --plan: FLOPs per second that training reaches. Without it this machine is measured.
            gpu: With --plan: cards in place of this machine, such as h100-80gb; x lists them.
            ranks: With --gpu: how many cards share the model.
            utilization: With --gpu: share of their peak that is reached; 0.4.
            start: Folder or GGUF file of a model to begin with; the corpus needs its tokenizer as a view.
            resume_if_exists: Go on with the run if the folder holds it (for torchrun --max-restarts, and queues).
        """
        return recipe, run, out, plan, rate, gpu, ranks, utilization, start, resume_if_exists, json

    return read


def _resumed(arguments: Sequence[str]) -> Asked:
    """A run in its folder, with what may change when it goes on."""
    from byteproxy.cli.arguments import parsed
    from byteproxy.cli.overrides import build, registry
    from byteproxy.train.identity import MAY_CHANGE
    from byteproxy.train.run_config import read_run_config
    from byteproxy.train.train_config import TrainConfig

    named = _value(arguments, "--resume")
    if not named or named.startswith("-"):
        raise InputError("--resume is given without a value: name the folder of a run, such as runs/3m, behind it")
    folder = Path(named)
    known = read_run_config(folder)
    may_change = ("stop", *MAY_CHANGE)
    _ensure_nothing_decides(arguments, folder, may_change)

    def read(
        resume: Annotated[Path, tyro.conf.arg(metavar="RUN")],
        run: Annotated[TrainConfig, tyro.conf.arg(name="")] = known,
        start: Annotated[Path | None, tyro.conf.arg(name="from", metavar="DIR")] = None,
        json: Json = False,
    ) -> tuple[Any, Path | None, bool]:
        """Go on with a run from its newest checkpoint, on any number of processes, and stay the same run.

        A longer --stop, such as "4000 steps", makes it longer. It is refused, with the reason, if a step that was
        already taken would have been different.

        Args:
            resume: Folder of the run.
            run: What may change.
            start: Where the model that the run began with is now. It is read only as long as there is no checkpoint.
        """
        return run, start, json

    run, start, json = parsed(read, _PROG, arguments, registry=registry({TrainConfig: may_change}))()
    config = replace(known, **{name: build(value) for name, value in run.values.items()})
    if start is not None:
        if not known.start.path:
            raise InputError(f"{folder} began with no model, so --from has nothing to say: leave it out")
        config = replace(config, start=replace(known.start, path=str(start)))
    return Asked(config, folder, False, None, json, "yes")


def _ensure_nothing_decides(arguments: Sequence[str], folder: Path, may_change: Sequence[str]) -> None:
    """InputError where an option of a run that goes on would decide its weights."""
    from byteproxy.train.train_config import TrainConfig

    deciding = {field.name for field in fields(TrainConfig)} - set(may_change)
    for one in arguments:
        name = one.removeprefix("--").partition("=")[0].replace("-", "_")
        top = name.removeprefix("no_").partition(".")[0]
        if one.startswith("--") and top in deciding:
            raise InputError(
                f"{name} decides the weights, so {folder} can't go on with another: leave it out, or begin a new run"
            )


def _names(arguments: Sequence[str], option: str) -> bool:
    return any(one == option or one.startswith(f"{option}=") for one in arguments)


def _value(arguments: Sequence[str], option: str) -> str:
    """What follows an option, or its equals sign; "" if nothing does."""
    at = next(at for at, one in enumerate(arguments) if one == option or one.startswith(f"{option}="))
    _, sign, value = arguments[at].partition("=")
    return value if sign else next(iter(arguments[at + 1 : at + 2]), "")


def _rank() -> int:
    """This process's number among those of torchrun, even where it could not join the others."""
    rank = os.environ.get("RANK", "0")
    return int(rank) if rank.isdigit() else 0


def _plan(asked: Asked) -> None:
    from byteproxy.cli.plan_table import plan_table
    from byteproxy.store.format import MANIFEST
    from byteproxy.store.store import Store
    from byteproxy.train.run_plan import plan_run

    config, terminal = asked.config, console(asked.json)
    store = None
    if config.corpus and (Path(config.corpus) / MANIFEST).is_file():
        from byteproxy.runs.start import fitted

        store = Store.open(Path(config.corpus))
        config = fitted(config, store, terminal.say)
    plan = plan_run(config, store, asked.rate, cluster=asked.cluster)
    corpus = None if store is None else config.corpus
    terminal.print(plan_table(plan))
    if store is None:
        terminal.say(f"There is no corpus in {config.corpus} yet." if config.corpus else "No corpus is named.")
    for what in plan.assumed:
        terminal.say(f"Assumed: {what}.")
    end(asked.json, {**asdict(plan), "corpus": corpus, "config": asdict(config)})


def _train(asked: Asked) -> None:
    from byteproxy.cli.plan_table import run_table
    from byteproxy.cli.progress import stage
    from byteproxy.training import train

    terminal = console(asked.json)
    figures = train(asked.config, asked.out, resume=asked.resume, stage=stage, tell=terminal.say)
    if figures:
        terminal.print(run_table(figures))
        terminal.say(f"Page: {figures['page']}")
        end(asked.json, figures)


def _how_to_go_on(stopped: str, asked: Asked) -> str:
    from byteproxy.train.run_config import CONFIG

    if not (asked.out / CONFIG).exists():
        return "stopped before the first step; the same command starts again"
    if asked.resume == "if_exists":
        return f"{stopped or 'stopped'}; the same command goes on"
    return f"{stopped or 'stopped'}; go on with: byteproxy train --resume {shlex.quote(str(asked.out))}"
