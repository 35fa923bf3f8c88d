"""Files of a folder that aren't of the kind that is read: each is listed, and none is read."""

from collections.abc import Iterator
from dataclasses import dataclass

from byteproxy.corpus.records import OTHER_KIND, Passed, Record, Rules, key_of, unheard


@dataclass(frozen=True)
class LeftOutUnit:
    """Files that are left out.

    files: as records name them, sorted. why: one phrase for all.
    """

    source: str
    files: tuple[str, ...]
    why: str
    size: int = 0

    @property
    def what(self) -> str:
        return f"{len(self.files)} files that are left out"

    @property
    def key(self) -> str:
        return key_of("left out", self.source, self.files, self.why)

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        for place, file in enumerate(self.files[after:], after + 1):
            yield Record(place, file, 0, None, OTHER_KIND, self.why)
