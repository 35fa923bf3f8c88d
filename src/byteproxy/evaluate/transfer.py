"""How much of what a model learned from compressed text reaches its reading of raw bytes: on passages, form by form.

Translation both ways (`translation`), the transfer gap (`validation`, here over passages that each stand alone), and
retrieval by layer (`retrieval`), for each view that the run's mixture shows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from byteproxy.evaluate.passage_forms import Passage
from byteproxy.evaluate.retrieval import Retrieval, pooled, retrieval
from byteproxy.evaluate.translation import Translation, translation_scores
from byteproxy.evaluate.validation import shown_views
from byteproxy.progress import Stage, quietly
from byteproxy.runs.with_corpus import Run
from byteproxy.vocab import RAW


class ViewTransfer(NamedTuple):
    """Transfer figures of one view, on the same passages.

    representation: its number. translated: raw bytes after the view's symbols.
    view: the symbols alone, and reverse: after the raw bytes; both None where the model predicts no symbols.
    """

    representation: int
    translated: Translation
    view: Translation | None
    reverse: Translation | None
    retrieval: Retrieval


class Transfer(NamedTuple):
    """A run's. raw: the bytes of each passage behind `<raw>` alone. views: by name."""

    passages: list[Passage]
    raw: Translation
    views: dict[str, ViewTransfer]


def saw_pairs(run: Run) -> bool:
    """Whether some step of the run showed both forms of a passage in one document."""
    phases = run.config.mixture.schedule
    return any(phase.mode == "pairs" and phase.share > 0 and _mixed(phase.rate, phase.rate_end) for phase in phases)


def _mixed(rate: float, rate_end: float | None) -> bool:
    return 0 < rate < 1 or (rate_end is not None and rate_end != rate)


def transfer(run: Run, passages: list[Passage], stage: Stage = quietly) -> Transfer:
    """Measure a run on passages in its own forms (`passage_forms.sampled`); stage: shows them being read."""
    with stage(f"{run.name}: raw", "passages") as progress:
        raw = translation_scores(run, passages, [RAW], progress)
    own = shown_views(run.config)
    raw_states = pooled(run, passages, RAW) if own else None
    views = {}
    for name, view in own.items():
        with stage(f"{run.name}: {name}", "passages") as progress:
            translated = translation_scores(run, passages, [view, RAW], progress)
            alone = translation_scores(run, passages, [view]) if run.config.objective.symbols else None
            reverse = translation_scores(run, passages, [RAW, view]) if run.config.objective.symbols else None
            assert raw_states is not None, "there are views"
            found = retrieval(raw_states, pooled(run, passages, view))
            views[name] = ViewTransfer(view, translated, alone, reverse, found)
    return Transfer(passages, raw, views)


def transfer_figures(run: Run, found: Transfer) -> dict[str, Any]:
    """All figures of a run, as `byteproxy eval transfer --json` has them under its name; bits are per byte of text."""
    size = sum(len(passage.text) for passage in found.passages)
    raw_bpb = float(found.raw.bits.sum()) / size
    views = {name: _view_figures(one, size, len(found.passages)) for name, one in found.views.items()}
    alone = [one["view_bpb"] for one in views.values() if one["view_bpb"] is not None]
    return {
        "folder": str(run.folder),
        "corpus": str(run.store.path),
        "step": run.step,
        "steps": run.config.steps,
        "saw_pairs": saw_pairs(run),
        "passages": len(found.passages),
        "bytes": size,
        "longest_passage": run.config.shape.context_bytes,
        "raw_bpb": raw_bpb,
        "transfer_gap": raw_bpb - sum(alone) / len(alone) if alone else None,
        "views": views,
        "per_passage": _passage_lines(found),
    }


def _view_figures(one: ViewTransfer, size: int, passages: int) -> dict[str, Any]:
    return {
        "view_bpb": None if one.view is None else float(one.view.bits.sum()) / size,
        "translated_bpb": float(one.translated.bits.sum()) / size,
        "translated_exact": float(one.translated.exact.mean()),
        "translated_right": _right(one.translated),
        "reverse_bpb": None if one.reverse is None else float(one.reverse.bits.sum()) / size,
        "reverse_exact": None if one.reverse is None else float(one.reverse.exact.mean()),
        "reverse_right": None if one.reverse is None else _right(one.reverse),
        "retrieval": {**one.retrieval._asdict(), "chance": 1 / passages},
    }


def _right(one: Translation) -> float:
    """The share of a passage that is written before the first mistake, on average over passages."""
    return float((one.right / one.content).mean())


def _passage_lines(found: Transfer) -> list[dict[str, Any]]:
    lines = []
    for number, passage in enumerate(found.passages):
        views = {
            name: {
                "translated_bits": float(one.translated.bits[number]),
                "translated_right": int(one.translated.right[number]),
                "translated_exact": bool(one.translated.exact[number]),
                "symbols": len(passage.forms[one.representation].ids),
                "reverse_bits": None if one.reverse is None else float(one.reverse.bits[number]),
                "reverse_exact": None if one.reverse is None else bool(one.reverse.exact[number]),
            }
            for name, one in found.views.items()
        }
        lines.append({"bytes": len(passage.text), "raw_bits": float(found.raw.bits[number]), "views": views})
    return lines


def transfer_notes(runs: Sequence[Run], found: Sequence[Transfer]) -> list[str]:
    """What has to be known to read the figures, in sentences."""
    said = []
    for run, one in zip(runs, found, strict=True):
        if not one.views:
            said.append(f"{run.name} was shown no compressed text, so there is nothing to transfer from.")
        elif not saw_pairs(run):
            said.append(
                f"{run.name} never saw pairs (no phase of its mixture shows a passage both raw and compressed in one "
                "document), so it was never taught to translate: what it can of that came out of its mixture by itself."
            )
        if one.views and not run.config.objective.symbols:
            said.append(f"{run.name} predicts no symbols, so it has no transfer gap and translates in one direction.")
    texts = [[passage.text for passage in one.passages] for one in found]
    if any(own != texts[0] for own in texts):
        said.append("The runs cut passages in different ways, so each is measured on passages of its own.")
    return said
