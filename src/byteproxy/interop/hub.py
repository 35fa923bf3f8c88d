"""Models of the Hugging Face Hub, fetched into the Hub's own cache by its own client.

Only what a model needs is fetched: its config, its weights as safetensors, its tokenizer and its card. Nothing that
could run code is. A fetch that was stopped goes on, and one that is done needs no network for the same revision.
`HF_ENDPOINT` names another server, `HF_HOME` another place, `HF_TOKEN` who asks, as for every tool of the Hub.
"""

import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from byteproxy.errors import InputError
from byteproxy.interop.export_folder import CARD, CONFIG, SHARDS, WEIGHTS
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.progress import announce

_SMALL = (CONFIG, TOKENIZER, CARD)
_WEIGHTS = (WEIGHTS, SHARDS, "model-*-of-*.safetensors")
_NAME = re.compile(r"[\w.-]+/[\w.-]+")


class Fetched(NamedTuple):
    """A model in the Hub's cache. revision: the commit that it is of."""

    folder: Path
    revision: str


def hub_package() -> ModuleType:
    """The Hub's client; InputError where it isn't installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            "a model on the Hub needs the package huggingface_hub: pip install 'byteproxy[hub]'"
        ) from error
    return huggingface_hub


def fetch(name: str, revision: str = "", weights: bool = True) -> Fetched:
    """Fetch a model; on a terminal the client shows how far it is.

    name: ORG/NAME, and the revision behind an @ if it isn't the newest one. revision: in place of that.
    weights: without them a plan is all that can be made.
    Raises InputError where there is none, the Hub can't be reached, or the disk is full.
    """
    hub = hub_package()
    name, _, said = name.partition("@")
    if not _NAME.fullmatch(name):
        raise InputError(
            f"hf:{name} names no model on the Hub: give hf:ORG/NAME, such as hf:HuggingFaceTB/SmolLM2-135M"
        )
    wanted = revision or said or None
    patterns = [*_SMALL, *(_WEIGHTS if weights else ())]
    announce(f"fetching hf:{name} into the Hub's cache" if weights else f"looking at hf:{name}")
    try:
        folder = Path(hub.snapshot_download(name, revision=wanted, allow_patterns=patterns))
    except Exception as error:  # the client's own errors have no common kind
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"cannot fetch hf:{name} ({why}): check the name and the network, or name a folder") from error
    return Fetched(folder, folder.name)
