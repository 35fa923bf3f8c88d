"""What a folder of a model holds, by the names in it: a path that leads nowhere is refused before torch is imported.

A GGUF file, or a folder in which it is the only model, is a stock model with its tokenizer.
"""

from pathlib import Path
from typing import Literal

from byteproxy.errors import InputError
from byteproxy.gguf_file import gguf_in
from byteproxy.interop.export_folder import CONFIG, WEIGHTS
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.train import run_config

CONVERSION = "convert.toml"
"""The settings of `byteproxy convert`, which make a folder one of a conversion."""


def kind_of_model(folder: Path) -> Literal["run", "stock"]:
    """Whether a folder holds a run, or a stock model with or without a tokenizer; InputError where it is neither."""
    if (folder / run_config.CONFIG).is_file():
        return "run"
    if (folder / CONFIG).is_file() or gguf_in(folder) is not None:
        return "stock"
    raise InputError(
        f"{str(folder)!r} holds no model: name the folder of a run, such as runs/3m, or of a model with {CONFIG} and "
        f"{WEIGHTS}, such as runs/demo/model, or a GGUF file"
    )


def tokenizer_of(folder: Path) -> Path:
    """The tokenizer of the model in a folder; InputError where there is none."""
    if (folder / TOKENIZER).is_file():
        return folder / TOKENIZER
    file = gguf_in(folder)
    if file is None:
        raise InputError(
            f"{folder} holds no {TOKENIZER}: give the folder of a model with its tokenizer, or a GGUF file"
        )
    return file
