"""A corpus for a terminal: its tables, the lengths of its documents as bars, and one document in all its views."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from byteproxy.console import Console, one_line
from byteproxy.evaluate.corpus import tables
from byteproxy.evaluate.corpus.split_table import by_source_and_language
from byteproxy.evaluate.corpus.stored_document import Seen, agreement
from byteproxy.evaluate.corpus.tables import Figures, length_range, sized
from byteproxy.evaluate.views.symbols_text import visible
from byteproxy.evaluate.views.view_terminal import print_part, print_viewed
from byteproxy.evaluate.views.viewed import rest

BAR = 15
MANY_COLUMNS = 9
"""From so many on, columns stand as close as possible, so that 80 characters hold them."""
_EIGHTHS = " ▏▎▍▌▋▊▉"


def summary_tables(figures: Mapping[str, Any]) -> list[Table]:
    """What there is to know right after a preparation."""
    before = (
        tables.by_source(figures),
        tables.by_field(figures),
        tables.by_split(figures),
        by_source_and_language(figures),
    )
    found = (*before, tables.by_reason(figures), tables.by_view(figures))
    return [lined_up(one) for one in found if one.rows]


def all_tables(figures: Mapping[str, Any]) -> list[Table]:
    """All that `corpus stats` shows."""
    found = (
        tables.by_split(figures),
        by_source_and_language(figures),
        tables.by_source(figures),
        tables.by_field(figures),
        tables.by_language(figures),
        tables.by_length(figures),
    )
    last = (tables.by_reason(figures), tables.by_view(figures))
    return [
        *(lined_up(one) for one in found if one.rows),
        length_bars(figures["histogram"]),
        *(lined_up(one) for one in last if one.rows),
    ]


def lined_up(figures: Figures) -> Table:
    """A table whose numbers stand below each other."""
    between = 1 if len(figures.columns) < MANY_COLUMNS else 0
    table = Table(box=box.SIMPLE_HEAD, title=figures.title, title_justify="left", padding=(0, between, 0, 0))
    table.add_column(figures.first, overflow="fold", vertical="bottom", min_width=12)
    for heading, unit in figures.columns:
        table.add_column(f"{heading}\n{unit}" if unit else heading, justify="right", no_wrap=True, vertical="bottom")
    for name, cells in figures.rows:
        table.add_row(Text(name), *map(Text, cells))
    return table


def length_bars(histogram: list[dict[str, int]]) -> Table:
    """A bar of documents and one of text for each power of two."""
    table = Table(box=box.SIMPLE_HEAD, title="Documents by length", title_justify="left", padding=(0, 1, 0, 0))
    for heading, justify in (
        ("length", "right"),
        ("documents", "right"),
        ("", "left"),
        ("text", "right"),
        ("", "left"),
    ):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    most = {key: max((one[key] for one in histogram), default=0) for key in ("documents", "bytes")}
    for one in histogram:
        bars = {key: bar(one[key] / most[key] if most[key] else 0.0) for key in most}
        table.add_row(length_range(one), f"{one['documents']:,}", bars["documents"], sized(one["bytes"]), bars["bytes"])
    return table


def bar(share: float) -> str:
    """A bar of BAR cells at most, to an eighth of a cell; something above 0 is never nothing."""
    eighths = max(round(share * BAR * 8), 1 if share > 0 else 0)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip().ljust(BAR)


def print_document(shown: Seen, max_bytes: int, console: Console) -> None:
    """A document as its text, and in the colours of its symbols for each view that is aligned."""
    place, size = shown.place, len(shown.text)
    about = [place.split, f"project {place.project}", place.language]
    console.print(
        Text(one_line(place.name), "bold"),
        Text(one_line(f"{size:,} bytes; {', '.join(filter(None, about))}")),
        sep=": ",
    )
    plain = "".join(run.characters for run in visible(shown.text[:max_bytes]))
    print_part(Text(plain), rest(shown.text, min(size, max_bytes)), console)
    for one in shown.viewed:
        print_viewed(one, shown.text, max_bytes, console, "; stored symbols agree")
    for name in shown.why_not:
        console.print()
        console.print(Text(one_line(name), "bold"), Text(agreement(shown, name)), sep=": ", soft_wrap=True)
