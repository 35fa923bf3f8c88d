"""`byteproxy views`: list, train, compare and inspect views."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from byteproxy.cli.output import Json, console, end

FOLDER = Path("runs/views")
TERMINAL_BYTES = 2000
"""What `inspect` shows of a document in the terminal; the page has more."""


def list_(json: Json = False) -> None:
    """List the kinds of views that can be named, with their options and defaults."""
    from byteproxy.evaluate.views.view_terminal import kinds_table
    from byteproxy.views.registry import kinds_told

    found = kinds_told()
    terminal = console(json)
    terminal.print(kinds_table(found))
    terminal.say(
        'Say "bpe" for the defaults, "bpe:4096" to give the first option,',
        '"codebook:bits=12,parse=greedy" for any, or the path of a trained view.',
    )
    end(json, {"kinds": found})


def train(
    spec: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="VIEW")],
    corpus: Annotated[str, tyro.conf.arg(metavar="DIR")] = "stdlib",
    size: Annotated[str | None, tyro.conf.arg(metavar="SIZE")] = None,
    minutes: Annotated[float | None, tyro.conf.arg(metavar="N")] = None,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    json: Json = False,
) -> None:
    """Train a view on the training split of a corpus and save it.

    Training that takes minutes (neural) can be stopped at any moment, and the same command goes on.

    Args:
        spec: What to train, such as bpe, bpe:4096 or codebook:bits=12,parse=greedy; see `byteproxy views list`.
        corpus: Prepared corpus (a folder with manifest.json), or stdlib for the standard library of this Python.
        size: Of the model behind a view that has one (neural): 1m, 2m, 6m or 40m parameters; short for its option size.
        minutes: Of training that model; short for its option minutes.
        out: File to write, if not runs/views/ and the name of the view.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.evaluate.views.view_texts import corpus_named
    from byteproxy.store.trained_views import fingerprint_of, train_view

    spec = _with_option(_with_option(spec, "size", size), "minutes", minutes)
    texts = corpus_named(corpus).train_texts
    found = train_view(spec, texts, fingerprint_of(corpus), FOLDER, out, stage)
    view, each = found.view, found.bytes_per_symbol
    size = "" if each is None else f", {each:.2f} bytes each on training text"
    console(json).say(
        f"{view.name}: {view.alphabet_size:,} symbols{size}; trained in {found.seconds:.1f} s", f"Saved: {found.path}"
    )
    results = {
        "name": view.name,
        "alphabet_size": view.alphabet_size,
        "train_seconds": found.seconds,
        "bytes_per_symbol": each,
        "fingerprint": view.fingerprint,
        "path": str(found.path),
    }
    compile_seconds = getattr(view, "compile_seconds", None)
    end(json, results if compile_seconds is None else {**results, "compile_seconds": compile_seconds})


def compare(
    views: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[VIEW ...]")] = (),
    corpus: Annotated[str, tyro.conf.arg(metavar="DIR")] = "stdlib",
    split: Literal["validation", "test"] = "validation",
    max_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 2_000_000,
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = FOLDER / "compare.html",
    json: Json = False,
) -> None:
    """Measure views on held-out text: how short they make it, how fast, and how little an edit changes.

    First trains the views that need it, on the training split; if that is stopped, the same command goes on. Leaves a
    page with a plot, and prints tables.

    Args:
        views: Views such as bpe, bpe:4096 or codebook:bits=12, files of trained views, or a tokenizer.json or its
            folder; all kinds that are trained in seconds unless some are named.
        corpus: Prepared corpus (a folder with manifest.json), or stdlib for the standard library of this Python.
        split: Split of the corpus to measure on. Use validation to choose between views, and test for a final claim
            only.
        max_bytes: Held-out text to use at most, in bytes, one document from each project in turn.
        seed: Seed of the edits. The same seed and text give the same figures, speeds aside.
        out: Page to write.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.evaluate.views import view_figures as view_figures
    from byteproxy.evaluate.views.view_terminal import comparison_tables, order_text
    from byteproxy.evaluate.views.view_texts import corpus_named
    from byteproxy.report.page import write_page
    from byteproxy.report.views_page import compare_page
    from byteproxy.views.registry import quick_kinds

    results = view_figures.compare(
        views or quick_kinds(), corpus_named(corpus), split, max_bytes, seed, stage, keep_in=FOLDER
    )
    write_page(compare_page(results), out)
    terminal = console(json)
    terminal.print(*comparison_tables(results), sep="\n")
    terminal.say(*order_text(results).split("\n"))
    terminal.say(f"Near-duplicates left out: {results['near_duplicates_dropped']:,}", f"Page: {out}")
    end(json, {**results, "page": str(out)})


def inspect(
    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    views: Annotated[tuple[str, ...], tyro.conf.arg(metavar="VIEW [VIEW ...]")] = (),
    corpus: Annotated[str, tyro.conf.arg(metavar="DIR")] = "stdlib",
    max_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 20_000,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = FOLDER / "inspect.html",
    json: Json = False,
) -> None:
    """Show a document through views, every symbol in a colour: in the terminal, and whole on a page.

    Args:
        file: Document of any bytes; "-" reads standard input.
        views: Views such as bpe, bpe:4096 or codebook:bits=12, files of trained views, or a tokenizer.json or its
            folder; all kinds that are trained in seconds unless some are named.
        corpus: Where to train those that have to be trained: a prepared corpus, or stdlib.
        max_bytes: Bytes of the document that the page shows for each view; the terminal shows 2,000 at most.
        out: Page to write.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.errors import InputError
    from byteproxy.evaluate.views.view_terminal import print_viewed
    from byteproxy.evaluate.views.view_texts import corpus_named
    from byteproxy.evaluate.views.viewed import viewed
    from byteproxy.report.document_page import inspect_page
    from byteproxy.report.page import write_page
    from byteproxy.views.registry import quick_kinds

    if max_bytes < 1:
        raise InputError(f"max_bytes is {max_bytes}: give at least 1")
    document = _read(file)
    name = "standard input" if file == "-" else file.encode("utf-8", "replace").decode()
    found = viewed(document, views or quick_kinds(), corpus_named(corpus).train_texts, stage)
    write_page(inspect_page(name, document, found, max_bytes), out)
    terminal = console(json)
    for one in found:
        print_viewed(one, document, min(max_bytes, TERMINAL_BYTES), terminal)
    terminal.say("", f"Page: {out}")
    figures = {one.spec: one.figures(document) for one in found}
    end(json, {"file": name, "bytes": len(document), "views": figures, "page": str(out)})


def _with_option(spec: str, name: str, value: str | float | None) -> str:
    """A spec with one more option, where a value is given."""
    if value is None:
        return spec
    written = value if isinstance(value, str) else f"{value:g}"
    return f"{spec}{',' if ':' in spec else ':'}{name}={written}"


def _read(file: str) -> bytes:
    from byteproxy.errors import InputError

    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"can't read {file}: {error.strerror}; name a file, or - for standard input") from error
