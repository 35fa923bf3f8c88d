"""Runs side by side on the same held-out text: bits per byte as raw bytes and in each view, by document and project.

Every byte is scored once, in windows as long as the passages that a run was trained on, so contexts are matched in
bytes between raw text and views. Between two runs there are two intervals: one over the choice of documents, and one
over that of projects, since documents of one project are not independent; neither knows anything of training seeds.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import Split
from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb
from byteproxy.evaluate.compressors import compressors_bpb
from byteproxy.evaluate.held_out import held_out_documents
from byteproxy.evaluate.paired import Difference, grouped, paired_difference
from byteproxy.evaluate.validation import shown_views
from byteproxy.generate.score import Scored, score
from byteproxy.progress import Stage, quietly
from byteproxy.runs.with_corpus import Run
from byteproxy.store.store import Store


class RunScores(NamedTuple):
    """What the text costs a run: raw, and in each view whose symbols its model predicts; window and stride in bytes."""

    raw: Scored
    views: dict[str, Scored]
    window: int
    stride: int

    @property
    def transfer_gap(self) -> float | None:
        """See `validation`; None without views."""
        if not self.views:
            return None
        return self.raw.bpb - sum(one.bpb for one in self.views.values()) / len(self.views)


def split_size(store: Store, split: Split) -> dict[str, int]:
    """How much text a split holds: bytes, documents, projects."""
    held = store.manifest.splits[split]
    return {"bytes": held.bytes, "documents": held.documents, "projects": held.projects}


def common_text(runs: Sequence[Run], split: Split, max_bytes: int, document_bytes: int) -> list[Document]:
    """The held-out text that all runs are scored on; documents may be cut short, see `held_out_documents`.

    Raises InputError where the runs' corpora would give different texts, or none.
    """
    if max_bytes < 1 or document_bytes < 1:
        raise InputError(f"max_bytes is {max_bytes} and document_bytes {document_bytes}: give at least 1")
    first, *others = runs
    documents = held_out_documents(first.store, split, max_bytes, document_bytes)
    for run in others:
        if run.store is first.store:
            continue
        own = held_out_documents(run.store, split, max_bytes, document_bytes)
        if [one.text for one in own] != [one.text for one in documents]:
            raise InputError(
                f"{first.name} and {run.name} were trained on different corpora ({first.store.path}, "
                f"{run.store.path}), whose {split} splits give different texts: score each by itself"
            )
    return documents


def stride_of(run: Run, asked: int | None) -> int:
    """Bytes by which a run's windows move on: those asked for, or half a window; InputError for more than one."""
    window = run.config.shape.context_bytes
    stride = max(1, window // 2) if asked is None else asked
    if not 1 <= stride <= window:
        raise InputError(f"stride is {stride}: give 1 to {window} bytes, the longest passage of {run.name}")
    return stride


def run_scores(run: Run, documents: Sequence[Document], stride: int, stage: Stage = quietly) -> RunScores:
    """Score documents with a run's model; stride: in bytes (`stride_of`)."""
    texts = [document.text for document in documents]
    window = run.config.shape.context_bytes
    views = {}
    with stage(f"{run.name}: raw", "B") as progress:
        raw = score(run.model, texts, window, stride, progress=progress)
    if run.config.objective.symbols:
        for name, representation in shown_views(run.config).items():
            with stage(f"{run.name}: {name}", "symbols") as progress:
                view = run.store.view(name)
                views[name] = view_bpb(run.model, run.vocab, representation, view, texts, window, stride, progress)
    return RunScores(raw, views, window, stride)


def bpb_figures(runs: Sequence[Run], documents: Sequence[Document], scores: Sequence[RunScores]) -> dict[str, Any]:
    """All figures, as `byteproxy eval bpb --json` ends with them; at least one run, and each one's scores."""
    texts = [document.text for document in documents]
    compressors = compressors_bpb(texts)
    named = {run.name: one for run, one in zip(runs, scores, strict=True)}
    figures = {run.name: _run_figures(run, named[run.name]) for run in runs}
    return {
        "bytes": sum(map(len, texts)),
        "documents": len(documents),
        "projects": len({document.project for document in documents}),
        "sources": len({document.source for document in documents}),
        "languages": len({document.language for document in documents}),
        "runs": figures,
        "compressors": compressors,
        "differences": _differences(runs, scores, documents),
        "per_source": _groups(named, [document.source for document in documents], "source"),
        "per_project": _groups(named, [document.project for document in documents], "project"),
        "per_document": _documents(named, documents),
        "notes": notes(figures, compressors["ppmd"]),
    }


def notes(figures: Mapping[str, Mapping[str, Any]], ppmd: float) -> list[str]:
    """What the figures of runs mean beside PPMd and beside each other, in sentences."""
    said = []
    for name, one in figures.items():
        own, what = one["headline_bpb"], one["headline"]
        if own > ppmd:
            said.append(
                f"{name} ({what}) is above PPMd, {own:.3f} against {ppmd:.3f} bits per byte: a model above PPMd is "
                "under-trained, and what it shows of a method may not hold for one that isn't."
            )
    if len({one["window"] for one in figures.values()}) > 1:
        lengths = ", ".join(f"{name} {one['window']:,}" for name, one in figures.items())
        said.append(
            f"The runs read windows of different lengths (bytes: {lengths}), so their contexts are not matched."
        )
    return said


def headline(run: Run, scores: RunScores) -> tuple[str, Scored]:
    """What a run is compared by: raw, or where it was shown no raw text its only view."""
    phases = [phase for phase in run.config.mixture.schedule if phase.share > 0]
    only_compressed = all(phase.rate == 1 and phase.rate_end in (None, 1) for phase in phases)
    if only_compressed and len(scores.views) == 1:
        return next(iter(scores.views.items()))
    return "raw", scores.raw


def _run_figures(run: Run, scores: RunScores) -> dict[str, Any]:
    what, own = headline(run, scores)
    return {
        "folder": str(run.folder),
        "corpus": str(run.store.path),
        "step": run.step,
        "steps": run.config.steps,
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "flops": run.flops,
        "text_bytes": run.text_bytes,
        "window": scores.window,
        "stride": scores.stride,
        "raw_bpb": scores.raw.bpb,
        "view_bpb": {name: one.bpb for name, one in scores.views.items()},
        "transfer_gap": scores.transfer_gap,
        "headline": what,
        "headline_bpb": own.bpb,
    }


def _differences(
    runs: Sequence[Run], scores: Sequence[RunScores], documents: Sequence[Document]
) -> list[dict[str, Any]]:
    """The first run against each other one."""
    projects = [document.project for document in documents]
    compared = [(run.name, *headline(run, own)) for run, own in zip(runs, scores, strict=True)]
    (name, what, one), *others = compared
    found = []
    for against, other_what, other in others:
        over_documents = paired_difference(one, other)
        over_projects = paired_difference(grouped(one, projects)[1], grouped(other, projects)[1])
        found.append(
            {
                "run": name,
                "of": what,
                "against": against,
                "against_of": other_what,
                "bpb": over_documents.bpb,
                "percent": 100 * over_documents.bpb / other.bpb if other.bpb else None,
                "documents": _interval(over_documents),
                "projects": _interval(over_projects),
            }
        )
    return found


def _interval(difference: Difference) -> dict[str, float]:
    return {"low": difference.low, "high": difference.high}


def _groups(named: Mapping[str, RunScores], names: list[str], what: str) -> list[dict[str, Any]]:
    """Figures of the documents of each name together, those with most bytes first."""
    labels = [{what: label} for label in grouped(next(iter(named.values())).raw, names)[0]]
    grouped_scores = {
        run: one._replace(
            raw=grouped(one.raw, names)[1], views={view: grouped(own, names)[1] for view, own in one.views.items()}
        )
        for run, one in named.items()
    }
    return sorted(_lines(grouped_scores, labels), key=lambda line: (-line["bytes"], json.dumps(line[what])))


def _documents(named: Mapping[str, RunScores], documents: Sequence[Document]) -> list[dict[str, Any]]:
    labels = [{"document": one.id, "project": one.project, "source": one.source} for one in documents]
    return _lines(named, labels)


def _lines(named: Mapping[str, RunScores], labels: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    sizes = next(iter(named.values())).raw.bytes

    def at(scored: Scored, number: int) -> float:
        return float(scored.bits[number] / scored.bytes[number])

    return [
        {
            **label,
            "bytes": int(sizes[number]),
            "raw_bpb": {run: at(one.raw, number) for run, one in named.items()},
            "view_bpb": {run: {view: at(own, number) for view, own in one.views.items()} for run, one in named.items()},
        }
        for number, label in enumerate(labels)
    ]
