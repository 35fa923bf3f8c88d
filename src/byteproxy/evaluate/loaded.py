"""A run's model as its newest checkpoint left it, with the corpus that it was trained on, to be measured.

What is opened of the corpus is the side that is asked for later; its train side is neither read nor mapped. Opening the
test side is remembered in the run's folder, because each look at it that decides something makes it less of a test.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.model.network import Transformer
from byteproxy.progress import Stage, quietly
from byteproxy.store.format import MANIFEST
from byteproxy.store.store import Store
from byteproxy.train import checkpoint
from byteproxy.train.compiler import device_of
from byteproxy.train.config import DTYPES, TrainConfig
from byteproxy.train.saved import ensure_agreement, of_newest
from byteproxy.vocab import FIRST_SYMBOL, Vocab

OPENED = "opened.jsonl"


class Run(NamedTuple):
    """A run to be measured. name: what people call it. step: optimizer steps that its model has taken.

    flops, text_bytes: training FLOPs, and bytes of text that it was shown, up to there; None where that isn't known.
    """

    name: str
    folder: Path
    config: TrainConfig
    store: Store
    vocab: Vocab
    model: Transformer
    step: int
    flops: int | None = None
    text_bytes: int | None = None


def open_runs(folders: list[Path], corpus: Path | None = None, stage: Stage = quietly) -> list[Run]:
    """The runs in folders that `byteproxy train` left, each on what is there of cpu, cuda and mps.

    corpus: where the corpus is now, if that isn't where the runs found it.
    stage: shows the corpora being verified, in bytes.
    Raises InputError where a folder holds no run, or its corpus isn't the one that it was trained on.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("a run is named twice: name each once")
    names = [folder.resolve().name for folder in folders]
    stores: dict[Path, Store] = {}
    return [
        _opened(folder, name if names.count(name) == 1 else str(folder), corpus, stores, stage)
        for folder, name in zip(folders, names, strict=True)
    ]


def _opened(folder: Path, name: str, corpus: Path | None, stores: dict[Path, Store], stage: Stage) -> Run:
    def read(config: TrainConfig, found: Path) -> Run:
        return _read(folder, name, config, found, corpus, stores, stage)

    return of_newest(folder, read)


def _read(
    folder: Path,
    name: str,
    config: TrainConfig,
    found: Path,
    corpus: Path | None,
    stores: dict[Path, Store],
    stage: Stage,
) -> Run:
    place = Path(config.corpus) if corpus is None else corpus
    if not (place / MANIFEST).is_file():
        raise InputError(f"{str(place)!r}, the corpus of {folder}, is not there: say where it is with --corpus DIR")
    if place not in stores:
        stores[place] = Store.open(place)
        with stage("verify the corpus", "B") as progress:
            stores[place].ensure_unaltered(progress)
    store = stores[place]
    vocab = Vocab(tuple(store.manifest.view(view).alphabet_size for view in config.views))
    model = model_for(config, vocab)
    saved = checkpoint.load(found, model, [])
    ensure_agreement(folder, config, saved)
    if saved["corpus"] != store.manifest.fingerprint_for(config.views):
        raise InputError(f"{folder} was trained on another corpus than {place}: name its own one with --corpus DIR")
    model, counters = model.to(device_of("auto")).eval(), saved["counters"]
    done = int(saved["state"]["step"]), int(counters["flops"]), sum(counters["text_bytes"])
    return Run(name, folder, config, store, vocab, model, *done)


def model_for(config: TrainConfig, vocab: Vocab) -> Transformer:
    """A model of a run's shape, attending in whatever way is the fastest here; no stream is opened for it."""
    return Transformer(
        config.model,
        FIRST_SYMBOL if config.model.composed else vocab.size,
        DTYPES[config.dtype],
        output_vocab=vocab.size if config.objective.symbols else FIRST_SYMBOL,
    )


def remember_opened(run: Run, command: str, **counts: int) -> dict[str, Any]:
    """Add a line to the run's `opened.jsonl`: when, by which command, and how much of the test side was opened."""
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "command": command, "step": run.step, **counts}
    with (run.folder / OPENED).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line
