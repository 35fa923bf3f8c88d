"""Where a model comes from: `lineage.json` of a run, and of its export.

It is written once, with a checksum, before the run is one, and needs nothing but itself: neither the corpus nor the
model that the run started from has to be there when somebody asks.
"""

import hashlib
import json
import re
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import byteproxy
from byteproxy.checksummed import CHECKSUM, with_checksum, without_checksum
from byteproxy.config import from_values
from byteproxy.errors import InputError
from byteproxy.files import read_bytes, write_aside
from byteproxy.interop.export_folder import CARD
from byteproxy.interop.published import published
from byteproxy.parsing import read_json
from byteproxy.store.store import Store
from byteproxy.train.train_config import Start, TrainConfig

LINEAGE = "lineage.json"
FORMAT = 2
_MAX_CARD = 1 << 24
_FRESH_NS = 2_000_000_000
_LICENSE = re.compile(r"\A---\r?\n(?:.*\n)*?license:[ \t]*[\"']?([^\s\"']+)", re.MULTILINE)


@dataclass(frozen=True)
class Lineage:
    """What is known of a model's past; a field is empty where nobody said.

    byteproxy: version that began the run. command: that began it.
    corpus: folder of the corpus. fingerprint: of the corpus and the views. sources: bytes of text by source.
    views: names of the compressed views that the run was given.
    start: the model that the run started from. start_license: what its model card says.
    license: what the model card of this model says.
    """

    byteproxy: str = ""
    command: str = ""
    corpus: str = ""
    fingerprint: str = ""
    sources: dict[str, int] = field(default_factory=dict)
    views: tuple[str, ...] = ()
    start: Start = field(default_factory=Start)
    start_license: str = ""
    license: str = ""

    def without_places(self) -> "Lineage":
        """The same without the names of folders, for others' eyes."""
        name = Path(self.start.path).name
        return replace(self, command="", corpus="", start=replace(self.start, path=name))

    def written(self) -> bytes:
        """The content of `lineage.json`."""
        return (json.dumps(with_checksum({"format": FORMAT, **asdict(self)}), indent=2) + "\n").encode()


def remember_lineage(folder: Path, config: TrainConfig, store: Store, begun: bool = False) -> None:
    """Write where a run comes from into its folder, unless that is there; InputError where it can't be written.

    begun: the run was begun before, by a command and a version that nobody knows any more where the file is lost.
    """
    if (folder / LINEAGE).exists():
        return
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    known = Lineage(
        "" if begun else byteproxy.__version__,
        "" if begun else command,
        config.corpus,
        store.manifest.fingerprint_for(config.views),
        {name: source.bytes for name, source in store.manifest.sources.items()},
        config.views,
        config.start,
        published_license(Path(config.start.path)) if config.start.path else "",
    )
    write_aside(folder / LINEAGE, known.written())


def read_lineage(folder: Path) -> Lineage:
    """What a folder says of its model's past: nothing where it has no `lineage.json` but perhaps a card.

    Raises InputError where that file is damaged.
    """
    path = folder / LINEAGE
    if not path.exists():
        return Lineage(license=license_of(folder))
    try:
        values = read_json(path)
        if CHECKSUM in values or values["format"] == FORMAT:
            values = without_checksum(values)
        found = values.pop("format")
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): copy it again") from error
    if found != FORMAT:
        raise InputError(
            f"{path} is of format {found!r}, and this version reads {FORMAT}: use the one that wrote it, or delete the "
            "file, which says no more than where the model comes from"
        )
    return from_values(values, Lineage, path)


def recorded(path: Path) -> Start:
    """A published model as a run's configuration records it; InputError where a file of it can't be read."""
    model = published(path)
    try:
        tokenizer = {model.tokenizer_file.name if path.is_dir() else "tokenizer": model.tokenizer_file}
        chat = model.source_chat()
        return Start(
            str(path), _checksum(model.weights()), _checksum(tokenizer), "" if chat is None else chat.fingerprint
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path} holds no model that can be read ({error}): give a folder with config.json, weights as safetensors "
            "and tokenizer.json, or a GGUF file"
        ) from error


def published_license(path: Path) -> str:
    """What a published model says of its license, in its file or its model card; "" if nothing."""
    return published(path).license or license_of(path)


def license_of(folder: Path) -> str:
    """The license that the model card in a folder names in its metadata, as the Hub writes it; "" if none."""
    try:
        found = _LICENSE.match(read_bytes(folder / CARD, _MAX_CARD).decode("utf-8", "replace").partition("\n---")[0])
    except OSError:
        return ""
    return found[1] if found else ""


def _checksum(files: Mapping[str, Path]) -> str:
    """SHA-256 of files, their names and contents in order."""
    found = hashlib.sha256()
    for name, path in files.items():
        found.update(f"{name} {_digest(path)}\n".encode())
    return found.hexdigest()


def _digest(path: Path) -> str:
    """SHA-256 of a file, hashed again only if it changed since; one written a moment ago may change unseen."""
    at = path.stat()
    if time.time_ns() - at.st_mtime_ns < _FRESH_NS:
        return _hashed(path)
    return _known_digest(path, (at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns))


@lru_cache(maxsize=256)
def _known_digest(path: Path, _: tuple[int, ...]) -> str:
    return _hashed(path)


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
