"""`byteproxy eval`: what runs are worth on held-out text.

What is heavy to import is imported by the commands themselves, so that help comes at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import tyro

from byteproxy.cli.output import Json, console, end, print_whole

if TYPE_CHECKING:
    from byteproxy.console import Console
    from byteproxy.evaluate.loaded import Run

HeldOut: TypeAlias = Literal["validation", "test"]
Runs: TypeAlias = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
Corpus: TypeAlias = Annotated[Path | None, tyro.conf.arg(metavar="DIR")]


def bpb(
    runs: Runs,
    corpus: Corpus = None,
    side: HeldOut = "validation",
    most_bytes: Annotated[int, tyro.conf.arg(name="bytes", metavar="N")] = 200_000,
    document_bytes: Annotated[int, tyro.conf.arg(metavar="N")] = 20_000,
    stride: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    json: Json = False,
) -> None:
    """Score runs on held-out text: bits per byte, raw and in each view, beside PPMd, xz and zstd on the same text.

    Every byte is scored once, in overlapping windows as long as the passages that a run was trained on. Several runs
    are scored on the same text, and the first is compared with each other one, with intervals over documents and over
    projects. Opening the test side adds a line to opened.jsonl in the folder of each run.

    Args:
        runs: Folders that `byteproxy train` left.
        corpus: Where the corpus is now, if not where each run names it.
        side: Which held-out side.
        most_bytes: Bytes of text to score, spread over sources, languages and projects.
        document_bytes: The most that one document gives; less where so much would leave fewer than 16 documents.
        stride: Bytes by which windows move on, half a window if not given. Less gives more context and costs more.
        json: End the output with all figures, of each document too, as one JSON object on one line.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.evaluate.run_bpb import bpb_figures, common_text, run_scores, stride_of, whole_side
    from byteproxy.evaluate.run_tables import about, differences_table, parts_table, runs_table

    people = console(json)
    loaded = _loaded(runs, corpus)
    strides = [stride_of(run, stride) for run in loaded]
    documents = common_text(loaded, side, most_bytes, document_bytes)
    opened = _remembered(loaded, side, "eval bpb", [_counts(documents, "documents")] * len(loaded), people)
    scores = [run_scores(run, documents, own, stage) for run, own in zip(loaded, strides, strict=True)]
    whole = whole_side(loaded[0].store, side)
    results = {"side": side, "whole": whole, **bpb_figures(loaded, documents, scores), "opened": opened}
    people.say("", about(results), "")
    print_whole(people, runs_table(results))
    if results["differences"]:
        print_whole(people, differences_table(results))
    if results["sources"] > 1:
        print_whole(people, parts_table(results, "source"))
    for what in ("project", "document"):
        print_whole(people, parts_table(results, what))
    _say(results["notes"], people)
    end(json, results)


def transfer(
    runs: Runs,
    corpus: Corpus = None,
    side: HeldOut = "validation",
    passages: Annotated[int, tyro.conf.arg(metavar="N")] = 200,
    json: Json = False,
) -> None:
    """Measure what passes between raw bytes and compressed text: translation both ways, transfer gap, retrieval.

    Translation: bits per byte of a passage once the model has read its other form, and how many passages come out
    exactly if the most probable symbol is written each time. Retrieval: how many passages' other form is found by the
    similarity of hidden states, layer by layer. Opening the test side adds a line to opened.jsonl in each run's folder.

    Args:
        runs: Folders that `byteproxy train` left.
        corpus: Where the corpus is now, if not where each run names it.
        side: Which held-out side.
        passages: Passages to take, by chance, no two of the same text.
        json: End the output with all figures, of each passage too, as one JSON object on one line.
    """
    from byteproxy.cli.progress import stage
    from byteproxy.evaluate import transfer as measure
    from byteproxy.evaluate.passages import sampled
    from byteproxy.evaluate.run_tables import retrieval_table, transfer_table

    people = console(json)
    loaded = _loaded(runs, corpus)
    with stage("find passages", "passages") as progress:
        chosen = [sampled(run, side, passages, progress=progress) for run in loaded]
    opened = _remembered(loaded, side, "eval transfer", [_counts(own, "passages") for own in chosen], people)
    found = [measure.transfer(run, own, stage) for run, own in zip(loaded, chosen, strict=True)]
    figures = {run.name: measure.transfer_figures(run, one) for run, one in zip(loaded, found, strict=True)}
    notes = measure.transfer_notes(loaded, found)
    for name, run in figures.items():
        told = f"{name}: {run['passages']:,} passages of the {side} side, {run['bytes']:,} bytes"
        people.say(told)
    people.print()
    print_whole(people, transfer_table(figures))
    for name, run in figures.items():
        if run["views"]:
            print_whole(people, retrieval_table(name, run))
    _say(notes, people)
    end(json, {"side": side, "runs": figures, "notes": notes, "opened": opened})


def _loaded(folders: tuple[Path, ...], corpus: Path | None) -> list["Run"]:
    from byteproxy.cli.progress import stage
    from byteproxy.errors import InputError
    from byteproxy.evaluate.loaded import open_runs

    if not folders:
        raise InputError("no run is named: name folders that `byteproxy train` left, such as runs/3m")
    return open_runs(list(folders), corpus, stage)


def _counts(texts: Sequence[Any], what: str) -> dict[str, int]:
    return {what: len(texts), "bytes": sum(len(one.text) for one in texts)}


def _remembered(
    loaded: list["Run"], side: HeldOut, command: str, counts: Sequence[dict[str, int]], people: "Console"
) -> list[dict[str, Any]]:
    """The lines that opening the test side adds, one for each run; they are said, too. None for another side."""
    from byteproxy.evaluate.loaded import OPENED, remember_opened

    if side != "test":
        return []
    lines = []
    for run, own in zip(loaded, counts, strict=True):
        lines.append({"run": run.name, **remember_opened(run, command, **own)})
        people.say(f"The test side is opened: noted in {run.folder / OPENED}")
    return lines


def _say(notes: list[str], people: "Console") -> None:
    for note in notes:
        people.say(note)
