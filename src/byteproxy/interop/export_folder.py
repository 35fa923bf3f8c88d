"""An export as a folder that appears whole or not at all, and says of each of its files what was written.

`byteproxy.json` holds size and SHA-256 of every file. Other tools ignore it; byteproxy reads every file that a model
is made of once more when it loads one, and refuses what differs. The model card is in the list, but people edit cards,
so a changed one is no reason to refuse. A folder without `byteproxy.json`, such as transformers writes, is taken as it
is. This finds damage and half copies; whoever can write to the folder can also write a list that fits.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from byteproxy.errors import InputError
from byteproxy.files import folder_aside
from byteproxy.parsing import read_json
from byteproxy.progress import silent
from byteproxy.store.format import FileInfo, file_info
from byteproxy.store.integrity import verify

CHECKSUMS = "byteproxy.json"
CARD = "README.md"
CONFIG, WEIGHTS, SHARDS = "config.json", "model.safetensors", "model.safetensors.index.json"
"""Of a model as transformers writes it."""
_FORMAT = "byteproxy-export"
_REMEDY = "export the run again, or copy the folder again"

Content: TypeAlias = bytes | Callable[[Path], None]
"""What a file holds, or what writes it to a path."""


def write_folder(folder: Path, files: Mapping[str, Content]) -> dict[str, int]:
    """Write files and their checksums as `files.folder_aside` does; gives the size of each file in bytes."""
    with folder_aside(folder) as aside:
        listed = [_written(aside / name, content) for name, content in files.items()]
        said = {file.name: {"size": file.size, "sha256": file.sha256} for file in listed}
        checksums = json.dumps({"format": _FORMAT, "version": 1, "files": said}, indent=2) + "\n"
        _written(aside / CHECKSUMS, checksums.encode())
    return {file.name: file.size for file in listed}


def _written(path: Path, content: Content) -> FileInfo:
    if callable(content):
        content(path)
    else:
        path.write_bytes(content)
    return file_info(path)


def ensure_unaltered(folder: Path) -> None:
    """Read every listed file of an export but its card; InputError naming the first that isn't what was written."""
    path = folder / CHECKSUMS
    if not path.exists() and not path.is_symlink():
        return
    try:
        content = read_json(path)
        if content["format"] != _FORMAT or content["version"] != 1:
            raise InputError(f"{path} is of another version of byteproxy: use the one that wrote it, or export again")
        listed = [FileInfo(name, said["size"], said["sha256"]) for name, said in content["files"].items()]
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged, so nothing says what this export was: {_REMEDY}") from error
    verify(
        folder,
        [file for file in listed if file.name != CARD],
        silent,
        f"{_REMEDY}, or delete {CHECKSUMS} if that was meant",
        path,
    )
