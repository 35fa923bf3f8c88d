"""`byteproxy study`: run, continue, plan or report a recipe of several arms at equal training FLOPs."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from byteproxy.cli.output import Json, console, end, print_whole
from byteproxy.console import say

if TYPE_CHECKING:
    from byteproxy.study.recipe import StudyRecipe

STUDIES = Path("runs/studies")


def study(
    recipe: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RECIPE")],
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None,
    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "",
    source: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="SOURCE")] = (),
    set_: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="set", metavar="NAME=VALUE")] = (),
    jobs: Annotated[int, tyro.conf.arg(metavar="N")] = 1,
    minutes: Annotated[float | None, tyro.conf.arg(metavar="M")] = None,
    only: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="ARM")] = (),
    plan: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    report: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    reopen: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    picture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    json: Json = False,
) -> None:
    """Compare ways to train at equal training FLOPs: arms, sizes, budgets and seeds, fairly tuned.

    A recipe names the corpus, the arms and the budgets. Every arm gets the same short trials to choose its learning
    rate, then its final runs; the test split is opened once for each claim, when all runs of its arms are done. Leaves
    results.json, runs.csv and report.html.

    You can stop it at any moment, with Ctrl-C or by --minutes, and the same command goes on. Arms, seeds and budgets
    can be added to the recipe later; runs that the recipe doesn't change are kept. A damaged file of the folder is set
    aside with a message, and what it held is made again.

    Exit status: 0 if no run failed, whatever --minutes left for later; 1 if some runs failed and others are done;
    2 if nothing could be done, because of the recipe or because every run failed; 130 after Ctrl-C.

    Args:
        recipe: Name of a study that comes with byteproxy, or a TOML file.
        out: Folder of the study: new, empty, or one from before; runs/studies and the recipe's name unless given.
        model: Published model that the recipe's arms begin with: its folder, a GGUF file, or hf:ORG/NAME.
        source: Text to learn from and to be scored on, in place of the recipe's, as `byteproxy prepare` takes it; may
            be given several times. When it was first published, --set corpus.published=DAY says.
        set_: Another value for a field of the recipe, as in TOML: seeds=[0], flops=[4e13], corpus.published=2026-01-01;
            may be given several times.
        jobs: Runs at a time, each in a process of its own with its share of the cores.
        minutes: Stop after so long, with what is done saved and reported.
        only: An arm whose runs are wanted now, the others later; may be given several times.
        plan: Train nothing; show what there is to run, its FLOPs, and about how long it takes here.
        report: Train nothing; write results and page again from the runs that are done.
        reopen: Open the test split a second time for a claim whose runs have changed; the results will say so.
        picture: Write the page's first picture as an SVG file of its own, too.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.errors import InputError
    from byteproxy.recipes.named import study_named
    from byteproxy.report.headline import write_headline
    from byteproxy.report.study_page import write_study_page
    from byteproxy.study.study import Limits, report_study, run_study

    if plan and report:
        raise InputError("--plan and --report: give one of them")
    name = Path(recipe).stem
    known = study_named(recipe, _changes(model, source, set_))
    place = STUDIES / name if out is None else out
    if plan:
        _plan(known, place, only, json)
        return
    if report:
        results = report_study(known, name, place, stage, say, write_study_page)
    else:
        limits = Limits(jobs, minutes, only, reopen)
        results = run_study(known, name, place, limits=limits, stage=stage, say=say, page=write_study_page)
    if picture is not None:
        write_headline(results, picture)
    _show(results, json)
    if not report:
        _judge(results["queue"], place)


def _changes(model: str, sources: Sequence[str], values: Sequence[str]) -> dict[str, Any]:
    """Fields of a recipe, nested as there, that options say otherwise."""
    from byteproxy.study.recipe import merged

    found: dict[str, Any] = {}
    if sources:  # what the recipe says of its own text says nothing of this
        found["corpus"] = {"sources": list(sources), "path": "", "published": ""}
    if model:
        from byteproxy.runs.source_model import named  # imports torch

        found["model"] = {"path": named(model)}
    for given in values:
        found = merged(found, _value(given))
    return found


def _value(given: str) -> dict[str, Any]:
    """One `NAME=VALUE` as nested values; what is no TOML is text."""
    from datetime import date

    from byteproxy.errors import InputError
    from byteproxy.parsing import parse_toml

    name, sign, text = given.partition("=")
    if not sign or not all(name.split(".")):
        raise InputError(f"--set {given!r}: give a field of the recipe and its value, such as seeds=[0]")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text
    value = value.isoformat() if isinstance(value, date) else value
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict), "a name has a part"
    return value


def _judge(queue: dict[str, Any], out: Path) -> None:
    """End with the status that tells what became of the runs: InputError where all failed, 1 where some did."""
    from byteproxy.errors import InputError

    failed = queue["failed"]
    if failed and not queue["done"]:
        first = failed[0]
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise InputError(f"every run of {out} failed: {first['key']}{more}: {first['why']}")
    if failed:
        sys.exit(1)


def _show(results: dict[str, Any], json: bool) -> None:
    from byteproxy.cli.study_tables import arms_table, differences_table, multipliers_table, token_table
    from byteproxy.study.transfer_words import NO_CURVE, without_curve

    terminal = console(json)
    print_whole(terminal, arms_table(results))
    if results["differences"]:
        print_whole(terminal, differences_table(results))
    if without_curve(results["m"]):
        terminal.say(f"No transfer multipliers: {NO_CURVE}.", "")
    elif results["m"]:
        print_whole(terminal, multipliers_table(results))
    if results["references"]:
        print_whole(terminal, token_table(results))
    terminal.say(*results["verdict"].split("\n"), "")
    queue = results["queue"]
    for failure in queue["failed"]:
        terminal.say(f"failed: {failure['key']}: {failure['why']}")
    if queue["left"]:
        terminal.say(f"{queue['left']} runs are left ({queue['done']} are done): the same command goes on.")
    terminal.say(f"Report: {results['report']}")
    end(json, results)


def _plan(recipe: "StudyRecipe", out: Path, only: tuple[str, ...], json: bool) -> None:
    from byteproxy.cli.progress import stage
    from byteproxy.cli.study_tables import plan_notes, plan_table
    from byteproxy.study.study import checked
    from byteproxy.study.study_folder import claimed
    from byteproxy.study.study_plan import plan_study

    with claimed(out, recipe):
        planned = plan_study(checked(recipe, out, only=only, stage=stage), stage)
    terminal = console(json)
    print_whole(terminal, plan_table(planned))
    for line in plan_notes(planned):
        terminal.say(line)
    end(json, planned)
