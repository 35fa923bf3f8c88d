"""`config.toml`, which makes a folder a run: all that decides its weights, in a format that has a number."""

import shlex
from pathlib import Path

from byteproxy.config import from_values, to_toml, toml_of
from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.train.train_config import TrainConfig

CONFIG, CHECKPOINTS, METRICS = "config.toml", "checkpoints", "metrics.jsonl"
FORMAT = 1


def read_run_config(folder: Path) -> TrainConfig:
    """The configuration of the run in a folder; InputError where there is none, or it is of another format."""
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{str(folder)!r} holds no run: name the folder of one, such as runs/3m")
    values = toml_of(path)
    found = values.pop("format", None)
    if found != FORMAT:
        said = "names no format, so an early version wrote it" if found is None else f"is of format {found!r}"
        raise InputError(
            f"{path} {said}; this version reads format {FORMAT}: go on with the byteproxy that wrote it, or begin the "
            f"run anew by `byteproxy train {shlex.quote(str(path))} --out DIR`"
        )
    return from_values(values, TrainConfig, path)


def read_run_recipe(path: Path) -> TrainConfig:
    """The run that a TOML file describes: a recipe, or the `config.toml` of a run; InputError naming a wrong field."""
    values = toml_of(path)
    values.pop("format", None)
    return from_values(values, TrainConfig, path)


def write_run_config(folder: Path, config: TrainConfig) -> None:
    """Let a folder's `config.toml` say what its run is; InputError where that can't be written."""
    path, content = folder / CONFIG, as_written(to_toml(config))
    try:
        written = path.is_file() and path.read_bytes() == content
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror}): check rights") from error
    if not written:
        write_aside(path, content)


def as_written(toml: str) -> bytes:
    """A configuration as it stands in `config.toml`."""
    return f"format = {FORMAT}\n{toml}".encode()
