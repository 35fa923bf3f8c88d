"""The demo without a model, from source files to report: prepare, train every arm at equal FLOPs, score, sample.

Its folder:

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
from dataclasses import asdict
from pathlib import Path
from typing import Any

import byteproxy
from byteproxy.checksummed import write_checksummed
from byteproxy.corpus.document import Document
from byteproxy.corpus.split import Split, ways
from byteproxy.demo.arm import ScoredText, arm_config, arm_figures, noted, trained_arm, with_flops
from byteproxy.demo.demo_folder import ARMS, BUDGET, COST, MODEL, claimed, finish
from byteproxy.demo.demo_recipe import Demo, DemoRecipe
from byteproxy.demo.demo_verdict import verdict
from byteproxy.evaluate.compressors import ppmd_bpb, xz_bpb
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.generate.choice import Sampling
from byteproxy.generate.utf8 import characters
from byteproxy.progress import Stage, quietly
from byteproxy.report.demo_page import write_demo_page
from byteproxy.runs.load import load
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.study.hardware import machine
from byteproxy.train.budget import training_rate
from byteproxy.train.compiler import fastest_dtype
from byteproxy.train.train_config import TrainConfig
from byteproxy.views.base import View
from byteproxy.views.bpe import BpeView


def run_from_scratch(
    recipe: DemoRecipe, documents: Callable[[], Iterable[Document]], out: Path, stage: Stage = quietly
) -> dict[str, Any]:
    """Run the demo without a model, or go on with it, and return its results, which can be written as JSON.

    documents: called once for the corpus.
    Raises InputError for what a user can mend, KeyboardInterrupt after saving if asked to stop.
    """
    begin = time.perf_counter()
    with claimed(out, Demo(recipe)) as going_on:
        store, view, corpus = _prepared(recipe, documents, out, stage)
        configs, budget = _equal_compute(recipe, store, view.name, out, stage)
        scoring = recipe.scoring
        test = _scored_text(recipe, store, "test", scoring.test_bytes)
        validation = _scored_text(recipe, store, "validation", scoring.validation_bytes)
        held_out = test.texts
        arms, scored = {}, {}
        for name, config in configs.items():
            trainer = trained_arm(config, store, out / ARMS / name, validation, stage)
            with stage(f"score {name}", "B") as progress:
                scored[name] = test.score(trainer.model, progress)
            arms[name] = arm_figures(trainer, scored[name].bpb)
            if name == recipe.sample.arm:
                shutil.rmtree(out / MODEL, ignore_errors=True)  # what a stopped demo left: the folder is the demo's
                load(trainer.folder, device="cpu").export(out / MODEL)
        ppmd = ppmd_bpb(held_out)
        results = {
            "byteproxy": byteproxy.__version__,
            "machine": machine(next(iter(configs.values())).dtype),
            "seed": recipe.seed,
            "minutes": recipe.minutes,
            **corpus,
            "model": {
                **json.loads(json.dumps(asdict(recipe.model))),
                "matrix_parameters": recipe.model.matrix_parameters,
                "parameters": {name: arm.pop("parameters") for name, arm in arms.items()},
            },
            "budget_flops": budget,
            "arms": arms,
            "held_out_bytes": sum(map(len, held_out)),
            "held_out_documents": len(held_out),
            "validation_text": {
                "bytes": sum(map(len, validation.texts)),
                "xz_bpb": xz_bpb(validation.texts),
                "ppmd_bpb": ppmd_bpb(validation.texts),
            },
            "xz_bpb": xz_bpb(held_out),
            "ppmd_bpb": ppmd,
            "sample": _sample(recipe, out / MODEL, stage),
            "verdict": verdict(scored, ppmd),
        }
        return finish(results, out, begin, going_on, write_demo_page)


def _scored_text(recipe: DemoRecipe, store: Store, split: Split, size: int) -> ScoredText:
    texts = held_out_texts(store, split, size, recipe.scoring.document_bytes)
    return ScoredText(texts, recipe.shape.context_bytes, recipe.scoring.stride)


def _prepared(
    recipe: DemoRecipe, documents: Callable[[], Iterable[Document]], out: Path, stage: Stage
) -> tuple[Store, View, dict[str, Any]]:
    """The corpus with its view, and what there is to tell about both."""
    corpus, views = out / "corpus", out / "views"
    with stage("prepare the corpus", "B") as progress:
        prepare_documents(documents(), corpus, recipe.split, progress=progress, near_duplicates="held_out")
    artefact = views / f"bpe-{recipe.alphabet}.json"
    path = out / COST
    if not (artefact.exists() and path.exists()):
        texts = (document.text for document in Store.open(corpus).documents("train"))
        begin = time.perf_counter()
        with stage("train the BPE view", "B") as progress:
            view = BpeView.train(texts, recipe.alphabet, progress)
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
            cost = noted(path)
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
                **noted(path),
            },
        },
    )


def _equal_compute(
    recipe: DemoRecipe, store: Store, view: str, out: Path, stage: Stage
) -> tuple[dict[str, TrainConfig], float]:
    """Every arm's configuration, with as many steps as bring it to the same FLOPs."""
    path = out / BUDGET
    if not path.exists():
        dtype = fastest_dtype() if recipe.dtype == "auto" else recipe.dtype
        with stage("measure this machine (under a minute, minutes where it is busy)", "arms") as progress:
            seconds_per_flop = 0.0
            for done, mixture in enumerate(recipe.arms.values(), 1):
                seconds_per_flop += 1 / training_rate(arm_config(recipe, mixture, view, dtype), store)
                progress(done, len(recipe.arms))
        write_checksummed(path, {"flops": recipe.minutes * 60 / seconds_per_flop, "dtype": dtype})
    budget = noted(path)
    configs = {}
    for name, mixture in recipe.arms.items():
        config = arm_config(recipe, mixture, view, budget["dtype"])
        configs[name] = with_flops(config, store, budget["flops"], recipe.scoring.evaluations)
    return configs, budget["flops"]


def _sample(recipe: DemoRecipe, folder: Path, stage: Stage) -> dict[str, Any]:
    """What the sample's model writes, loaded from a folder that holds nothing but a model of raw bytes."""
    writer = load(folder, device="cpu").writer
    sample = recipe.sample
    begin = time.perf_counter()
    written = bytearray()
    sampling = Sampling(sample.temperature, seed=recipe.seed)
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
