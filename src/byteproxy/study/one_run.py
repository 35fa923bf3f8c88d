"""Run one run of a study: train it in its folder, score it on held-out text, leave its figures in `result.json`.

A run goes on from its newest checkpoint, and one that is trained but was never scored is only scored. A trial leaves
nothing but its figures; a final run also leaves its newest checkpoint, for the test split and for later use. In a study
that keeps no models, whose checkpoints may take gigabytes each, it leaves its scores of the test split instead, sealed.
"""

import hashlib
import shutil
import time
from typing import Any

from byteproxy.checksummed import write_checksummed
from byteproxy.config import to_toml
from byteproxy.corpus.document import Document
from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb, view_byte_bits
from byteproxy.evaluate.robustness import raw_cost, token_cost
from byteproxy.generate.score import Scored, byte_bits, score
from byteproxy.model.network import Transformer
from byteproxy.parsing import read_json
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.runs.lineage import remember_lineage
from byteproxy.runs.run_chat import remember_chat
from byteproxy.runs.start import start_from
from byteproxy.runs.with_corpus import open_runs
from byteproxy.store.store import Store
from byteproxy.study.queue import Job
from byteproxy.study.robust_runs import robustness
from byteproxy.study.run_files import (
    BEGUN,
    RESULT,
    RunScores,
    begun,
    scores,
    seal_scores,
    unseal_scores,
    write_scores,
    write_viewed,
)
from byteproxy.study.split_texts import curve_texts, excerpts, split_texts
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
    trainer = Trainer(job.config, store, job.folder, start_from=start_from)
    remember_lineage(job.folder, job.config, store, begun=trainer.state.step > 0)
    remember_chat(job.folder, job.config)
    with stage(f"train {job.key.name}", "steps") as progress:
        diverged = _train(job, trainer, store, until, progress)
    if diverged:
        write_checksummed(job.folder / RESULT, {**_figures(job, trainer), "validation_bpb": None, "diverged": diverged})
        _tidy(job)
        return
    vocab = trainer.stream.vocab
    with stage(f"score {job.key.name}", "B") as progress:
        texts = split_texts(store, job.scoring, "validation")
        final = job.key.kind == "final"  # what chooses among trials is their figure alone
        scored = _all_scored(job, trainer.model, vocab, store, texts, progress, tokens=final)
    if final:
        write_scores(job, store, "validation", scored)
    if final and not job.keeps_model:
        with stage(f"score {job.key.name} on the test split, sealed", "B") as progress:
            texts = split_texts(store, job.scoring, "test")
            seal_scores(job, store, _all_scored(job, trainer.model, vocab, store, texts, progress))
    if job.viewed:
        bits = _byte_bits(job, trainer.model, vocab, store, excerpts(store, job.scoring))
        write_viewed(job, store, bits)
    more: dict[str, Any] = {} if scored.tokens is None else {"token_bpb": scored.tokens.bpb}
    if job.robust:
        with stage(f"score {job.key.name} on typing errors and cut prompts", "forms") as progress:
            more["robustness"] = _robustness(job, trainer.model, vocab, store)
            progress(1, 1)
    write_checksummed(job.folder / RESULT, {**_figures(job, trainer), "validation_bpb": scored.main.bpb, **more})
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
        return {"view_bpb" if job.view else "raw_bpb": _scored(job, model, vocab, store, texts, job.view, silent).bpb}

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
    newest = checkpoint.newest(where) if job.keeps_model else None
    for path in where.iterdir() if where.exists() else ():
        if path != newest:
            shutil.rmtree(path)
    if newest is None:
        shutil.rmtree(where, ignore_errors=True)


def score_test(job: Job, store: Store, stage: Stage = quietly) -> None:
    """Score a finished run on the test split, unless that is done. The caller says in `opened.jsonl` that it is.

    Raises InputError where the run's checkpoint is gone.
    """
    if scores(job, store, "test") is not None or unseal_scores(job, store):
        return
    if checkpoint.newest(job.folder / "checkpoints") is None:
        raise InputError(
            "it kept no model, and its sealed scores are of other text or gone: delete its folder, and it is trained "
            "again"
        )
    (run,) = open_runs([job.folder], store.path)
    with stage(f"test {job.key.name}", "B") as progress:
        texts = split_texts(store, job.scoring, "test")
        write_scores(job, store, "test", _all_scored(job, run.model, run.vocab, store, texts, progress))


def _all_scored(
    job: Job,
    model: Transformer,
    vocab: Vocab,
    store: Store,
    texts: list[bytes],
    progress: Progress,
    tokens: bool = True,
) -> RunScores:
    """Texts as its arm is judged, and, with `tokens`, as the tokens that its model began with, where it has these."""
    main = _scored(job, model, vocab, store, texts, job.view, progress)
    if not (tokens and job.tokens):
        return RunScores(main)
    return RunScores(main, _scored(job, model, vocab, store, texts, job.tokens, silent))


def _scored(
    job: Job, model: Transformer, vocab: Vocab, store: Store, texts: list[bytes], view: str, progress: Progress
) -> Scored:
    """Texts as the symbols of a view, or as raw bytes where none is named."""
    training = model.training
    model.eval()
    window, stride = job.config.shape.context_bytes, job.scoring.stride
    if view:
        found = view_bpb(model, vocab, 1, store.view(view), texts, window, stride, progress)
    else:
        found = score(model, texts, window, stride, progress=progress)
    model.train(training)
    return found


def _robustness(job: Job, model: Transformer, vocab: Vocab, store: Store) -> dict[str, Any]:
    """What typing errors and cut prompts cost, by form: as raw bytes, and as tokens where the run is scored on them."""
    model.eval()
    window, stride, costs = job.config.shape.context_bytes, job.scoring.stride, {}
    if not job.view:
        costs["raw"] = raw_cost(model, window, stride)
    if job.view or job.tokens:
        view = store.view(job.view or job.tokens)
        costs["tokens"] = token_cost(model, vocab, 1, view, window, stride)
    return robustness(costs, store, job.scoring, job.robust, window)


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
