"""`byteproxy prepare`: sources become a corpus to train on, with views of every document."""

import shlex
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from byteproxy.cli.output import Json, console, end

SOURCES = """What to read, with options behind a colon. Examples:
  stdlib
    the source files of this Python: 30 MB, always there
  installed
    those of the packages installed beside it; each of
    them is a project
  ~/repositories
    a folder of source files; each folder in it is a
    project, which is held out as a whole or not at all
    where there are enough of them
  enwik8
    one large text file: documents of 64 KiB, in three
    stretches for the three splits
  "~/code:depth=2,languages=python|rust"
    projects two folders deep; files in these languages
  pile.jsonl.zst:text=contents,project=repo
    lines of JSON or one array, plain or compressed by
    gzip, zstd, xz or bzip2, or a folder of such files;
    contents and repo are the names of their fields
  "web:include=*.parquet,text=content"
    tables: Parquet or Arrow, such as a dataset that was
    downloaded from Hugging Face
  code:weight=2 web.parquet:name=pages
    two sources; code is shown twice as often as its size
    says
The content of a file decides what it is, not its name.
Options: name, weight, format (auto, files, jsonl,
parquet, arrow), include, exclude, depth, languages, and
the names of the fields text, id, project and language;
"|" stands between several values. A dot leads into a
field (project=metadata.repo). Names with ":" are given
as they are, those with "," or "|" in double quotes:
  'd.jsonl:text="body, cleaned"|"a|b"'
A field that is named must be in some record; a last "|"
(project=repo|) says that it need not. Of equal
documents, the one that is read first stays."""


def prepare(
    sources: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="SOURCE [SOURCE ...]", help=SOURCES, help_behavior_hint="(at least one)"),
    ],
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")],
    views: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="view", metavar="VIEW")] = (),
    validation: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.05,
    test: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.10,
    salt: Annotated[str, tyro.conf.arg(metavar="TEXT")] = "",
    hold_out: Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="PROJECT")] = (),
    min_bytes: Annotated[int, tyro.conf.arg(metavar="BYTES")] = 1,
    max_bytes: Annotated[int, tyro.conf.arg(metavar="BYTES")] = 64 << 20,
    invalid: Literal["keep", "drop", "repair"] = "keep",
    near_duplicates: Literal["held_out", "train", "keep"] = "held_out",
    max_faulty: Annotated[float, tyro.conf.arg(metavar="SHARE")] = 0.01,
    workers: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    json: Json = False,
) -> None:
    """Make a corpus out of sources: documents split by project, without copies, and encoded by views.

    Text is split within each source and language: by whole projects if there are enough of them, else by files, else
    by position, as with enwik8. The tables at the end say which. A file that holds most of its source is read as
    documents of 64 KiB.

    You can stop it at any moment, and the same command goes on. Run again, it does only what is missing. So views can
    be added later.

    Args:
        out: Folder of the corpus: new, empty, or the same corpus from before; any other is left as it is.
        views: A view to add: a kind such as bpe, bpe:4096 or codebook:bits=12 (see `byteproxy views list`), the file
            of a trained view, or a tokenizer.json or its folder. May be given several times. A view that needs
            training is trained on the train split of this corpus.
        validation: Share of the text held out for choosing between settings.
        test: Share of the text held out for what is reported.
        salt: Any text; each text draws a split of its own.
        hold_out: A project, or SOURCE/PROJECT, to hold out for test, or for validation with "validation:" before it.
            May be given several times. It counts towards the shares.
        min_bytes: Bytes that a document has at least; smaller ones are rejected.
        max_bytes: Bytes that a document has at most, 0 for no limit; larger ones are rejected. A file that is cut into
            documents may have any size.
        invalid: What to do with text that is not UTF-8: keep its bytes, drop the document, or repair it with U+FFFD.
        near_duplicates: Which split loses a document if a training and a held-out document are much alike; keep
            drops none.
        max_faulty: Share of all records that may be damaged. Above it, the preparation stops and names them.
        workers: Processes that read; by default one for each core that this process may use.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.corpus.records import Rules
    from byteproxy.corpus.split import SplitOptions
    from byteproxy.evaluate.corpus.corpus_figures import corpus_figures
    from byteproxy.store.build import build_corpus
    from byteproxy.store.prepare import Preparation

    begin = time.perf_counter()
    preparation = Preparation(
        split=SplitOptions(validation, test, salt, hold_out),
        rules=Rules(min_bytes, max_bytes, invalid),
        near_duplicates=near_duplicates,
        max_faulty=max_faulty,
    )
    built = build_corpus(sources, views, out, preparation, workers, stage)
    figures = corpus_figures(built.store)
    _summary(figures, out, console(json))
    end(json, {**figures, "train_seconds": built.train_seconds, "seconds": time.perf_counter() - begin})


def _summary(figures: dict[str, Any], out: Path, terminal: Any) -> None:
    """What there is now, and what to do with it."""
    from byteproxy.evaluate.corpus.corpus_terminal import summary_tables
    from byteproxy.evaluate.corpus.split_table import split_notes
    from byteproxy.evaluate.corpus.tables import sized

    terminal.print(*summary_tables(figures), sep="\n")
    for note in split_notes(figures):
        terminal.print(note, markup=False, soft_wrap=True)
    folder = shlex.quote(str(out))
    lines = [f"{figures['documents']:,} documents with {sized(figures['bytes'])} of text in {out}"]
    if figures["rejected_file"]:
        lines.append(f"Rejected records, one a line: {figures['rejected_file']}")
    lines += ["", "Next:", f"  byteproxy corpus stats {folder}", f"  byteproxy corpus show {folder}"]
    aligned = [name for name, view in figures["views"].items() if view["aligned"]]
    lines.append(f"  byteproxy mixture preview {folder} --recipe {'paper' if aligned else 'bytes'}")
    if not aligned:
        lines.append("  the same command with --view bpe:4096, which adds a compressor to train with")
    terminal.say(*lines)
