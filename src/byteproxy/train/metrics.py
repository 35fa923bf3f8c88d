"""`metrics.jsonl`: one JSON object a line, always written; a resumed run continues it where its checkpoint stands."""

import json
import os
from pathlib import Path
from typing import Any


class Metrics:
    """The metrics file of one run, opened at a step: lines of later steps are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        kept = [line for line in read(path) if line["step"] <= step] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".aside")
        with aside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in kept)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, values: dict[str, Any]) -> None:
        """Append one line."""
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was torn by a kill is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
