"""Views for a terminal: the comparison as tables, a document in the colours of its symbols."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from byteproxy.console import Console, one_line
from byteproxy.evaluate.amounts import sized
from byteproxy.evaluate.views.columns import NEURAL, SIZE, STABILITY, Column
from byteproxy.evaluate.views.symbols_text import cut, visible
from byteproxy.evaluate.views.viewed import Viewed, rest, summary

COLOURS = ("#10151a on #9fd0ff", "#10151a on #ffd08a", "#10151a on #a6e6bb", "#10151a on #e8b4e6")
BOUNDARY = "│"


def comparison_tables(results: Mapping[str, Any]) -> list[Table]:
    """What `view_figures.compare` returned, as tables of a row for each view that fit into 80 columns."""
    title = f"{results['split']}: {sized(results['held_out_bytes'], 'B')} of {results['corpus']}"
    tables = [_figures(results["views"], title, SIZE), _figures(results["views"], "edits and boundaries", STABILITY)]
    neural = {spec: figures for spec, figures in results["views"].items() if "fuzzy" in figures}
    return [*tables, _figures(neural, "neural views", NEURAL)] if neural else tables


def order_text(results: Mapping[str, Any]) -> str:
    """The views by stability, and what that says of the paper's order where it can be told."""
    said = f"Steadiest first, under deletions: {', '.join(results['stability_order']) or 'none'}"
    holds = results["paper_order_holds"]
    if holds is None:
        return said
    return f"{said}\nThe paper's order (tokenizer, neural, gzip) is {'confirmed' if holds else 'contradicted'} here."


def _figures(views: Mapping[str, Any], title: str, columns: Sequence[Column]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=title, padding=(0, 1, 0, 0))
    table.add_column("view", overflow="fold", vertical="bottom", min_width=10)
    for column in columns:
        table.add_column(f"{column.heading}\n{column.unit}", justify="right", no_wrap=True)
    for spec, figures in views.items():
        table.add_row(Text(spec), *(column.of(figures) for column in columns))
    return table


def symbols_text(viewed: Viewed, document: bytes, max_bytes: int, coloured: bool) -> tuple[Text, int]:
    """A document in the colours of its symbols, and how many of its bytes are shown; the view has to be aligned.

    coloured: False sets a bar behind each symbol instead.
    """
    pieces = list(cut(document, viewed.encoded, max_bytes))
    shown = ["".join(run.characters for run in visible(piece.text)) for piece in pieces]
    if coloured:
        text = Text.assemble(*((characters, COLOURS[place % len(COLOURS)]) for place, characters in enumerate(shown)))
    else:
        # A bar after a newline stands at the end of its line, so that the text keeps its columns.
        text = Text("".join(characters + BOUNDARY for characters in shown).replace("\n" + BOUNDARY, BOUNDARY + "\n"))
    return text, sum(len(piece.text) for piece in pieces)


def print_viewed(viewed: Viewed, document: bytes, max_bytes: int, console: Console, more: str = "") -> None:
    """A document through a view: its figures with what `more` says, then its symbols in colours where it is aligned."""
    console.print()
    said = summary(viewed.figures(document)) + more
    console.print(Text(one_line(viewed.spec), "bold"), Text(said), sep=": ", soft_wrap=True)
    if viewed.view.aligned:
        text, shown_bytes = symbols_text(viewed, document, max_bytes, console.color_system is not None)
        print_part(text, rest(document, shown_bytes), console)
    else:
        console.print("symbols that belong to no stretch of the text")


def print_part(text: Text, left_out: str, console: Console) -> None:
    """Some text as it stands, and what is said of the rest."""
    console.print(text, end="" if text.plain.endswith("\n") or not text.plain else "\n", soft_wrap=True)
    if left_out:
        console.print(left_out, style="dim")


def kinds_table(kinds: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each kind of view. kinds: summary, trained, options with defaults, and choices, by name."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, width in (("view", 12), ("what it is", 28), ("trained", 7), ("options", None)):
        table.add_column(heading, min_width=width, overflow="fold")
    for name, about in kinds.items():
        options = [
            _typed(option, default, about["choices"].get(option, ())) for option, default in about["options"].items()
        ]
        table.add_row(name, about["summary"], "yes" if about["trained"] else "no", Group(*options))
    return table


def _typed(option: str, default: Any, choices: Sequence[Any]) -> str:
    """An option as it is typed in a spec, with its default, and behind it what else there is to choose."""
    value = str(default).lower() if isinstance(default, bool) else str(default)
    others = [str(choice) for choice in choices if choice != default]
    return f"{option}={value}" + (f" (or {', '.join(others)})" if others else "")
