"""A run's model as its newest checkpoint left it, for whoever writes with it or gives it away.

The run's folder is enough: how many symbols the model has is read from the checkpoint, so the corpus need not be there
any more, and nothing has to be known of the views.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch

from byteproxy.config import from_toml
from byteproxy.errors import InputError
from byteproxy.model.network import Transformer
from byteproxy.train import checkpoint
from byteproxy.train.config import DTYPES, TrainConfig, differences

CONFIG = "config.toml"
MOST_TRIES = 8

T = TypeVar("T")


class SavedRun(NamedTuple):
    """A run. state: what its newest checkpoint says beside the tensors."""

    folder: Path
    config: TrainConfig
    model: Transformer
    state: dict[str, Any]


def newest_of(folder: Path) -> tuple[TrainConfig, Path]:
    """What a run was asked for, and its newest checkpoint; InputError where there is no run, or no checkpoint yet."""
    if not (folder / CONFIG).is_file():
        raise InputError(f"{str(folder)!r} holds no run: name the folder of one, such as runs/3m")
    config = from_toml(folder / CONFIG, TrainConfig)
    found = checkpoint.newest(folder / "checkpoints")
    if found is None:
        raise InputError(f"{folder} holds no checkpoint yet: wait for its first one, or train on with --resume")
    return config, found


def of_newest(folder: Path, read: Callable[[TrainConfig, Path], T]) -> T:
    """What `read` makes of a run's configuration and its newest checkpoint; every reader of runs opens them here.

    A trainer beside it removes checkpoints once it has newer ones. If that happens while one is read, the newest one
    of then is read instead.
    Raises InputError as `newest_of` and `read` do, and where checkpoints go faster than they can be read.
    """
    for _ in range(MOST_TRIES):
        config, found = newest_of(folder)
        try:
            return read(config, found)
        except InputError:
            if not checkpoint.is_gone(found):
                raise
    raise InputError(
        f"{folder} is being trained, and {MOST_TRIES} times its newest checkpoint was removed while it was read: keep "
        "more of them (train with a larger keep), or wait until the run is done"
    )


def read_run(folder: Path, dtype: torch.dtype | None = None) -> SavedRun:
    """A run from the folder that `byteproxy train` left, on the CPU.

    dtype: of activations and products; None: as the run was trained.
    Raises InputError where there is none, no checkpoint yet, or one that is damaged or another run's.
    """

    def read(config: TrainConfig, found: Path) -> SavedRun:
        ensure_agreement(folder, config, checkpoint.said(found))  # before a model of that shape is made
        vocabs = [checkpoint.rows(found, name) for name in ("embed_tokens.weight", "lm_head.weight")]
        dtype_ = DTYPES[config.dtype] if dtype is None else dtype
        model = Transformer(config.model, vocabs[0], dtype_, vocabs[1])
        state = checkpoint.load(found, model, [])
        return SavedRun(folder, config, model.eval(), state)

    return of_newest(folder, read)


def ensure_agreement(folder: Path, config: TrainConfig, state: dict[str, Any]) -> None:
    """InputError unless a run's configuration is that of its checkpoint; it may have been made longer since."""
    try:
        found = [one for one in differences(state["config"], config.identity) if one.field != "stop"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the newest checkpoint of {folder} doesn't say which run it is of: copy it again") from error
    if found:
        raise InputError(
            f"the config.toml of {folder} is not that of its checkpoint ({found[0]}): copy both of them again"
        )
