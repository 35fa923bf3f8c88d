"""Collect all figures of a study from what its runs left: one JSON object, one table of runs, one page.

Nothing is computed while runs are made, so a study that is half done has results of the runs that are there.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import byteproxy
from byteproxy.checksummed import known
from byteproxy.corpus.split import ways
from byteproxy.errors import InputError
from byteproxy.evaluate.compressors import compressors_bpb
from byteproxy.files import write_aside
from byteproxy.finite import finite
from byteproxy.progress import Stage, quietly
from byteproxy.study.cells import HELD_OUT, Cells, Done
from byteproxy.study.compare import differences, fits, read_curves
from byteproxy.study.fairness import check_budget, check_trials, openings, why_seen
from byteproxy.study.hardware import machine
from byteproxy.study.kinds_of_text import by_kind
from byteproxy.study.multipliers import measured, multiplier_trends, multipliers
from byteproxy.study.queue import Key, Queue
from byteproxy.study.recipe import Cell
from byteproxy.study.references import References
from byteproxy.study.robust_runs import robust_lines
from byteproxy.study.run_files import FAILED, HeldOut, viewed
from byteproxy.study.split_texts import curve_texts, excerpts, split_texts
from byteproxy.study.start_model import known_model
from byteproxy.study.study_folder import REPORT, RESULTS, RUNS, TABLE, Notes
from byteproxy.study.tokens_kept import sentences, token_differences
from byteproxy.study.verdict import verdict

WritePage = Callable[[Mapping[str, Any], Path], None]
"""Writes the page about results to a place."""
_COUNTED = ("flops", "positions", "steps", "text_bytes_seen", "raw_text_bytes_seen", "seconds", "wall_seconds")
_OF_ARM = ("parameters", "learning_rate", "sequences_per_step")
_UNSHOWN = ("made_with", "begun", "config")


def write_results(
    queue: Queue,
    name: str,
    stage: Stage = quietly,
    unscored: Sequence[Mapping[str, str]] = (),
    page: WritePage | None = None,
) -> dict[str, Any]:
    """Write results.json, runs.csv and, by `page`, report.html of what is done, and return the first.

    unscored: runs that could not be scored on the test split, each with why.
    Raises InputError where the runs that are there break a rule of fairness.
    """
    with stage("results", "parts") as progress:
        progress(0, 1)
        results = finite(study_results(queue, name, unscored))
        assert isinstance(results, dict), "as it went in"
        progress(1, 1)
    write_aside(queue.out / RESULTS, json.dumps(results, indent=1).encode())
    write_aside(queue.out / TABLE, runs_table(results["runs"]).encode())
    if page is not None:
        page(results, queue.out / REPORT)
    return results


def study_results(queue: Queue, name: str, unscored: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """All figures of a study. A missing figure is None or absent."""
    cells = Cells.of(queue)
    runs, trials = list(_runs(queue, cells)), list(_trials(queue))
    for run in runs:
        if "diverged" in run:
            continue
        check_budget(f"run {run['key']}", run["flops_asked"], run["flops"])
    check_trials(queue.recipe, trials, (run for run in runs if run["kind"] == "final"))
    main = main_cell(queue, cells)
    roles, known = {name: arm.role for name, arm in queue.recipe.arms.items()}, measured(cells)
    splits = {split for own in cells.runs.values() for run in own.values() for split in run.scored}
    references = References(queue)
    ceiling = {split: one for split in HELD_OUT if (one := references.ceiling(split)) is not None}
    arms = {arm: _arm(queue, cells, arm, main) for arm in queue.recipe.arms}
    results: dict[str, Any] = {
        "byteproxy": byteproxy.__version__,
        "study": name,
        "about": queue.recipe.about,
        "corpus": {
            "path": str(queue.store.path),
            "fingerprint": queue.store.manifest.fingerprint,
            "splits": {name: asdict(split) for name, split in queue.store.manifest.splits.items()},
            "split_by": ways(queue.store.manifest.groups),
        },
        "machine": machine(
            ", ".join(sorted({job.config.dtype for job in map(queue.job, queue.keys) if job is not None}))
        ),
        "main": _main(queue, cells, main),
        "model": _model(queue),
        "references": references.lines(split for split in HELD_OUT if split in splits | {"validation"}),
        "arms": arms,
        "claims": [asdict(claim) for claim in queue.recipe.claims],
        "token_bpb_after": {name: arm["token_bpb"] for name, arm in arms.items() if arm["token_bpb"] is not None},
        "cells": list(_cells(cells)),
        "differences": list(differences(queue.recipe, cells)),
        "m": list(multipliers(roles, known)),
        "m_trends": list(multiplier_trends(roles, known)),
        "token_differences": list(token_differences(queue.recipe, cells, ceiling)),
        "kinds_of_text": by_kind(queue, cells, main, ceiling),
        "robustness": list(robust_lines(cells, queue.recipe.scoring, references.robust())),
        "read_at": None if main is None else read_curves(runs, main),
        "fits": fits(queue, cells),
        "trials": trials,
        "runs": runs,
        **_held_out(queue, splits, references),
        "viewer": _viewer(queue, cells),
        "opened": [{name: line[name] for name in line if name != "made_with"} for line in openings(queue.out)],
        "queue": _queue(queue, unscored),
        "report": str(queue.out / REPORT),
    }
    left = (results["main"] or {}).get("left")
    unfinished = [f"Not all arms are done at this budget: {', '.join(left)}."] if left else []
    results["verdict"] = " ".join([verdict(results), *unfinished, *sentences(results)])
    return results


def _model(queue: Queue) -> dict[str, Any] | None:
    """The model that arms begin with, and whether it can have seen the text; None where all begin at random."""
    asked, known = queue.recipe.model, known_model(queue.out)
    if asked is None or known is None:
        return None
    source = known.source
    return {
        **{"given": source.given, "license": source.license, "quantization": source.quantization},
        **{"weights": source.weights, "tokenizer": source.tokenizer, "view": known.view},
        **{"published": asked.published, "text_published": queue.recipe.corpus.published},
        **{"arms": [name for name, arm in queue.recipe.arms.items() if arm.start]},
        "may_have_seen": why_seen(queue.recipe),
    }


def main_cell(queue: Queue, cells: Cells) -> tuple[str, float] | None:
    """The largest size, and there the largest budget, at which every arm that is to be there has all its runs.

    So, too, where all arms of a claim have them: a small budget may have few arms, and a large one some that nobody
    waits for. Where there is none, those arms of a claim count that are to be there, of the first one that has any.
    """
    places = {(cell.size, cell.flops) for cell in cells.planned}
    claims = [claim.arms for claim in queue.recipe.claims]

    def whole(arms: tuple[str, ...]) -> list[tuple[str, float]]:
        return [place for place in places if cells.left(*place, arms) == []]

    at = whole(tuple(queue.recipe.arms))
    at += [place for arms in claims for place in whole(arms) if all(Cell(arm, *place) in cells.planned for arm in arms)]
    at = at or next((found for arms in claims if (found := whole(arms))), [])
    return max(at, key=lambda one: (queue.parameters(one[0]), one[1]), default=None)


def _main(queue: Queue, cells: Cells, main: tuple[str, float] | None) -> dict[str, Any] | None:
    """What results say of the main cell. left: arms whose runs there are not all done."""
    if main is None:
        return None
    left = cells.left(*main, queue.recipe.arms)
    said = {"size": main[0], "flops": main[1], "seeds": list(queue.recipe.seeds)}
    return {**said, "left": left} if left else said


def _arm(queue: Queue, cells: Cells, name: str, main: tuple[str, float] | None) -> dict[str, Any]:
    """An arm's figures at the main cell; None where it has no runs there."""
    arm = queue.recipe.arms[name]
    said = {"about": arm.about, "role": arm.role, "scored": "view" if arm.role == "tokenizer" else "raw"}
    cell = None if main is None else Cell(name, *main)
    runs = {} if cell is None else cells.seeds(cell)
    if cell is None or not runs:
        return {**said, **dict.fromkeys(("raw_bpb", "validation_bpb", "token_bpb", *_COUNTED, *_OF_ARM))}
    split, first = cells.split(cell), next(iter(runs.values()))
    return {
        **said,
        "raw_bpb": {**_seeds(cells.bpb(cell, split)), "split": split},
        "validation_bpb": _seeds(cells.bpb(cell, "validation")),
        "token_bpb": _token_bpb(cells, cell, split),
        **{what: cells.mean(cell, what) for what in _COUNTED},
        "parameters": first.result["parameters"],
        "learning_rate": first.job.config.optim.learning_rate,
        "sequences_per_step": first.job.config.shape.sequences_per_step,
    }


def _token_bpb(cells: Cells, cell: Cell, split: HeldOut) -> dict[str, Any] | None:
    tokens = cells.tokens(cell, split)
    return {**_seeds({seed: one.bpb for seed, one in tokens.items()}), "split": split} if tokens else None


def _seeds(values: dict[int, float]) -> dict[str, Any]:
    by_seed = {str(seed): value for seed, value in sorted(values.items())}
    return {"mean": float(np.mean(list(values.values()))) if values else None, "seeds": by_seed}


def _cells(cells: Cells) -> Iterator[dict[str, Any]]:
    for cell in cells.runs:
        for split in HELD_OUT:
            values = cells.bpb(cell, split)
            if values:
                counted = {what: cells.mean(cell, what) for what in ("text_bytes_seen", "positions", "seconds")}
                tokens = _token_bpb(cells, cell, split)
                kept = {} if tokens is None else {"token_bpb": tokens["mean"]}
                yield {**cell._asdict(), "split": split, **_seeds(values), **kept, **counted}


def _runs(queue: Queue, cells: Cells) -> Iterator[dict[str, Any]]:
    for key in queue.keys:
        result, job = queue.result(key), queue.job(key)
        if result is None or job is None:
            continue
        done = cells.seeds(Cell(key.arm, key.size, key.flops)).get(key.seed) if key.kind == "final" else None
        yield {
            "key": key.name,
            "kind": key.kind,
            "arm": key.arm,
            "size": key.size,
            "flops_asked": key.flops,
            "seed": key.seed,
            "learning_rate": job.config.optim.learning_rate,
            "sequences_per_step": job.config.shape.sequences_per_step,
            **{name: value for name, value in result.items() if name not in _UNSHOWN},
            "test_bpb": None if done is None or "test" not in done.scored else done.scored["test"].bpb,
        }


def _trials(queue: Queue) -> Iterator[dict[str, Any]]:
    for key in queue.keys:
        result = queue.result(key) if key.kind == "trial" else None
        if result is not None:
            yield {
                "arm": key.arm,
                "size": key.size,
                "learning_rate": key.learning_rate,
                "sequences_per_step": key.sequences_per_step,
                "flops": key.flops,
                "validation_bpb": result["validation_bpb"],
                "chosen": queue.choice(key.arm, key.size) == (key.learning_rate, key.sequences_per_step),
            }


def _held_out(queue: Queue, splits: set[HeldOut], references: References) -> dict[str, Any]:
    """How much text of each split was scored, and what plain compressors make of it; of the test split once it is open.

    splits: those that runs were scored on. Also of the text that curves are of, which is less than the validation text,
    and what that costs the study's model as its own tokens.
    """
    scoring = queue.recipe.scoring
    shown: dict[str, list[bytes]] = {
        split: split_texts(queue.store, scoring, split) for split in HELD_OUT if split in splits | {"validation"}
    }
    shown["curves"] = curve_texts(queue.store, scoring)
    amounts = {name: {"bytes": sum(map(len, texts)), "documents": len(texts)} for name, texts in shown.items()}
    compressors = {name: _compressed(queue, texts) for name, texts in shown.items()}
    on_curves = {**amounts.pop("curves"), "compressors": compressors.pop("curves")}
    if (tokens := references.on_curves()) is not None:
        on_curves["tokens"] = tokens
    return {"compressors": compressors, "scored": amounts, "curve_text": on_curves}


def _compressed(queue: Queue, texts: Sequence[bytes]) -> dict[str, float]:
    """What plain compressors make of a text, noted, as they take their time."""
    notes = Notes(queue.out, "compressors")
    key = hashlib.sha256(b"\n".join(texts)).hexdigest()
    found: dict[str, float] | None = notes.get(key)
    if found is None:
        found = compressors_bpb(texts)
        notes.put(key, found)
    return found


def _viewer(queue: Queue, cells: Cells) -> list[dict[str, Any]]:
    """Excerpts byte by byte, of each arm's run at its largest size that was looked at so."""
    bits: dict[str, dict[str, list[float]]] = {}
    largest: dict[str, Done] = {}
    for own in cells.runs.values():
        for run in own.values():
            before = largest.get(run.key.arm)
            if run.job.viewed and (
                before is None or queue.parameters(run.key.size) > queue.parameters(before.key.size)
            ):
                largest[run.key.arm] = run
    for arm, run in largest.items():
        found = viewed(run.job, queue.store)
        if found is not None:
            bits[arm] = found
    if not bits:
        return []
    views = {}
    for entry in queue.store.manifest.views:
        if entry.aligned:
            try:
                views[entry.name] = queue.store.view(entry.name)
            except InputError:
                continue  # the corpus has its symbols and can't make it: there is nothing to cut with
    return [
        {
            "document": one.id,
            "project": one.project,
            "text": list(one.text),
            "bits": {arm: own[one.id] for arm, own in bits.items() if one.id in own},
            "cuts": {
                name: [size for size in view.encode(one.text).span_bytes.tolist() if size]
                for name, view in views.items()
            },
        }
        for one in excerpts(queue.store, queue.recipe.scoring)
    ]


def _queue(queue: Queue, unscored: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    done = [key for key in queue.keys if queue.result(key) is not None]
    failed = [{"key": key.name, "why": why} for key in queue.keys if (why := why_failed(queue, key)) is not None]
    return {"done": len(done), "left": len(queue.keys) - len(done), "failed": [*failed, *map(dict, unscored)]}


def why_failed(queue: Queue, key: Key) -> str | None:
    """Why a run failed the last time; None if it is done or was never tried."""
    if queue.result(key) is not None:
        return None
    found = known(queue.out / RUNS / key.name / FAILED)
    return None if found is None else str(found["why"])


def runs_table(runs: Iterable[dict[str, Any]]) -> str:
    """A row for each run, as CSV, without its curve."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        row = {name: value for name, value in run.items() if name not in ("curve", "compressed_share", "robustness")}
        share = {f"compressed_share_of_{name}": value for name, value in run["compressed_share"].items()}
        rows.append({**row, **share})
    written = io.StringIO()
    writer = csv.DictWriter(
        written, list(dict.fromkeys(name for row in rows for name in row)) or ["key"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return written.getvalue()
