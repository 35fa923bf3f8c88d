"""The runs that `test_kills.py` starts: `killed.py SOURCE KIND ...`, by kind

run FOLDER WORKERS          a preparation and two views
stuck FOLDER WORKERS FAULT  one whose source never ends; FAULT "raise": but its first unit fails
moments [[where, at, folder], ...]    forks a run for each, which kills itself at that call of os.replace, os.fsync
                            or a file's write; prints how each ended
small FOLDER                on a small disk that is made larger whenever it is full; prints the errors and the files
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

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


def moments(source: Source, plans: list[tuple[str, int, str]]) -> None:
    """Run and be killed at each of the moments."""
    import tests.store.toys  # noqa: F401 (for all forks at once)

    for where, at, folder in plans:
        child = os.fork()
        if child == 0:
            killed_at(where, at)
            finish(source, Path(folder))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


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


def main(folder: str, kind: str, *more: str) -> None:
    """One of the runs above."""
    source = ToySource("toy", Path(folder))
    if kind == "moments":
        moments(source, json.loads(more[0]))
    elif kind == "small":
        small(source, Path(more[0]))
    elif kind == "run":
        finish(source, Path(more[0]), int(more[1]))
    else:
        prepare([StuckSource("toy", Path(folder), fails=more[2] == "raise")], Path(more[0]), PREPARATION, int(more[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
