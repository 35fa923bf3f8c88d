"""The splits of a corpus: what is asked for, and how each part of the text was split. `dividing.py` does it."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias

from byteproxy.errors import InputError
from byteproxy.ranges import ensure_in_range, ranged

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
By: TypeAlias = Literal["project", "file", "place", ""]
"""What goes to a split as a whole; empty where nothing does: not asked for, or too little text."""


@dataclass(frozen=True)
class SplitOptions:
    """The shares that are held out, a salt that draws another split, and projects that are held out on purpose.

    validation: share of the bytes of text in [0, 1), for choosing between settings.
    test: share of the bytes of text in [0, 1), for what is reported.
    salt: any text; another one gives another split of the same shares.
    hold_out: projects, each as NAME or SOURCE/NAME, in the test split, or with "validation:" before it in that. They
        count towards the shares.
    """

    validation: float = ranged(0.05, 0.0, 1.0, below=True)
    test: float = ranged(0.10, 0.0, 1.0, below=True)
    salt: str = ""
    hold_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ensure_in_range(self, "split.")
        if self.validation + self.test >= 1:
            raise InputError(
                f"split.validation {self.validation} and split.test {self.test} leave nothing to train on: "
                "give fractions that sum to less than 1"
            )
        splits: dict[str, int] = {}
        for split, name in self.named:
            if not name:
                raise InputError("split.hold_out has no name of a project in it: give NAME, or validation:NAME")
            if splits.setdefault(name, split) != split:
                raise InputError(f"split.hold_out puts {name} in both held-out splits: name it once")

    @property
    def holds_out(self) -> bool:
        """Whether anything is asked for on a held-out split."""
        return self.validation + self.test > 0 or bool(self.hold_out)

    @property
    def named(self) -> list[tuple[int, str]]:
        """Side, as a number, and name of each project that is held out on purpose."""
        found = []
        for entry in self.hold_out:
            split, colon, name = entry.partition(":")
            known = bool(colon) and split in ("validation", "test")
            found.append((SPLITS.index(split), name) if known else (SPLITS.index("test"), entry))
        return found

    def draw(self, name: str) -> int:
        """64 random bits that depend on nothing but the salt and a name."""
        key = f"{len(self.salt)}:{self.salt}{name}".encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


@dataclass(frozen=True)
class SplitGroup:
    """How the text of one source in one language was split, or that of all its languages with little text together.

    language: None for those together, of which there are `languages`.
    documents, bytes, projects: of the projects that count for this group, before near-duplicates were dropped.
    validation, test: what went to these splits as a whole. validation_bytes, test_bytes: of text, as far as they came.
    gap_bytes: of text between splits, shown to nobody.
    """

    source: str
    language: str | None
    languages: int
    documents: int
    bytes: int
    projects: int
    validation: By
    test: By
    validation_bytes: int
    test_bytes: int
    gap_bytes: int = 0

    @property
    def divides_projects(self) -> bool:
        """Whether a project of this group may be in two splits."""
        return not {self.validation, self.test} <= {"project", ""}


def ways(groups: Iterable[SplitGroup]) -> list[By]:
    """The ways in which some groups were split, in order: "project", "file", "place"; none for no groups."""
    return sorted({by for group in groups for by in (group.validation, group.test) if by})
