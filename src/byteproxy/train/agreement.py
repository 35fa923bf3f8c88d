"""What all processes of a run have to have alike, compared before they begin.

Processes of other code or another configuration would wait for each other in other places, or train another model
without a word. So each tells the others what it has, a few kilobytes, and all come to the same verdict.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import torch

import byteproxy
from byteproxy.config import to_toml
from byteproxy.errors import InputError
from byteproxy.store.store import Store
from byteproxy.train import parallel
from byteproxy.train.identity import differences
from byteproxy.train.train_config import TrainConfig

_CONFIG = "configuration"


def ensure_alike(config: TrainConfig, store: Store) -> None:
    """InputError on all ranks, naming one, where it has another configuration, corpus, torch or code than rank 0.

    Where the corpus lies may differ, and the device's name.
    """
    if parallel.world().ranks == 1:
        return
    about = {
        _CONFIG: to_toml(replace(config, corpus="", device="auto")),
        "corpus": store.manifest.fingerprint,
        "version of torch": torch.__version__,
        "code of byteproxy": _code(),
    }
    told = parallel.from_all(about)
    for rank, theirs in enumerate(told):
        for what, first in told[0].items():
            if theirs[what] != first:
                how = _difference(first, theirs[what]) if what == _CONFIG else ""
                raise InputError(f"rank {rank} has another {what} than rank 0{how}: start all with the same")


def _difference(first: str, other: str) -> str:
    found = differences(other, first)
    return f" ({found[0].field} is {found[0].then!r}, not {found[0].now!r})" if found else ""


def _code() -> str:
    """A hash of this package's source files."""
    folder = Path(byteproxy.__file__).parent
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return found.hexdigest()
