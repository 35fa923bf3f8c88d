"""Where a run's figures go.

`metrics.jsonl`: one JSON object a line, always written; a resumed run continues it where its checkpoint stands. Beside
it, if asked for, TensorBoard's event files in `tensorboard/`: what is drawn there is a copy, and a copy that can't be
written never stops a run.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from byteproxy.console import say
from byteproxy.errors import InputError


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


class Sinks:
    """All places where the lines of one run in a folder go; one process of a run has them."""

    def __init__(self, folder: Path, step: int, tensorboard: bool = False) -> None:
        """Open `metrics.jsonl`, and `tensorboard/` if asked, at a step: lines of later steps are dropped.

        Raises InputError if TensorBoard is asked for and not installed.
        """
        self._tensorboard = _TensorBoard(folder / "tensorboard", step) if tensorboard else None
        self._metrics = Metrics(folder / "metrics.jsonl", step)

    def write(self, values: dict[str, Any]) -> None:
        """Append one line, which says its `step`; TensorBoard draws its numbers over that."""
        self._metrics.write(values)
        if self._tensorboard is not None:
            self._tensorboard.write(values)

    def close(self) -> None:
        """Close all of them."""
        self._metrics.close()
        if self._tensorboard is not None:
            self._tensorboard.close()


class _TensorBoard:
    """Event files in a folder, until one can't be written: from then on nothing, after one line to stderr.

    Events lie in memory for up to two minutes, so those of a killed run may lack its last ones.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise InputError("TensorBoard is not installed: pip install 'byteproxy[track]'") from error
        self._writer: SummaryWriter | None = None
        try:
            # Whoever reads the folder leaves out what older files say of this step and later ones.
            self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        except Exception as error:
            self._switch_off(error)

    def write(self, values: dict[str, Any]) -> None:
        if self._writer is None:
            return
        try:
            for name, value in _scalars(values):
                if name != "step":
                    self._writer.add_scalar(name, value, values["step"])
        except Exception as error:  # whatever it is, the run is worth more
            self._switch_off(error)

    def close(self) -> None:
        if self._writer is None:
            return
        try:
            self._writer.close()
        except Exception as error:
            self._switch_off(error)

    def _switch_off(self, error: Exception) -> None:
        say(f"TensorBoard is switched off, metrics.jsonl goes on: {error}".splitlines()[0])
        failed, self._writer = self._writer, None
        if failed is not None:
            with suppress(Exception):
                failed.close()


def _scalars(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers among nested values by their names on the way, "a/b"; None, texts, truths and lists are left out."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file; a last line that was torn by a kill is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines
