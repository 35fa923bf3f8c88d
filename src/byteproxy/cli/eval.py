"""`byteproxy eval`: what runs are worth on held-out text."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro

from byteproxy.cli.output import Json, console, end, print_whole

HeldOut: TypeAlias = Annotated[Literal["validation", "test"], tyro.conf.arg(help="Which held-out split.")]
Runs: TypeAlias = Annotated[
    tuple[Path, ...],
    tyro.conf.Positional,
    tyro.conf.arg(metavar="RUN [RUN ...]", help="Folders that `byteproxy train` left."),
]
Corpus: TypeAlias = Annotated[
    Path | None, tyro.conf.arg(metavar="DIR", help="Where the corpus is now, if not where each run names it.")
]


def bpb(
    runs: Runs,
    corpus: Corpus = None,
    split: HeldOut = "validation",
    max_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 200_000,
    document_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 20_000,
    stride: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    json: Json = False,
) -> None:
    """Score runs on held-out text: bits per byte, raw and in each view, beside PPMd, xz and zstd on the same text.

    Every byte is scored once, in overlapping windows as long as the passages that a run was trained on. Several runs
    are scored on the same text, and the first is compared with each other one, with intervals over documents and over
    projects. Opening the test split adds a line to opened.jsonl in the folder of each run.

    Args:
        max_bytes: Bytes of text to score, spread over sources, languages and projects.
        document_bytes: The most that one document gives; less where so much would leave fewer than 16 documents.
        stride: Bytes by which windows move on, half a window if not given. Less gives more context and costs more.
    """
    from byteproxy.api import evaluate
    from byteproxy.cli.progress import stage
    from byteproxy.evaluate.run_tables import about, differences_table, parts_table, runs_table

    terminal = console(json)
    results = evaluate(
        runs,
        corpus=corpus,
        split=split,
        max_bytes=max_bytes,
        document_bytes=document_bytes,
        stride=stride,
        stage=stage,
        say=terminal.say,
    )
    terminal.say("", about(results), "")
    print_whole(terminal, runs_table(results))
    if results["differences"]:
        print_whole(terminal, differences_table(results))
    if results["sources"] > 1:
        print_whole(terminal, parts_table(results, "source"))
    for what in ("project", "document"):
        print_whole(terminal, parts_table(results, what))
    terminal.say(*results["notes"])
    end(json, results)


def transfer(
    runs: Runs,
    corpus: Corpus = None,
    split: HeldOut = "validation",
    passages: Annotated[int, tyro.conf.arg(metavar="N")] = 200,
    json: Json = False,
) -> None:
    """Measure transfer between raw bytes and compressed text: translation both ways, transfer gap, retrieval.

    Translation: bits per byte of a passage once the model has read its other form, and how many passages come out
    exactly if the most probable symbol is written each time. Retrieval: how many passages' other form is found by the
    similarity of hidden states, layer by layer. Opening the test split adds a line to opened.jsonl in each run's
    folder.

    Args:
        passages: Passages to take, by chance, no two of the same text.
    """
    from byteproxy.api import evaluate
    from byteproxy.cli.progress import stage
    from byteproxy.evaluate.run_tables import retrieval_table, transfer_table

    terminal = console(json)
    results = evaluate(runs, "transfer", corpus=corpus, split=split, passages=passages, stage=stage, say=terminal.say)
    for name, run in results["runs"].items():
        terminal.say(f"{name}: {run['passages']:,} passages of the {split} split, {run['bytes']:,} bytes")
    terminal.print()
    print_whole(terminal, transfer_table(results["runs"]))
    for name, run in results["runs"].items():
        if run["views"]:
            print_whole(terminal, retrieval_table(name, run))
    terminal.say(*results["notes"])
    end(json, results)
