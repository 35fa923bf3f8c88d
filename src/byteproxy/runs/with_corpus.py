"""A run's model as its newest checkpoint left it, with the corpus that it was trained on, to be measured.

Only the split that is asked for later is opened; the train split is neither read nor mapped. Opening
the test split is remembered in the run's folder, because each evaluation on it that decides something makes it less of
a test.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.generate.compressed import ViewWriter
from byteproxy.generate.decoder import Engine
from byteproxy.model.network import Transformer
from byteproxy.progress import Stage, quietly
from byteproxy.runs.load import load
from byteproxy.store.format import MANIFEST
from byteproxy.store.store import Store
from byteproxy.train.run_config import read_run_config
from byteproxy.train.train_config import TrainConfig
from byteproxy.vocab import Vocab

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
    place = Path(read_run_config(folder).corpus) if corpus is None else corpus
    if not (place / MANIFEST).is_file():
        raise InputError(f"{str(place)!r}, the corpus of {folder}, is not there: say where it is with --corpus DIR")
    if place not in stores:
        stores[place] = Store.open(place)
        with stage("verify the corpus", "B") as progress:
            stores[place].ensure_unaltered(progress)
    store, loaded = stores[place], load(folder)
    assert loaded.run is not None, "its configuration was read"
    config, saved = loaded.run
    if saved["corpus"] != store.manifest.fingerprint_for(config.views):
        raise InputError(f"{folder} was trained on another corpus than {place}: name its own one with --corpus DIR")
    vocab = Vocab(tuple(store.manifest.view(view).alphabet_size for view in config.views))
    counters = saved["counters"]
    done = loaded.run.step, int(counters["flops"]), sum(counters["text_bytes"])
    return Run(name, folder, config, store, vocab, loaded.model, *done)


def view_writer(folder: Path, engine: Engine = "auto") -> ViewWriter:
    """What writes the compressed views of a run, in float32 on the CPU; InputError where its corpus is another now."""
    loaded = load(folder, "float32", "cpu")
    if loaded.run is None:
        raise InputError(f"{folder} holds no run, and only a run writes views: name the folder of one")
    config, saved = loaded.run
    store = Store.open(Path(config.corpus))
    if saved["corpus"] != store.manifest.fingerprint_for(config.views):
        raise InputError(f"{folder} was trained on another corpus than {store.path} holds now: its symbols are others")
    return ViewWriter(loaded.model, [store.view(name) for name in config.views], loaded.context, engine)


def remember_opened(run: Run, command: str, **counts: int) -> dict[str, Any]:
    """Add a line to the run's `opened.jsonl`: when, by which command, and how much of the test split was opened."""
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "command": command, "step": run.step, **counts}
    with (run.folder / OPENED).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return line
