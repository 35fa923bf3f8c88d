"""`byteproxy corpus`: what a prepared corpus holds, a document of it in all its views, and whether it is unaltered."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro

from byteproxy.cli.output import Json, console, end

FOLDER = Path("runs/pages")
TERMINAL_BYTES = 2000
"""What `show` shows of a document in the terminal; the page has more."""

Corpus: TypeAlias = Annotated[
    Path,
    tyro.conf.Positional,
    tyro.conf.arg(metavar="DIR", help="Prepared corpus: a folder that `byteproxy prepare` wrote."),
]


def stats(
    corpus: Corpus,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = FOLDER / "corpus.html",
    json: Json = False,
) -> None:
    """Show what a corpus holds: by split, source and language, how long documents are, what was rejected, its views.

    Reads no text, so it takes seconds whatever the size. Leaves a page with a plot, and tables here.

    Args:
        out: Page to write.
    """
    from byteproxy.evaluate.corpus.corpus_figures import corpus_figures
    from byteproxy.evaluate.corpus.corpus_terminal import all_tables
    from byteproxy.evaluate.corpus.split_table import split_notes
    from byteproxy.report.corpus_page import corpus_page
    from byteproxy.report.page import write_page
    from byteproxy.store.store import Store

    figures = corpus_figures(Store.open(corpus))
    write_page(corpus_page(figures), out)
    terminal = console(json)
    terminal.print(*all_tables(figures), sep="\n")
    for note in split_notes(figures):
        terminal.say(note)
    if figures["rejected_file"]:
        terminal.say(f"Rejected records: {figures['rejected_file']}")
    terminal.say(f"Page: {out}")
    end(json, {**figures, "page": str(out)})


def show(
    corpus: Corpus,
    document: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[DOCUMENT]")] = None,
    split: Annotated[Literal["train", "validation", "test"] | None, tyro.conf.arg(metavar="SPLIT")] = None,
    max_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 20_000,
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = FOLDER / "document.html",
    json: Json = False,
) -> None:
    """Show one document in all its views, every symbol in a colour: in the terminal, and whole on a page.

    The symbols that the corpus holds are compared with what its views give now.

    Args:
        document: Id of a document, or SOURCE/ID if several have that id; by default the first one.
        split: Split to look on: train, validation or test; by default any for a named document, else train.
        max_bytes: Bytes of the document that the page shows for each view; the terminal shows 2,000 at most.
        out: Page to write.
    """
    from byteproxy.errors import InputError
    from byteproxy.evaluate.corpus.corpus_terminal import print_document
    from byteproxy.evaluate.corpus.stored_document import document_figures, find, seen
    from byteproxy.report.corpus_page import document_page
    from byteproxy.report.page import write_page
    from byteproxy.store.store import Store

    if max_bytes < 1:
        raise InputError(f"max_bytes is {max_bytes}: give at least 1")
    store = Store.open(corpus)
    shown = seen(store, find(store, document, split))
    write_page(document_page(shown, max_bytes), out)
    terminal = console(json)
    print_document(shown, min(max_bytes, TERMINAL_BYTES), terminal)
    terminal.say("", f"Page: {out}")
    end(json, {"corpus": str(corpus), **document_figures(shown), "page": str(out)})


def verify(corpus: Corpus, json: Json = False) -> None:
    """Read every file of a corpus, its caches too, and compare checksums; the first one that was altered is named.

    The exit status is 0 if all files are as they were written, and 2 if one isn't.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.evaluate.corpus.corpus_figures import verified_figures
    from byteproxy.evaluate.corpus.tables import sized
    from byteproxy.store.store import Store

    store = Store.open(corpus)
    with stage("verify", "B") as progress:
        results = verified_figures(store, progress)
    views = f" and the views {', '.join(results['views'])}" if results["views"] else ""
    kept = results["caches"]
    caches = f" Sound as well: {kept:,} files of caches, {sized(results['cache_bytes'])}." if kept else ""
    console(json).say(
        f"{corpus}: {results['files']:,} files with {sized(results['bytes'])} are what was written: the documents in "
        f"{len(store.manifest.shards):,} shards{views}.{caches}",
        f"Fingerprint: {results['fingerprint']}",
    )
    end(json, results)
