"""Run one run of a study: train it in its folder, score it on held-out text, leave its figures in `result.json`.

A run goes on from its newest checkpoint, and one that is trained but was never scored is only scored. A trial leaves
nothing but its figures; a final run also leaves its newest checkpoint, for the test split and for later use.
"""

import hashlib
import shutil
import time
from hashlib import blake2b
from typing import Any

from byteproxy.checksummed import write_checksummed
from byteproxy.config import to_toml
from byteproxy.corpus.document import Document
from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb, view_byte_bits
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.generate.score import Scored, byte_bits, score
from byteproxy.model.network import Transformer
from byteproxy.parsing import read_json
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.runs.lineage import remember_lineage
from byteproxy.runs.with_corpus import open_runs
from byteproxy.store.store import Store
from byteproxy.study.queue import Job
from byteproxy.study.recipe import Scoring
from byteproxy.study.run_files import BEGUN, RESULT, HeldOut, begun, scores, write_scores, write_viewed
from byteproxy.train import checkpoint
from byteproxy.train.identity import identity
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.trainer import Trainer, Validate
from byteproxy.vocab import Vocab

_CURVE = ("step", "flops", "positions", "text_bytes", "seconds")


class OutOfTimeError(Exception):
    """A run was stopped, and saved, because its time was up."""


def carry_out(job: Job, store: Store, until: float | None = None, stage: Stage = quietly) -> None:
    """Train and score a run, or go on with it; progress counts optimizer steps, then bytes of text.

    job: with its steps said. until: when to stop, in seconds of `time.time()`; None: never.
    Raises InputError for what a user can mend, OutOfTimeError or KeyboardInterrupt after saving.
    """
    _begin(job, store)
    trainer = Trainer(job.config, store, job.folder)
    remember_lineage(job.folder, job.config, store, begun=trainer.state.step > 0)
    with stage(f"train {job.key.name}", "steps") as progress:
        diverged = _train(job, trainer, store, until, progress)
    if diverged:
        write_checksummed(job.folder / RESULT, {**_figures(job, trainer), "validation_bpb": None, "diverged": diverged})
        _tidy(job)
        return
    vocab = trainer.stream.vocab
    with stage(f"score {job.key.name}", "B") as progress:
        texts = split_texts(store, job.scoring, "validation")
        scored = _scored(job, trainer.model, vocab, store, texts, progress)
    if job.key.kind == "final":  # what chooses among trials is their figure alone
        write_scores(job, store, "validation", scored)
    if job.viewed:
        bits = _byte_bits(job, trainer.model, vocab, store, excerpts(store, job.scoring))
        write_viewed(job, store, bits)
    write_checksummed(job.folder / RESULT, {**_figures(job, trainer), "validation_bpb": scored.bpb})
    _tidy(job)


def _begin(job: Job, store: Store) -> None:
    """Empty the folder of a run without a checkpoint, or of something else: another configuration, corpus or version.

    Where it isn't known what the folder was begun with, its newest checkpoint says that.
    """
    corpus = store.manifest.fingerprint_for(job.config.views)
    mine = {"made_with": hashlib.sha256(f"{corpus} {identity(job.config)}".encode()).hexdigest()}
    found = begun(job)
    if found is None:
        goes_on = _goes_on(job, corpus)
    else:
        goes_on = found == mine and checkpoint.newest(job.folder / "checkpoints") is not None
    if job.folder.exists() and not goes_on:
        shutil.rmtree(job.folder)
    write_checksummed(job.folder / BEGUN, mine)


def _goes_on(job: Job, corpus: str) -> bool:
    """Whether the newest checkpoint in a folder is of this very run."""
    found = checkpoint.newest(job.folder / "checkpoints")
    try:
        saved = {} if found is None else read_json(found / "state.json")
        return bool(saved["config"] == identity(job.config) and saved["corpus"] == corpus)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _train(job: Job, trainer: Trainer, store: Store, until: float | None, progress: Progress) -> str:
    """Train to the last step; gives how a trial diverged, which is a result like any other, empty if it didn't."""
    late = False

    def timed(done: int, total: int, note: str = "") -> None:
        nonlocal late
        progress(done, total, note)
        if until is not None and not late and time.time() > until and done < total:
            late = True
            trainer.stop_after_this_step()

    try:
        trainer.run(_evaluations(job, trainer, store), timed)
    except KeyboardInterrupt:
        if late:
            raise OutOfTimeError from None
        raise
    except InputError as error:
        too_many = trainer.guard.state_dict()["skips"] > job.config.optim.max_skips
        if job.key.kind == "trial" and too_many:
            return str(error)
        raise
    return ""


def _evaluations(job: Job, trainer: Trainer, store: Store) -> Validate | None:
    """What draws a final run's curve; a trial has none."""
    if job.key.kind == "trial":
        return None
    texts = curve_texts(store, job.scoring)
    vocab = trainer.stream.vocab

    def evaluate(model: Transformer) -> dict[str, float]:
        return {"view_bpb" if job.view else "raw_bpb": _scored(job, model, vocab, store, texts, silent).bpb}

    return evaluate


def _figures(job: Job, trainer: Trainer) -> dict[str, Any]:
    counters, config = trainer.counters, trainer.config
    return {
        "made_with": job.made_with,
        "begun": begun(job),
        "config": to_toml(config),
        "curve": _curve(job) if job.key.kind == "final" else [],
        **counters.seen(),
        "steps": config.steps,
        "skipped": counters.skipped,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "compressed_share": counters.compressed_share(),
    }


def _curve(job: Job) -> list[dict[str, Any]]:
    """The validations of a run; of a tokenizer arm the bits of its symbols stand under the same name."""
    validations = []
    for line in read_metrics(job.folder / "metrics.jsonl"):
        bpb = line.get("raw_bpb", line.get("view_bpb"))
        if bpb is not None:
            validations.append({**{name: line[name] for name in _CURVE}, "raw_bpb": bpb})
    return validations


def _tidy(job: Job) -> None:
    where = job.folder / "checkpoints"
    newest = checkpoint.newest(where) if job.key.kind == "final" else None
    for path in where.iterdir() if where.exists() else ():
        if path != newest:
            shutil.rmtree(path)
    if newest is None:
        shutil.rmtree(where, ignore_errors=True)


def score_test(job: Job, store: Store, stage: Stage = quietly) -> None:
    """Score a finished run on the test split, unless that is done. The caller says in `opened.jsonl` that it is.

    Raises InputError where the run's checkpoint is gone.
    """
    if scores(job, store, "test") is not None:
        return
    (run,) = open_runs([job.folder], store.path)
    with stage(f"test {job.key.name}", "B") as progress:
        texts = split_texts(store, job.scoring, "test")
        write_scores(job, store, "test", _scored(job, run.model, run.vocab, store, texts, progress))


def split_texts(store: Store, scoring: Scoring, split: HeldOut) -> list[bytes]:
    """The text that finished runs are scored on."""
    return held_out_texts(store, split, getattr(scoring, f"{split}_bytes"), scoring.document_bytes)


def curve_texts(store: Store, scoring: Scoring) -> list[bytes]:
    """The text that the curves of final runs are of."""
    return held_out_texts(store, "validation", scoring.curve_bytes, scoring.document_bytes)


def _scored(job: Job, model: Transformer, vocab: Vocab, store: Store, texts: list[bytes], progress: Progress) -> Scored:
    """Texts as raw bytes; for a tokenizer arm as the symbols of its view."""
    training = model.training
    model.eval()
    window, stride = job.config.shape.context_bytes, job.scoring.stride
    if job.view:
        found = view_bpb(model, vocab, 1, store.view(job.view), texts, window, stride, progress)
    else:
        found = score(model, texts, window, stride, progress=progress)
    model.train(training)
    return found


def _byte_bits(
    job: Job, model: Transformer, vocab: Vocab, store: Store, shown: list[Document]
) -> dict[str, list[float]]:
    """Bits of every byte of some excerpts, by document."""
    model.eval()
    window, stride = job.config.shape.context_bytes, job.scoring.stride
    texts = [one.text for one in shown]
    if job.view:
        found = view_byte_bits(model, vocab, 1, store.view(job.view), texts, window, stride)
    else:
        found = byte_bits(model, texts, window, stride)
    return {one.id: [round(float(bit), 4) for bit in bits] for one, bits in zip(shown, found, strict=True)}


def excerpts(store: Store, scoring: Scoring) -> list[Document]:
    """Stretches of validation documents, one a project, in an order keyed by their ids: from a line's start on, a third
    of the way into the document, so that it is code that is shown and no licence.
    """
    keyed = sorted(
        (blake2b(one.id.encode()).digest(), number, one.project)
        for number, one in enumerate(store.documents("validation"))
        if len(one.text) >= min(scoring.viewer_bytes, 200)
    )
    chosen: dict[str, int] = {}
    for _, number, project in keyed:
        if len(chosen) < scoring.viewer_documents:
            chosen.setdefault(project, number)
    order = list(chosen.values())
    found = {}
    for number, one in enumerate(store.documents("validation")):
        if number in order:
            latest = max(0, len(one.text) - scoring.viewer_bytes)
            begin = min(latest, one.text.find(b"\n", len(one.text) // 3) + 1)
            found[number] = Document(
                one.id, one.text[begin : begin + scoring.viewer_bytes], one.source, one.project, one.language
            )
    return [found[number] for number in order]
