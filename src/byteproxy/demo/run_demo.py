"""Run a demo from source files to report: prepare, train every arm at equal FLOPs, score, sample.

The folder of a demo:

    demo.toml     what was asked for            corpus/    the prepared corpus, see `store`
    budget.json   FLOPs of each arm             views/     the compressor, needed for training only
    arms/<name>/  a run each, see `train`       model/     the sample's model as `byteproxy export` writes it
    results.json  all figures                   report.html

Every stage finds what is already there, so a stopped demo goes on where it was. A folder that was begun with other
settings, or is finished, is started clean. Only one demo works in a folder at a time.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import byteproxy
from byteproxy.checksummed import read_checksummed, write_checksummed
from byteproxy.corpus.document import Document
from byteproxy.corpus.split import ways
from byteproxy.demo.demo_folder import BUDGET, COST, claimed
from byteproxy.demo.demo_recipe import DemoRecipe
from byteproxy.demo.demo_verdict import verdict
from byteproxy.evaluate.compressors import ppmd_bpb, xz_bpb
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.files import write_aside
from byteproxy.generate.choice import Sampling
from byteproxy.generate.score import Scored, score
from byteproxy.generate.utf8 import characters
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.network import Transformer
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.report.demo_page import write_demo_page
from byteproxy.runs.lineage import remember_lineage
from byteproxy.runs.load import load
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.study.hardware import machine
from byteproxy.study.study_folder import REPORT, RESULTS
from byteproxy.train.budget import steps_for_flops, training_rate
from byteproxy.train.compiler import fastest_dtype
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.train_config import TrainConfig, steps
from byteproxy.train.trainer import Trainer
from byteproxy.views.base import View
from byteproxy.views.bpe import BpeView

MIN_STEPS = 8  # of an arm, however small the budget is
_APART = 4  # steps between two evaluations on the validation split, at least


def run_demo(
    study: DemoRecipe, documents: Callable[[], Iterable[Document]], out: Path, stage: Stage = quietly
) -> dict[str, Any]:
    """Run a study, or go on with it, and return its results, which can be written as JSON.

    documents: called once for the corpus.
    Raises InputError for what a user can mend, KeyboardInterrupt after saving if asked to stop.
    """
    begin = time.perf_counter()
    with claimed(out, study) as going_on:
        store, view, corpus = _prepared(study, documents, out, stage)
        configs, budget = _equal_compute(study, store, view.name, out, stage)
        scoring = study.scoring
        held_out = held_out_texts(store, "test", scoring.test_bytes, scoring.document_bytes)
        curve_text = held_out_texts(store, "validation", scoring.validation_bytes, scoring.document_bytes)
        arms, scored = {}, {}
        for name, config in configs.items():
            trainer = _trained(study, config, store, out / "arms" / name, curve_text, stage)
            with stage(f"score {name}", "B") as progress:
                scored[name] = _score(study, trainer, held_out, progress)
            arms[name] = _arm_figures(trainer, scored[name])
            if name == study.sample.arm:
                shutil.rmtree(out / "model", ignore_errors=True)  # what a stopped demo left: the folder is the demo's
                load(trainer.folder, device="cpu").export(out / "model")
        ppmd = ppmd_bpb(held_out)
        results = {
            "byteproxy": byteproxy.__version__,
            "machine": machine(next(iter(configs.values())).dtype),
            "seed": study.seed,
            "minutes": study.minutes,
            **corpus,
            "model": {
                **json.loads(json.dumps(asdict(study.model))),
                "matrix_parameters": study.model.matrix_parameters,
                "parameters": {name: arm.pop("parameters") for name, arm in arms.items()},
            },
            "budget_flops": budget,
            "arms": arms,
            "held_out_bytes": sum(map(len, held_out)),
            "held_out_documents": len(held_out),
            "validation_text": {
                "bytes": sum(map(len, curve_text)),
                "xz_bpb": xz_bpb(curve_text),
                "ppmd_bpb": ppmd_bpb(curve_text),
            },
            "xz_bpb": xz_bpb(held_out),
            "ppmd_bpb": ppmd,
            "sample": _sample(study, out / "model", stage),
            "verdict": verdict(scored, ppmd),
            "resumed": going_on,
            "total_seconds": round(time.perf_counter() - begin, 1),
            "report": str(out / REPORT),
        }
        write_demo_page(results, out / REPORT)
        write_aside(out / RESULTS, json.dumps(results, indent=1).encode())
    return results


def _prepared(
    study: DemoRecipe, documents: Callable[[], Iterable[Document]], out: Path, stage: Stage
) -> tuple[Store, View, dict[str, Any]]:
    """The corpus with its view, and what there is to tell about both."""
    corpus, views = out / "corpus", out / "views"
    with stage("prepare the corpus", "B") as progress:
        prepare_documents(documents(), corpus, study.split, progress=progress, near_duplicates="held_out")
    artefact = views / f"bpe-{study.alphabet}.json"
    path = out / COST
    if not (artefact.exists() and path.exists()):
        texts = (document.text for document in Store.open(corpus).documents("train"))
        begin = time.perf_counter()
        with stage("train the BPE view", "B") as progress:
            view = BpeView.train(texts, study.alphabet, progress)
        views.mkdir(exist_ok=True)
        view.save(artefact)
        write_checksummed(path, {"train_seconds": time.perf_counter() - begin, "encode_seconds": 0.0})
    view = BpeView.load(artefact)
    if view.name not in [entry.name for entry in Store.open(corpus).manifest.views]:
        begin = time.perf_counter()
        try:
            with stage("encode the corpus", "B") as progress:
                add_view(corpus, view, progress)
        finally:  # stopped halfway, the time counts too: the rest is all that the next run encodes
            cost = _noted(path)
            write_checksummed(path, {**cost, "encode_seconds": cost["encode_seconds"] + time.perf_counter() - begin})
    store = Store.open(corpus)
    with stage("verify the corpus", "B") as progress:
        store.ensure_unaltered(progress)
    manifest = store.manifest
    entry = manifest.view(view.name)
    splits = {name: asdict(split) for name, split in manifest.splits.items()}
    return (
        store,
        view,
        {
            "corpus": {
                "source": ", ".join(manifest.sources),
                "documents": sum(split["documents"] for split in splits.values()),
                "bytes": sum(split["bytes"] for split in splits.values()),
                "rejected": dict(manifest.rejected),
                "splits": splits,
                "split_by": ways(manifest.groups),
            },
            "view": {
                "name": view.name,
                "alphabet_size": view.alphabet_size,
                "bytes_per_symbol": entry.bytes_per_symbol,
                **_noted(path),
            },
        },
    )


def _equal_compute(
    study: DemoRecipe, store: Store, view: str, out: Path, stage: Stage
) -> tuple[dict[str, TrainConfig], float]:
    """Every arm's configuration, with as many steps as bring it to the same FLOPs."""
    path = out / BUDGET
    if not path.exists():
        dtype = fastest_dtype() if study.dtype == "auto" else study.dtype
        with stage("measure this machine (under a minute, minutes where it is busy)", "arms") as progress:
            seconds_per_flop = 0.0
            for done, mixture in enumerate(study.arms.values(), 1):
                seconds_per_flop += 1 / training_rate(_config(study, mixture, view, dtype), store)
                progress(done, len(study.arms))
        write_checksummed(path, {"flops": study.minutes * 60 / seconds_per_flop, "dtype": dtype})
    budget = _noted(path)
    configs = {}
    for name, mixture in study.arms.items():
        config = _config(study, mixture, view, budget["dtype"])
        count = steps_for_flops(budget["flops"], config, store, MIN_STEPS)
        every = max(_APART, -(-count // study.scoring.evaluations))
        configs[name] = replace(config, stop=steps(count), validate_every=every)
    return configs, budget["flops"]


def _config(study: DemoRecipe, mixture: Mixture, view: str, dtype: str) -> TrainConfig:
    return TrainConfig(
        seed=study.seed,
        views=(view,) if mixture.needs_view else (),
        dtype=dtype,
        model=study.model,
        mixture=mixture,
        shape=study.shape,
        optim=study.optim,
    )


def _trained(
    study: DemoRecipe, config: TrainConfig, store: Store, folder: Path, texts: list[bytes], stage: Stage
) -> Trainer:
    """An arm that is trained; its curve is of these texts."""
    trainer = Trainer(config, store, folder)
    remember_lineage(trainer.folder, config, store)

    def validate(model: Transformer) -> dict[str, float]:
        return {"raw_bpb": _score(study, trainer, texts, silent).bpb}

    with stage(f"train {folder.name}", "steps") as progress:
        trainer.run(validate, progress, stage)
    return trainer


def _score(study: DemoRecipe, trainer: Trainer, texts: list[bytes], progress: Progress) -> Scored:
    return score(trainer.model, texts, study.shape.context_bytes, study.scoring.stride, progress=progress)


def _arm_figures(trainer: Trainer, scored: Scored) -> dict[str, Any]:
    counters = trainer.counters
    lines = read_metrics(trainer.folder / "metrics.jsonl")
    return {
        "raw_bpb": scored.bpb,
        **counters.seen(),
        "steps": trainer.config.steps,
        "loading_share": counters.loading_seconds / counters.seconds,
        "compressed_share": {
            "asked": counters.asked_rate / trainer.config.steps,
            **counters.compressed_share(),
        },
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "curve": [line for line in lines if "loss" in line],
        "validation": [line for line in lines if "raw_bpb" in line],
    }


def _sample(study: DemoRecipe, folder: Path, stage: Stage) -> dict[str, Any]:
    """What the sample's model writes, loaded from a folder that holds nothing but a model of raw bytes."""
    writer = load(folder, device="cpu").writer
    sample = study.sample
    begin = time.perf_counter()
    written = bytearray()
    sampling = Sampling(sample.temperature, seed=study.seed)
    with stage("write a sample", "B") as progress:
        for piece in writer.stream(sample.prompt.encode(), sample.max_bytes, sampling):
            written += piece
            progress(len(written), sample.max_bytes)
    seconds = time.perf_counter() - begin
    return {
        "arm": sample.arm,
        "prompt": sample.prompt,
        "continuation": "".join(characters([bytes(written)])),
        "temperature": sample.temperature,
        "bytes_per_second": round(len(written) / seconds, 1),
        "files": sorted(path.name for path in folder.iterdir()),
    }


def _noted(path: Path) -> dict[str, Any]:
    """What an earlier stage noted; whoever holds the folder has looked that it isn't damaged."""
    found = read_checksummed(path)
    assert found is not None, "it was written before"
    return found
