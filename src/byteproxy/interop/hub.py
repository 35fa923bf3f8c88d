"""Models of the Hugging Face Hub, fetched into the Hub's own cache by its own client.

Only what a model needs is fetched: its config, its weights as safetensors, its tokenizer with its chat templates, and
its card; or one GGUF file and the card. Nothing that could run code outside of a sandbox is. A fetch that was stopped
goes on, and one that is done needs no network for the same revision. `HF_ENDPOINT` names another server, `HF_HOME`
another place, `HF_TOKEN` who asks, as for every tool of the Hub. A plan needs no weights: of a GGUF file, which says
what the model is before its weights, the beginning is read.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from byteproxy.errors import InputError
from byteproxy.gguf_file import copy_header, gguf_package
from byteproxy.interop.export_folder import CARD, CONFIG, SHARDS, WEIGHTS
from byteproxy.interop.source_chat import GENERATION, TEMPLATE, TEMPLATES
from byteproxy.interop.tokenizer import TOKENIZER, TOKENIZER_CONFIG
from byteproxy.progress import announce

_SMALL = (CONFIG, TOKENIZER, CARD, TOKENIZER_CONFIG, GENERATION, TEMPLATE, f"{TEMPLATES}/*.jinja")
_WEIGHTS = (WEIGHTS, SHARDS, "model-*-of-*.safetensors")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
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


def fetch(name: str, revision: str = "") -> Fetched:
    """Fetch a model; on a terminal the client shows how far it is.

    Of a repository without a config, its one GGUF file is the model.
    name: as `hub_name` takes it. revision: in place of the one in the name.
    Raises InputError where there is no model or several, the Hub can't be reached, or the disk is full.
    """
    hub, asked = hub_package(), hub_name(name)
    wanted = revision or asked.revision or None
    if asked.file:
        return _fetched_file(hub, asked.repository, asked.file, wanted)
    announce(f"fetching hf:{name} into the Hub's cache")
    folder = _snapshot(hub, asked.repository, wanted, [*_SMALL, *_WEIGHTS])
    if (folder / CONFIG).is_file():
        return Fetched(folder, folder.name)
    return _fetched_file(hub, asked.repository, _only_file(hub, asked.repository, folder), folder.name)


def look_at(name: str, into: Path, tensors: Collection[str] = ()) -> Fetched:
    """Fetch what a plan needs of a model: all but its weights.

    name: as `hub_name` takes it. into: a folder that takes what is read of a GGUF file which is not in the cache.
    tensors: names of those that are read of such a file.
    Raises InputError as `fetch` does.
    """
    hub, asked = hub_package(), hub_name(name)
    announce(f"looking at hf:{name}")
    folder = _snapshot(hub, asked.repository, asked.revision or None, [CARD] if asked.file else _SMALL)
    if not asked.file and (folder / CONFIG).is_file():
        return Fetched(folder, folder.name)
    file = asked.file or _only_file(hub, asked.repository, folder)
    if (folder / file).is_file():
        return Fetched(folder / file, folder.name)
    if file not in (files := _files(hub, asked.repository, folder)):
        raise InputError(_no_file(asked.repository, file, files))
    gguf_package()
    copy, url = into / Path(file).name, hub.hf_hub_url(asked.repository, file, revision=folder.name)
    with _mendable(asked.repository):
        size = _part(hub, url, 0, 1)[1]
        if size is None:
            announce("the server sends whole files only")
            return _fetched_file(hub, asked.repository, file, folder.name)
        copy_header(lambda begin, end: _part(hub, url, begin, end)[0], size, copy, tensors)
    return Fetched(copy, folder.name)


def _part(hub: ModuleType, url: str, begin: int, end: int) -> tuple[bytes, int | None]:
    """Bytes of a file from a place to another, fewer at its end, and its size; None: the server sends whole files."""
    utils = hub.utils
    headers = {**utils.build_hf_headers(), "Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
    with utils.http_stream_backoff(
        "GET", url, headers=headers, timeout=hub.constants.HF_HUB_DOWNLOAD_TIMEOUT
    ) as answer:
        utils.hf_raise_for_status(answer)
        said = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status_code != 206 or said is None or int(said[1]) != begin:
            return b"", None
        return answer.read(), int(said[2])


def _fetched_file(hub: ModuleType, repository: str, file: str, revision: str | None) -> Fetched:
    announce(f"fetching hf:{repository}/{file} into the Hub's cache")
    folder = _snapshot(hub, repository, revision, [file, CARD])
    if not (folder / file).is_file():
        raise InputError(_no_file(repository, file, _files(hub, repository, folder)))
    return Fetched(folder / file, folder.name)


def _no_file(repository: str, file: str, files: Sequence[str]) -> str:
    return f"hf:{repository} holds no {file}: {_told(files, repository)}"


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
            # Not list_repo_files, which asks again for half a minute where there is no network.
            siblings = hub.model_info(repository, revision=folder.name).siblings
    except InputError:
        if fetched:
            return fetched
        raise
    return sorted(one.rfilename for one in siblings or () if one.rfilename.endswith(".gguf"))


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
