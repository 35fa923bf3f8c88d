"""Models of the Hugging Face Hub, fetched into the Hub's own cache by its own client.

Only what a model needs is fetched: its config, its weights as safetensors, its tokenizer with its chat templates, and
its card; or one GGUF file and the card. Nothing that could run code outside of a sandbox is. A fetch that was stopped
goes on, and one that is done needs no network for the same revision. `HF_ENDPOINT` names another server, `HF_HOME`
another place, `HF_TOKEN` who asks, as for every tool of the Hub.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from byteproxy.errors import InputError
from byteproxy.interop.export_folder import CARD, CONFIG, SHARDS, WEIGHTS
from byteproxy.interop.source_chat import GENERATION, TEMPLATE, TEMPLATES
from byteproxy.interop.tokenizer import TOKENIZER, TOKENIZER_CONFIG
from byteproxy.progress import announce

_SMALL = (CONFIG, TOKENIZER, CARD, TOKENIZER_CONFIG, GENERATION, TEMPLATE, f"{TEMPLATES}/*.jinja")
_WEIGHTS = (WEIGHTS, SHARDS, "model-*-of-*.safetensors")
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:/((?:[\w+-][\w.+-]*/)*[\w+-][\w.+-]*\.gguf))?(?:@(.+))?")


class HubName(NamedTuple):
    """A model on the Hub.

    repository: ORG/NAME. file: of several GGUF files the one that is meant; empty where none is named. revision: empty
    for the newest.
    """

    repository: str
    file: str
    revision: str


class Fetched(NamedTuple):
    """A model in the Hub's cache.

    path: its folder, or its GGUF file. revision: the commit that it is of.
    """

    path: Path
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


def hub_name(name: str) -> HubName:
    """What ORG/NAME[/FILE.gguf][@REVISION] names; InputError where it names no model."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise InputError(
            f"hf:{name} names no model on the Hub: give hf:ORG/NAME, such as hf:HuggingFaceTB/SmolLM2-135M, or "
            "hf:ORG/NAME/FILE.gguf"
        )
    repository, file, revision = found.groups(default="")
    return HubName(repository, file, revision)


def fetch(name: str, revision: str = "", weights: bool = True) -> Fetched:
    """Fetch a model; on a terminal the client shows how far it is.

    Of a repository without a config, its one GGUF file is the model. It is fetched for a plan, too: what the model is
    stands nowhere else.
    name: as `hub_name` takes it. revision: in place of the one in the name.
    weights: without them a plan is all that can be made.
    Raises InputError where there is no model or several, the Hub can't be reached, or the disk is full.
    """
    hub, asked = hub_package(), hub_name(name)
    wanted = revision or asked.revision or None
    if asked.file:
        return _fetched_file(hub, asked.repository, asked.file, wanted)
    patterns = [*_SMALL, *(_WEIGHTS if weights else ())]
    announce(f"fetching hf:{name} into the Hub's cache" if weights else f"looking at hf:{name}")
    folder = _snapshot(hub, asked.repository, wanted, patterns)
    if (folder / CONFIG).is_file():
        return Fetched(folder, folder.name)
    return _fetched_file(hub, asked.repository, _only_file(hub, asked.repository, folder), folder.name)


def _fetched_file(hub: ModuleType, repository: str, file: str, revision: str | None) -> Fetched:
    announce(f"fetching hf:{repository}/{file} into the Hub's cache")
    folder = _snapshot(hub, repository, revision, [file, CARD])
    if not (folder / file).is_file():
        raise InputError(f"hf:{repository} holds no {file}: {_told(_files(hub, repository, folder), repository)}")
    return Fetched(folder / file, folder.name)


def _only_file(hub: ModuleType, repository: str, folder: Path) -> str:
    """The one GGUF file of a repository without a config; InputError where there are others or none."""
    found = _files(hub, repository, folder)
    if len(found) != 1:
        raise InputError(f"hf:{repository} has no {CONFIG}: {_told(found, repository)}")
    return found[0]


def _files(hub: ModuleType, repository: str, folder: Path) -> Sequence[str]:
    """The GGUF files that a repository has at the revision of its folder; without a network those that were fetched."""
    fetched = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.gguf"))
    try:
        with _mendable(repository):
            listed = hub.list_repo_files(repository, revision=folder.name)
    except InputError:
        if fetched:
            return fetched
        raise
    return sorted(name for name in listed if name.endswith(".gguf"))


def _told(files: Sequence[str], repository: str) -> str:
    """What GGUF files there are, and how to name one."""
    if not files:
        return "it holds no GGUF file either, so name another model"
    return f"name one of its GGUF files ({', '.join(files)}), such as hf:{repository}/{files[0]}"


def _snapshot(hub: ModuleType, repository: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """The folder in the Hub's cache with those files of a repository that are wanted and there."""
    with _mendable(repository):
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))


@contextmanager
def _mendable(repository: str) -> Iterator[None]:
    """InputError for what a user can mend: a wrong name, no right to read, no network, no disk."""
    known = import_module("huggingface_hub.errors")
    kinds: tuple[type[Exception], ...] = (
        *(OSError, known.HTTPError, known.HFValidationError, known.EntryNotFoundError),
        *(known.RevisionResolutionError, known.XetDownloadError, known.CorruptedCacheException),
    )
    try:
        yield
    except kinds as error:
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"cannot fetch hf:{repository} ({why}): check the name and the network, or name a folder"
        ) from error
