"""The runs that `test_kills.py` starts: in forks, and as `killed.py SOURCE FOLDER` on a small disk.

The disk is made larger whenever it is full; prints the errors and the files.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.forks import begun, ended
from tests.store.sources import ToySource, ToyUnit
from tests.waiting import GUARD_SECONDS

from byteproxy.corpus.records import Passed, Record, Rules, Source, Unit, unheard
from byteproxy.errors import InputError
from byteproxy.store import format, staging
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import Preparation, prepare

PREPARATION = Preparation(shard_bytes=20_000, max_faulty=0.2)


def finish(source: Source, folder: Path, workers: int = 1) -> None:
    """All that is done with a corpus."""
    from tests.store.toys import FIXED, WORDS

    from byteproxy.views.bpe import BpeView

    prepare([source], folder, PREPARATION, workers)
    add_view(folder, WORDS)
    add_view(folder, BpeView.train([document.text for document in FIXED], 270))


@dataclass(frozen=True)
class StuckUnit(ToyUnit):
    """Gives a part, and then never ends."""

    fails: bool = False

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        if self.fails:
            while not list(self.path.parent.parent.glob("reading-*")):
                time.sleep(0.01)
            time.sleep(0.3)
            raise InputError("the first unit is bad")
        staging.PART_RECORDS = 1
        yield from super().read(rules, after)
        (self.path.parent.parent / f"reading-{os.getpid()}").touch()
        time.sleep(2 * GUARD_SECONDS)


@dataclass(frozen=True)
class StuckSource(ToySource):
    """Its units never end."""

    fails: bool = False

    def units(self) -> list[Unit]:
        paths = sorted(self.folder.iterdir())
        return [StuckUnit(self.name, path, self.fails and path == paths[0]) for path in paths]


def killed_at(where: str, at: int) -> None:
    """From now on, the call of that number ends this process."""
    left = at

    def counted(call: Callable[..., Any], before: Callable[..., Any] | None = None) -> Callable[..., Any]:
        def counting(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                if before is not None:
                    before(*arguments)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments)

        return counting

    def half_a_write(file: format.HashingFile, data: Any) -> None:
        assert file._file is not None
        file._file.write(memoryview(data).cast("B")[: memoryview(data).nbytes // 2])
        file._file.flush()

    def half_a_batch(file: Any, batch: Any) -> None:
        file.write(batch.serialize()[: batch.nbytes // 2])
        file.flush()

    if where == "write":
        format.HashingFile.write = counted(format.HashingFile.write, half_a_write)  # type: ignore[method-assign]
        staging.write_batch = counted(staging.write_batch, half_a_batch)
    else:
        setattr(os, where, counted(getattr(os, where)))


def stuck(source: ToySource, folder: Path, fails: bool) -> None:
    """A preparation by two readers that never ends; where it fails, its first unit does."""
    prepare([StuckSource("toy", source.folder, fails=fails)], folder, PREPARATION, 2)


def moments(source: Source, plans: list[tuple[str, int, Path]]) -> list[int]:
    """How runs ended that were killed, each in a fork, at a call of os.replace, os.fsync or a file's write."""

    def run(where: str, at: int, folder: Path) -> None:
        killed_at(where, at)
        finish(source, folder)

    return [ended(begun(partial(run, *plan))) for plan in plans]


def small(source: Source, folder: Path) -> None:
    """Run on a disk that is too small, again and again."""
    from tests.store.toys import contents

    size, errors = 40, []
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)], check=True)
    while True:
        try:
            finish(source, folder)
            break
        except InputError as error:
            errors.append(str(error))
            assert not list(folder.rglob("*.partial"))
            size += 40
            subprocess.run(["mount", "-o", f"remount,size={size}k", str(folder)], check=True)
    print(json.dumps([errors, {name: sha256(content).hexdigest() for name, content in contents(folder).items()}]))


if __name__ == "__main__":
    small(ToySource("toy", Path(sys.argv[1])), Path(sys.argv[2]))
