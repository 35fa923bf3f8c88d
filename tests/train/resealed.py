"""Checkpoints altered on purpose, whose checksums are then made to fit: whoever alters a file can alter those, too."""

import json
from dataclasses import asdict
from pathlib import Path

from byteproxy.store.format import file_info

CHECKSUMS = "checksums.json"


def reseal(checkpoint: Path) -> None:
    """Write the checksums of a checkpoint's files as they are now."""
    files = sorted(path for path in checkpoint.iterdir() if path.name != CHECKSUMS and path.is_file())
    (checkpoint / CHECKSUMS).write_text(json.dumps([asdict(file_info(path)) for path in files]))
