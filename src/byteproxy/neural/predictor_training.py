"""Training the neural view's predictor, by the trainer that everything else is trained by.

In a window the predictor stands at a random place of a document and has read nothing yet, so it is trained that way:
its documents are *windows*, cut out of the text at offsets that a hash of seed and text decides. Half of the text is in
windows of 64 bytes, the longest string that a symbol stands for, so that most of what is learned is how text goes on
after few bytes; half is in windows of 512, so that the same model can also tell what is hard to predict in context.
Fewer than 1 in 100 windows of code begin at the head of a file.

The windows are a prepared corpus of their own, beside the run, and are made once. Costs the text once more on disk,
some ten seconds for 30 MB, and then a run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np

from byteproxy.coins import hashes
from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.model_config import ModelConfig
from byteproxy.neural.predictor import ModelPredictor
from byteproxy.progress import Stage, quietly
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.budget import resolved
from byteproxy.train.identity import identity
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.run_config import CONFIG, read_run_config
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

Size = Literal["1m", "2m", "6m", "40m"]
SHORT, LONG = 64, 512
_LENGTH, _PHASE = np.uint64(0x51C0), np.uint64(0x51C1)

MODELS: dict[Size, tuple[ModelConfig, Shape, float]] = {
    "1m": (ModelConfig(128, 5, 2, ffn=352), Shape(8, 1024, LONG), 4e-3),
    "2m": (ModelConfig(192, 4, 3, ffn=512), Shape(8, 1024, LONG), 4e-3),
    "6m": (ModelConfig(320, 5, 5, ffn=864), Shape(8, 2048, LONG), 3e-3),
    "40m": (ModelConfig(640, 8, 10, ffn=1728), Shape(32, 2048, LONG), 2e-3),
}
"""Model, shape of a step and learning rate, by millions of parameters; rates as the recipes of like width have."""


def windows_of(texts: Iterable[bytes], seed: int) -> Iterator[Document]:
    """Each text cut into windows of 64 and 512 bytes at random offsets; a pure function of the texts and the seed."""
    for number, text in enumerate(texts):
        key = np.uint64(int.from_bytes(blake2b(text, digest_size=8, key=seed.to_bytes(8, "big")).digest(), "big"))
        most = len(text) // SHORT + 2
        is_long = hashes(key, most, _LENGTH) % np.uint64(LONG // SHORT + 1) == 0
        lengths = np.where(is_long, LONG, SHORT)
        lengths[0] = 1 + int(hashes(key, 1, _PHASE)[0]) % SHORT
        ends = np.minimum(np.cumsum(lengths), len(text))
        begin = 0
        for end in ends[: int(np.searchsorted(ends, len(text))) + 1].tolist():
            if end > begin:
                yield Document(f"{number}:{begin}", text[begin:end], "windows", "windows")
            begin = end


def trained(
    texts: Iterable[bytes], folder: Path, size: Size, stop: str, seed: int, precision: int = 16, stage: Stage = quietly
) -> ModelPredictor:
    """A predictor trained on windows of texts; what it was made with stays in `folder`, and a stopped run goes on
    there.

    stop: how long, as `TrainConfig` has it. InputError where there is no text, or not one whole window;
    KeyboardInterrupt after saving if asked to stop.
    """
    corpus = folder / "windows"
    if not (corpus / "manifest.json").exists():
        with stage("cut windows", "B") as progress:
            prepare_documents(_enough(windows_of(texts, seed)), corpus, SplitOptions(0.0, 0.0), progress=progress)
    store = Store.open(corpus)
    config = _begun(folder / "run", run_config(corpus, size, stop, seed))
    if config is None:
        config = resolved(run_config(corpus, size, stop, seed), store, stage)
    trainer = Trainer(config, store, folder / "run", stage)
    with stage("train the predictor", "steps") as progress:
        trainer.run(None, progress, stage)
    return ModelPredictor(trainer.model, precision)


def _begun(run: Path, asked: TrainConfig) -> TrainConfig | None:
    """What the run in a folder was resolved to when it began, if it is the one that is asked for."""
    if not (run / CONFIG).is_file():
        return None
    found = read_run_config(run)
    return found if identity(replace(found, stop=asked.stop, dtype=asked.dtype)) == identity(asked) else None


def run_config(corpus: Path, size: Size, stop: str, seed: int) -> TrainConfig:
    """The run that trains a predictor. Compiled only where minutes are given: that takes some itself."""
    model, shape, rate = MODELS[size]
    return TrainConfig(
        stop=stop,
        corpus=str(corpus),
        seed=seed,
        dtype="auto",
        compile=stop.endswith("minutes"),
        model=model,
        mixture=Mixture("bytes"),
        shape=shape,
        optim=OptimConfig(learning_rate=rate),
        validation=Validation(bytes=0),
        checkpoint_seconds=300.0,
    )


def _enough(windows: Iterator[Document]) -> Iterator[Document]:
    """The windows; InputError where none is whole."""
    whole = False
    for window in windows:
        whole = whole or len(window.text) >= SHORT
        yield window
    if not whole:
        raise InputError(f"the text holds no window of {SHORT} bytes to train a predictor on: give a larger corpus")
