"""One run of a study: trained in its folder, scored on held-out text, its figures left in `result.json`.

A run goes on from its newest checkpoint, and one that is trained but was never scored is only scored. Of a trial
nothing stays but its figures; of a final run its newest checkpoint, for the test side and whoever comes later.
"""

import hashlib
import json
import shutil
import time
from hashlib import blake2b
from typing import Any, Literal

import numpy as np

from byteproxy.corpus.document import Document
from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb, view_byte_bits
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.evaluate.loaded import open_runs
from byteproxy.generate.score import Scored, byte_bits, score
from byteproxy.model.transformer import Transformer
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.store.store import Store
from byteproxy.study.folder import read_json, write_json
from byteproxy.study.queue import RESULT, Job
from byteproxy.study.recipe import Scoring
from byteproxy.train import checkpoint
from byteproxy.train.trainer import Trainer, Validate
from byteproxy.vocab import Vocab

HeldOut = Literal["validation", "test"]
_BEGUN, _VIEWER = "begun.json", "viewer.json"


class OutOfTimeError(Exception):
    """A run was stopped, and saved, because its time was up."""


def carry_out(job: Job, store: Store, until: float | None = None, stage: Stage = quietly) -> None:
    """Train and score a run, or go on with it; progress counts optimizer steps, then bytes of text.

    job: with its steps said. until: when to stop, in seconds of `time.time()`; None: never.
    Raises InputError for what a user can mend, OutOfTimeError or KeyboardInterrupt after saving.
    """
    _begin(job)
    trainer = Trainer(job.config, store, job.folder)
    with stage(f"train {job.key.name}", "steps") as progress:
        diverged = _train(job, trainer, store, until, progress)
    if diverged:
        write_json(job.folder / RESULT, {**_figures(job, trainer), "validation_bpb": None, "diverged": diverged})
        _tidy(job)
        return
    vocab = trainer.stream.vocab
    with stage(f"score {job.key.name}", "B") as progress:
        bpb = _score(job, trainer.model, vocab, store, "validation", progress).bpb
    if job.viewed:
        bits = _byte_bits(job, trainer.model, vocab, store, excerpts(store, job.scoring))
        write_json(job.folder / _VIEWER, {"made_with": viewer_key(store, job.scoring), "bits": bits})
    write_json(job.folder / RESULT, {**_figures(job, trainer), "validation_bpb": bpb})
    _tidy(job)


def _begin(job: Job) -> None:
    """Empty the folder of a run of something else: another configuration, or one from another version of byteproxy."""
    begun = {"made_with": hashlib.sha256(job.config.identity.encode()).hexdigest()}
    if job.folder.exists() and read_json(job.folder / _BEGUN) != begun:
        shutil.rmtree(job.folder)
    write_json(job.folder / _BEGUN, begun)


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
        trainer.run(_looks(job, trainer, store), timed)
    except KeyboardInterrupt:
        if late:
            raise OutOfTimeError from None
        raise
    except InputError as error:
        too_many = trainer.guard.state()["skips"] > job.config.optim.most_skips
        if job.key.kind == "trial" and too_many:
            return str(error)
        raise
    return ""


def _looks(job: Job, trainer: Trainer, store: Store) -> Validate | None:
    """What draws a final run's curve; a trial has none."""
    if job.key.kind == "trial":
        return None
    texts = held_out_texts(store, "validation", job.scoring.curve_bytes, job.scoring.document_bytes)
    vocab = trainer.stream.vocab

    def look(model: Transformer) -> dict[str, float]:
        return {"view_bpb" if job.view else "raw_bpb": _scored(job, model, vocab, store, texts, silent).bpb}

    return look


def _figures(job: Job, trainer: Trainer) -> dict[str, Any]:
    counters, config = trainer.counters, trainer.config
    return {
        "made_with": job.made_with,
        "flops": counters.flops,
        "positions": counters.positions,
        "steps": config.steps,
        "text_bytes_seen": sum(counters.text_bytes),
        "raw_text_bytes_seen": counters.text_bytes[0],
        "seconds": round(counters.seconds, 2),
        "wall_seconds": round(counters.wall_seconds, 2),
        "skipped": counters.skipped,
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "compressed_share": counters.compressed_share(),
    }


def _tidy(job: Job) -> None:
    where = job.folder / "checkpoints"
    newest = checkpoint.newest(where) if job.key.kind == "final" else None
    for path in where.iterdir() if where.exists() else ():
        if path != newest:
            shutil.rmtree(path)
    if newest is None:
        shutil.rmtree(where, ignore_errors=True)


def score_test(job: Job, store: Store, stage: Stage = quietly) -> None:
    """Score a finished run on the test side, unless that is done. The caller says in `opened.jsonl` that it is.

    Raises InputError where the run's checkpoint is gone.
    """
    if scores(job, store, "test") is not None:
        return
    (run,) = open_runs([job.folder], store.path)
    with stage(f"test {job.key.name}", "B") as progress:
        _score(job, run.model, run.vocab, store, "test", progress)


def _score(job: Job, model: Transformer, vocab: Vocab, store: Store, side: HeldOut, progress: Progress) -> Scored:
    """Score a run on a side, document by document, and leave that in its folder."""
    texts = side_texts(store, job.scoring, side)
    scored = _scored(job, model, vocab, store, texts, progress)
    values = {
        "made_with": _scored_with(job, store, side),
        "bpb": scored.bpb,
        "bits": scored.bits.tolist(),
        "bytes": scored.bytes.tolist(),
    }
    write_json(job.folder / f"scores-{side}.json", values)
    return scored


def scores(job: Job, store: Store, side: HeldOut) -> Scored | None:
    """What a run's documents cost it; None where that isn't known of this very run and text."""
    found = read_json(job.folder / f"scores-{side}.json")
    if found is None or found["made_with"] != _scored_with(job, store, side):
        return None
    return Scored(np.array(found["bits"]), np.array(found["bytes"], np.int64))


def _scored_with(job: Job, store: Store, side: HeldOut) -> str:
    """A hash of a run and of the text that it is scored on."""
    most = getattr(job.scoring, f"{side}_bytes")
    begun = read_json(job.folder / _BEGUN)
    what = [job.made_with, begun, store.manifest.fingerprint_for(()), most, job.scoring.document_bytes]
    return hashlib.sha256(json.dumps([*what, job.scoring.stride]).encode()).hexdigest()[:32]


def side_texts(store: Store, scoring: Scoring, side: HeldOut) -> list[bytes]:
    """The text that finished runs are scored on."""
    return held_out_texts(store, side, getattr(scoring, f"{side}_bytes"), scoring.document_bytes)


def _scored(job: Job, model: Transformer, vocab: Vocab, store: Store, texts: list[bytes], progress: Progress) -> Scored:
    """Texts as raw bytes; for a tokenizer arm as the symbols of its view."""
    training = model.training
    model.eval()
    window, stride = job.config.shape.passage_bytes, job.scoring.stride
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
    window, stride = job.config.shape.passage_bytes, job.scoring.stride
    texts = [one.text for one in shown]
    if job.view:
        found = view_byte_bits(model, vocab, 1, store.view(job.view), texts, window, stride)
    else:
        found = byte_bits(model, texts, window, stride)
    return {one.id: [round(float(bit), 4) for bit in bits] for one, bits in zip(shown, found, strict=True)}


def viewed(job: Job, store: Store) -> dict[str, list[float]] | None:
    """What a run left for the viewer; None if nothing, or of other excerpts."""
    found = read_json(job.folder / _VIEWER)
    if found is None or found["made_with"] != viewer_key(store, job.scoring):
        return None
    bits: dict[str, list[float]] = found["bits"]
    return bits


def viewer_key(store: Store, scoring: Scoring) -> str:
    """What decides the excerpts."""
    return f"{store.manifest.fingerprint_for(())} {scoring.viewer_documents} {scoring.viewer_bytes}"


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
