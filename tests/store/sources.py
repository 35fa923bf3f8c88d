"""Sources of a few small files, for the tests of the store; nothing here is slow to import into other processes."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from byteproxy.corpus.document import Document
from byteproxy.corpus.records import BROKEN_JSON, Passed, Record, Rules, Unit, judged, unheard


@dataclass(frozen=True)
class ToyUnit:
    """A file of one JSON object a line."""

    source: str
    path: Path

    @property
    def what(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @property
    def key(self) -> str:
        state = self.path.stat()
        return sha256(repr((str(self.path), state.st_size, state.st_mtime_ns)).encode()).hexdigest()

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        for place, line in enumerate(self.path.read_bytes().splitlines(), start=1):
            if place > after:
                yield self._record(place, line, rules)

    def _record(self, place: int, line: bytes, rules: Rules) -> Record:
        try:
            found = json.loads(line)
        except ValueError as error:
            return Record(place, self.path.name, place, None, BROKEN_JSON, str(error))
        text, reason, detail = judged(found.pop("text").encode("latin-1"), rules)
        document = None if text is None else Document(text=text, source=self.source, **found)
        return Record(place, self.path.name, place, document, reason, detail)


@dataclass(frozen=True)
class ToySource:
    """The files of a folder, a unit each."""

    name: str
    folder: Path
    weight: float = 1.0

    def units(self) -> list[Unit]:
        return [ToyUnit(self.name, path) for path in sorted(self.folder.iterdir())]


def a_source(folder: Path, files: list[list[Document | str]], name: str = "toy", weight: float = 1.0) -> ToySource:
    """A source of these documents, file by file; a string is a line that is no JSON."""
    folder.mkdir()
    for number, documents in enumerate(files):
        lines = [one if isinstance(one, str) else json.dumps(_told(one)) for one in documents]
        (folder / f"{number:03d}.jsonl").write_text("".join(line + "\n" for line in lines))
    return ToySource(name, folder, weight)


def _told(document: Document) -> dict[str, str]:
    names = {name: getattr(document, name) for name in ("id", "project", "language")}
    return {**names, "text": document.text.decode("latin-1")}
