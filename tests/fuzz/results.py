"""What commands give, in a form that two runs can be compared in: figures without times and paths, weights, text."""

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.fuzz import server
from tests.fuzz.server import Ended

_VARYING = re.compile(
    "seconds|rate|_s$|per_second|path|page|file|memory|pace|share_of|machine|matmul|loading|folder|out$|corpus$"
)


def figures(ended: Ended) -> str:
    """The object that a command with --json ended with, without what varies from run to run."""
    lines = ended.stdout.splitlines()
    return figures_of(lines[-1]) if lines else ""


def figures_of(content: bytes) -> str:
    """The same of an object's text."""
    return json.dumps(_kept(json.loads(content)), sort_keys=True)


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kept(one) for key, one in value.items() if not _VARYING.search(key)}
    return [_kept(one) for one in value] if isinstance(value, list) else value


def weights(run: Path) -> str:
    """A digest of a run's newest weights, "" where it has none that can be read."""
    return server.call(_weights, run)


def _weights(run: Path) -> str:
    import torch
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

    from byteproxy.train import checkpoint

    found = checkpoint.newest(run / "checkpoints")
    if found is None:
        return ""
    state: dict[str, Any] = {}
    planner = _EmptyStateDictLoadPlanner()
    _load_state_dict(state, storage_reader=FileSystemReader(found), planner=planner, no_dist=True)
    digest = sha256()

    def add(name: str, one: Any) -> None:
        if isinstance(one, dict):
            for key in sorted(one, key=str):
                add(f"{name}.{key}", one[key])
        elif isinstance(one, torch.Tensor):
            digest.update(name.encode() + one.contiguous().numpy().tobytes())

    add("", state)
    return digest.hexdigest()


def corpus(folder: Path) -> str:
    """A digest of a corpus's shards and manifest."""
    digest = sha256()
    for path in sorted([*folder.glob("shard-*"), folder / "manifest.json"]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def exported(folder: Path) -> str:
    """A digest of an export's weights, configuration and tokenizer."""
    digest = sha256()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        digest.update(name.encode() + (folder / name).read_bytes())
    return digest.hexdigest()
