"""A run's model, to write with: what its folder holds is enough, the corpus need not be there.

The checkpoint itself says how many rows its tables have, so nothing has to be known of the views. In float32, as an
exported model is, whatever the products of training were in.
"""

from pathlib import Path

import torch

from byteproxy.config import from_toml
from byteproxy.errors import InputError
from byteproxy.model.transformer import Transformer
from byteproxy.train import checkpoint
from byteproxy.train.config import TrainConfig

CONFIG = "config.toml"


def load_run(folder: Path) -> tuple[Transformer, int]:
    """The model of a run's newest checkpoint on the CPU, and the bytes of text that it was trained to see at once.

    Raises InputError where the folder holds no run, no checkpoint yet, or a damaged one.
    """
    if not (folder / CONFIG).is_file():
        raise InputError(f"{str(folder)!r} holds no run: name the folder of one, such as runs/3m")
    config = from_toml(folder / CONFIG, TrainConfig)
    found = checkpoint.newest(folder / "checkpoints")
    if found is None:
        raise InputError(f"{folder} holds no checkpoint yet: wait for its first one, or train on with --resume")
    shapes = checkpoint.shapes(found)
    try:
        rows, output_rows = shapes["embed_tokens.weight"][0], shapes["lm_head.weight"][0]
    except LookupError as error:
        raise InputError(
            f"checkpoint {found} is none of a byteproxy model: it has no {error}; name another run"
        ) from error
    model = Transformer(config.model, rows, torch.float32, output_rows=output_rows)
    checkpoint.load(found, model, [])
    return model.eval(), config.shape.passage_bytes
