"""`byteproxy mixture`: what a mixture shows, step by step, before anything is trained."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from byteproxy.cli.output import Json, console, end, print_whole

if TYPE_CHECKING:
    from byteproxy.console import Console

LINES = 20
"""Lines of the table, about."""
SPAN = 200
"""Steps that are looked at if nobody says which."""


def preview(
    corpus: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")],
    recipe: Annotated[str, tyro.conf.arg(metavar="R")] = "paper",
    arm: Annotated[str | None, tyro.conf.arg(metavar="ARM")] = None,
    steps: Annotated[str | None, tyro.conf.arg(metavar="FIRST:LAST")] = None,
    total: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    views: Annotated[tuple[str, ...], tyro.conf.arg(metavar="VIEW [VIEW ...]")] = (),
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("runs/mixture/preview.html"),
    json: Json = False,
) -> None:
    """Show what a mixture takes from a corpus: the share that is asked for beside the one that comes out.

    Plans the steps as training would, thousands of steps a second, and reads no text. Shows the compressed share in
    segments, bytes of text and positions; how far it is from what was asked, in standard errors (up to about 3 is
    chance); and the rows of the first step. Leaves a page with a plot.

    Args:
        corpus: Prepared corpus: a folder that `byteproxy prepare` wrote.
        recipe: A preset (paper, coarse_first, bytes, symbols), a recipe that comes with byteproxy (demo), or
            a TOML file of a study, of a run, or with the fields of a mixture.
        arm: Which arm of a study, if not the first one whose mixture needs a view.
        steps: Which optimizer steps to plan, such as 0:200, 100: or ":"; otherwise the first 200.
        total: Optimizer steps of the whole run, of which phases are shares; otherwise those of the recipe, or 1000.
        views: Names of views that the corpus holds; otherwise those of the recipe, or the first aligned one.
        out: Page to write.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.errors import InputError
    from byteproxy.evaluate.mixture_rows import pictured
    from byteproxy.mixture.preview import preview as shown
    from byteproxy.mixture.preview import span_of
    from byteproxy.recipes.named import recipe_of
    from byteproxy.report.mixture_page import mixture_page
    from byteproxy.report.page import write_page
    from byteproxy.store.store import Store

    asked = recipe_of(recipe, arm)
    asked = asked if total is None else asked._replace(steps=total)
    if asked.steps < 1:
        raise InputError(f"total is {asked.steps}: give at least 1")
    first, last = span_of(steps or f"0:{min(SPAN, asked.steps)}", asked.steps)
    store = Store.open(corpus)
    with stage("find passages", "passages") as progress:
        stream = asked.stream(store, views, progress)
    with stage("plan steps", "steps") as progress:
        found = shown(stream, first, last, LINES, progress)
    picture = pictured(stream, found.first)
    results = {
        "corpus": str(corpus),
        "recipe": recipe,
        "arm": asked.arm,
        "mixture": {**asdict(asked.mixture), "phases": [asdict(phase) for phase in asked.mixture.schedule]},
        "views": list(stream.views),
        "shape": asdict(asked.shape),
        "seed": asked.seed,
        "total_steps": asked.steps,
        "steps": found.steps,
        "total": found.total,
        "epochs": found.epochs,
    }
    write_page(mixture_page(results, found.windows, picture), out)
    _show(results, found.windows, picture, console(json))
    console(json).say(f"Page: {out}")
    end(json, {**results, "page": str(out)})


def _show(results: dict[str, Any], windows: list[dict[str, Any]], picture: Any, terminal: "Console") -> None:
    from byteproxy.evaluate.mixture_rows import rows_text
    from byteproxy.evaluate.mixture_tables import about, epochs, steps_table

    terminal.say(*about(results))
    print_whole(terminal, steps_table(results, windows))
    terminal.say(epochs(results))
    terminal.print()
    terminal.print(rows_text(picture, terminal), soft_wrap=True)
