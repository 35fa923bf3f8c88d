"""Runs in their folders, measured on held-out text of their corpus: what `byteproxy.evaluate` gives, and says more of.

Opening the test split adds a line to `opened.jsonl` in the folder of each run, before anything is scored.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from byteproxy.errors import InputError
from byteproxy.evaluate.passage_forms import sampled
from byteproxy.evaluate.run_bpb import bpb_figures, common_text, run_scores, split_size, stride_of
from byteproxy.evaluate.transfer import transfer, transfer_figures, transfer_notes
from byteproxy.progress import Stage
from byteproxy.runs.with_corpus import OPENED, Run, open_runs, remember_opened

HeldOut = Literal["validation", "test"]
Say = Callable[[str], None]


def bpb_of_runs(
    folders: Sequence[Path],
    corpus: Path | None,
    split: HeldOut,
    max_bytes: int,
    document_bytes: int,
    stride: int | None,
    stage: Stage,
    say: Say,
) -> dict[str, Any]:
    """Bits per byte of runs on the same text."""
    runs = _opened(folders, corpus, stage)
    strides = [stride_of(run, stride) for run in runs]
    documents = common_text(runs, split, max_bytes, document_bytes)
    opened = _remembered(runs, split, "eval bpb", [_counts(documents, "documents")] * len(runs), say)
    scores = [run_scores(run, documents, own, stage) for run, own in zip(runs, strides, strict=True)]
    whole = split_size(runs[0].store, split)
    return {"split": split, "whole": whole, **bpb_figures(runs, documents, scores), "opened": opened}


def transfer_of_runs(
    folders: Sequence[Path], corpus: Path | None, split: HeldOut, passages: int, stage: Stage, say: Say
) -> dict[str, Any]:
    """Translation, transfer gap and retrieval of runs."""
    runs = _opened(folders, corpus, stage)
    with stage("find passages", "passages") as progress:
        chosen = [sampled(run, split, passages, progress=progress) for run in runs]
    opened = _remembered(runs, split, "eval transfer", [_counts(own, "passages") for own in chosen], say)
    found = [transfer(run, own, stage) for run, own in zip(runs, chosen, strict=True)]
    figures = {run.name: transfer_figures(run, one) for run, one in zip(runs, found, strict=True)}
    return {"split": split, "runs": figures, "notes": transfer_notes(runs, found), "opened": opened}


def _opened(folders: Sequence[Path], corpus: Path | None, stage: Stage) -> list[Run]:
    if not folders:
        raise InputError("no run is named: name folders that `byteproxy train` left, such as runs/3m")
    return open_runs(list(folders), corpus, stage)


def _counts(texts: Sequence[Any], what: str) -> dict[str, int]:
    return {what: len(texts), "bytes": sum(len(one.text) for one in texts)}


def _remembered(
    runs: Sequence[Run], split: HeldOut, command: str, counts: Sequence[dict[str, int]], say: Say
) -> list[dict[str, Any]]:
    """The lines that opening the test split adds, one for each run; none for another split."""
    if split != "test":
        return []
    lines = []
    for run, own in zip(runs, counts, strict=True):
        lines.append({"run": run.name, **remember_opened(run, command, **own)})
        say(f"The test split is opened: noted in {run.folder / OPENED}")
    return lines
