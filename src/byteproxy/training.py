"""One run, from its configuration to its page: begun or gone on with in its folder, validated while it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import torch

from byteproxy.errors import InputError
from byteproxy.evaluate.run_figures import folder_figures
from byteproxy.evaluate.validation import validate_with
from byteproxy.lock import Hold
from byteproxy.progress import Stage, quietly
from byteproxy.ranges import ensure_one_of
from byteproxy.report.run_page import keeping_page, write_run_page, write_stopped_page
from byteproxy.runs.folder import asked_again, ensure_free, remember_asked
from byteproxy.runs.lineage import remember_lineage
from byteproxy.runs.run_chat import remember_chat
from byteproxy.runs.start import fitted, start_from
from byteproxy.store.store import Store
from byteproxy.train import parallel
from byteproxy.train.agreement import ensure_alike
from byteproxy.train.budget import resolved
from byteproxy.train.checkpoint import tidy
from byteproxy.train.compiler import device_of
from byteproxy.train.identity import ensure_same_run, identity
from byteproxy.train.parallel import held
from byteproxy.train.run_config import CHECKPOINTS, CONFIG, read_run_config, write_run_config
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer

Resume: TypeAlias = Literal["no", "if_exists", "yes"]


def _say_nothing(_: str) -> None: ...


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: Resume = "no",
    stage: Stage = quietly,
    tell: Callable[[str], None] = _say_nothing,
) -> dict[str, Any]:
    """Train a run to its last step; see `byteproxy.train`, which does so for a recipe.

    resume: with "yes", `config` is that of the run in `out` (`read_run_config`), with other values of what may change.
    tell: takes sentences for people, on rank 0.
    """
    ensure_one_of("resume", resume, get_args(Resume))
    out = Path(out)
    device_of(config.device)
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: give a folder as --out")
    if not config.corpus:
        raise InputError("corpus is empty: name the folder that `byteproxy prepare` wrote, with --corpus DIR")
    store = Store.open(Path(config.corpus))
    on_cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
    with parallel.joined("cuda" if on_cuda else "cpu", config.rank_timeout_seconds) as world:
        if world.rank:
            stage, tell = quietly, _say_nothing
        with held(out) as hold:
            done = _trained(config, store, hold, resume, stage, tell)
        if world.rank:
            return {}
        return {**folder_figures(out, done), "page": str(write_run_page(out))}


def _trained(
    asked: TrainConfig, store: Store, hold: Hold, resume: Resume, stage: Stage, tell: Callable[[str], None]
) -> TrainConfig:
    """Train, in a folder that is held; gives what the run's configuration came to."""
    folder = hold.folder
    ensure_alike(asked, store)
    known = parallel.on_rank_zero(lambda: _known_run(folder, asked, resume))
    parallel.on_rank_zero(lambda: tidy(folder / CHECKPOINTS))
    if known is None:
        config = resolved(fitted(asked, store, tell), store, stage)
    else:
        config = resolved(known.now, store, stage)
        ensure_same_run(identity(known.then), config, 0, folder)
    validate = validate_with(config, store)
    trainer = Trainer(config, store, folder, stage, start_from)
    if trainer.state.step == config.steps:
        tell(f"{folder} is finished: its {config.steps:,} steps are done.")
        return config
    parallel.on_rank_zero(lambda: _remember(trainer, store, asked if resume != "yes" else None, known is not None))
    with stage("train", "steps") as progress:
        kept = progress if trainer.world.rank else keeping_page(folder, config, progress)
        try:
            trainer.run(validate, kept, stage, hold)
        except BaseException:
            if not trainer.world.rank:
                write_stopped_page(folder)
            raise
    return config


class _Known(NamedTuple):
    """The configuration of a run that goes on: as it was, and as it is asked to be now."""

    then: TrainConfig
    now: TrainConfig


def _known_run(folder: Path, asked: TrainConfig, resume: Resume) -> _Known | None:
    """None where a new run begins; InputError where neither can be."""
    if resume == "yes":
        return _Known(read_run_config(folder), asked)
    if resume == "if_exists" and (folder / CONFIG).is_file():
        return _Known(read_run_config(folder), asked_again(folder, asked))
    ensure_free(folder)
    return None


def _remember(trainer: Trainer, store: Store, asked: TrainConfig | None, goes_on: bool) -> None:
    """Leave in the folder what was asked for, and where the run comes from; a run is no run before its configuration.

    asked: None where no run was asked for anew.
    """
    if goes_on:  # first, as what is asked for is compared with it
        write_run_config(trainer.folder, trainer.config)
    if asked is not None:
        remember_asked(trainer.folder, asked)
    remember_lineage(trainer.folder, trainer.config, store, goes_on)
    remember_chat(trainer.folder, trainer.config)
