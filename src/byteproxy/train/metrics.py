"""The log of a run's figures.

`metrics.jsonl`: one JSON object a line, always written; a resumed run continues it where its checkpoint stands. Each
line ends with a checksum of what stands before it, `"crc32"`, so that a damaged one is noticed: reading leaves it out,
counts it and says so, and no line but those of later steps is ever removed. Each also holds the checksum of the line
before it, `"after"`, so that lines that were taken out are noticed, unless they were the last. Beside it, if asked for,
TensorBoard's event files in `tensorboard/`: what is drawn there is a copy, and a copy that can't be written never stops
a run.
"""

import json
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.console import say
from byteproxy.errors import InputError
from byteproxy.files import read_bytes, write_aside
from byteproxy.train.run_config import METRICS

_CHECKED = re.compile(rb'(\{.*), "crc32": "([0-9a-f]{8})"\}', re.DOTALL)
_FIRST = "0" * 8
"""What the first line stands after."""
_MAX_NAMED = 10
_MAX_BYTES = 1 << 32  # ten million lines


class Log(NamedTuple):
    """The lines of a metrics file. Of those in it, from 1: damaged: that could not be read. gaps: before which some
    were taken out.
    """

    lines: list[dict[str, Any]]
    damaged: list[int]
    gaps: list[int]


class Metrics:
    """Where the lines of one run go, opened at a step: lines of later steps are dropped."""

    def __init__(self, folder: Path, step: int, tensorboard: bool = False) -> None:
        """Open `metrics.jsonl`, and `tensorboard/` if asked.

        Raises InputError if TensorBoard is asked for and not installed, or `metrics.jsonl` can't be read or written.
        """
        self._tensorboard = _TensorBoard(folder / "tensorboard", step) if tensorboard else None
        self._path = path = folder / METRICS
        try:
            content = read_bytes(path, _MAX_BYTES) if path.exists() else b""
            kept = _up_to(content, step)
            if kept != content:
                write_aside(path, kept)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._after = _checksum_of_last(kept)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        except OSError as error:
            raise InputError(f"cannot write {path} ({error.strerror}): free space or check rights") from error

    def write(self, values: dict[str, Any]) -> None:
        """Append one line, which says its `step`, whole or not at all; TensorBoard draws its numbers over that.

        Raises InputError if it can't be appended to `metrics.jsonl`.
        """
        line, begin = _line(values, self._after), os.fstat(self._file).st_size
        with self._written():
            try:
                _write_all(self._file, line)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._file, begin)
                raise
        self._after = _checksum(line)
        if self._tensorboard is not None:
            self._tensorboard.write(values)

    def sync(self) -> None:
        """Make what was written to `metrics.jsonl` outlast a power cut."""
        with self._written():
            os.fsync(self._file)

    def close(self) -> None:
        """Close all files."""
        os.close(self._file)
        if self._tensorboard is not None:
            self._tensorboard.close()

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InputError(f"cannot write {self._path} ({error.strerror}): free space, then --resume") from error


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
    """The sound lines of a metrics file; none where there is no file.

    Where lines are damaged or were taken out, a warning on stderr says which, once a process. A last line that was torn
    by a kill is left out without a word, as the run writes it again.
    """
    lines, damaged, gaps = read_log(path)
    what = "line is" if len(damaged) == 1 else "lines are"
    _warn(path, damaged, f"{len(damaged)} {what} damaged and left out")
    _warn(path, gaps, "lines were taken out before those of these numbers")
    return lines


def _warn(path: Path, numbers: list[int], what: str) -> None:
    """Say something of lines, with their numbers, once a process; nothing if there are none."""
    warned = (str(path), what, tuple(numbers))
    if numbers and warned not in _WARNED:
        _WARNED.add(warned)
        named = ", ".join(map(str, numbers[:_MAX_NAMED])) + (", ..." if len(numbers) > _MAX_NAMED else "")
        say(f"{path}: {what} ({named})")


def read_log(path: Path) -> Log:
    """The sound lines of a metrics file, and which others there are; nothing where no file can be read."""
    try:
        parts = list(_parsed(read_bytes(path, _MAX_BYTES)))
    except FileNotFoundError:
        return Log([], [], [])
    except OSError:
        return Log([], [1], [])
    lines = [part.values for part in parts if part.values is not None]
    damaged = [part.number for part in parts if part.values is None and not part.torn]
    return Log(lines, damaged, [part.number for part in parts if part.gap])


_WARNED: set[tuple[str, str, tuple[int, ...]]] = set()


class _Part(NamedTuple):
    """A line as it stands in the file. values: None where it is damaged. torn: the last one, and not ended.

    gap: whether lines that stood before it aren't there.
    """

    number: int
    raw: bytes
    values: dict[str, Any] | None
    torn: bool
    gap: bool


def _parsed(content: bytes) -> Iterator[_Part]:
    raws = content.split(b"\n")
    before: str | None = _FIRST
    for number, raw in enumerate(raws, 1):
        last = number == len(raws)
        if last and not raw:
            return
        values = _values(raw)
        after = None if values is None else values.pop("after", None)
        yield _Part(number, raw, values, last, None not in (after, before) and after != before)
        before = None if values is None else _checksum(raw)


def _values(raw: bytes) -> dict[str, Any] | None:
    """What a line says; None if it is damaged, as every line has a checksum."""
    match = _CHECKED.fullmatch(raw)
    if match is None or zlib.crc32(match[1]) != int(match[2], 16):
        return None
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return None
    values.pop("crc32", None)
    return values


def _checksum(raw: bytes) -> str | None:
    """What a line says that its checksum is."""
    match = _CHECKED.fullmatch(raw.rstrip(b"\n"))
    return None if match is None else match[2].decode()


def _checksum_of_last(content: bytes) -> str | None:
    """What the next line is to stand after; None where the last line is damaged."""
    if not content:
        return _FIRST
    raw = content.rstrip(b"\n").rpartition(b"\n")[2]
    return None if _values(raw) is None else _checksum(raw)


def _line(values: dict[str, Any], after: str | None) -> bytes:
    body = json.dumps({**values, "after": after}).removesuffix("}").encode()
    return body + f', "crc32": "{zlib.crc32(body):08x}"}}\n'.encode()


def _up_to(content: bytes, step: int) -> bytes:
    """A file's lines up to a step; damaged ones among them stay as they are, for whoever can mend them."""
    kept: list[bytes] = []
    later = False
    for part in _parsed(content):
        if part.values is not None:
            later = part.values["step"] > step
        if not later and not (part.torn and part.values is None):
            kept.append(part.raw + b"\n")
    return b"".join(kept)


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
