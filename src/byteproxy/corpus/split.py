"""Which side of the split a project is on: train, validation or test.

The split is by project and not by document, so that held-out means new code. A project's side is a hash of its name
and of the salt: it depends on no other project and on no order, so a corpus can grow without anything changing sides.
The fractions are of projects; in bytes they come out as large as the projects are.
"""

import math
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, TypeAlias

from byteproxy.errors import InputError

Side: TypeAlias = Literal["train", "validation", "test"]
SIDES: tuple[Side, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """The fractions of projects that are held out, and a salt that draws another split.

    validation: fraction of projects in [0, 1), for choosing between settings.
    test: fraction of projects in [0, 1), for what is reported.
    salt: any text; another one gives another split of the same fractions.
    """

    validation: float = 0.05
    test: float = 0.10
    salt: str = ""

    def __post_init__(self) -> None:
        for field in ("validation", "test"):
            fraction = getattr(self, field)
            if not (math.isfinite(fraction) and 0 <= fraction < 1):
                raise InputError(f"split.{field} is {fraction}: give a fraction of at least 0 and below 1")
        if self.validation + self.test >= 1:
            raise InputError(
                f"split.validation {self.validation} and split.test {self.test} leave nothing to train on: "
                "give fractions that sum to less than 1"
            )

    def side_of(self, project: str) -> Side:
        """The side that a project and all its documents are on: a pure function of salt and name."""
        key = f"{len(self.salt)}:{self.salt}{project}".encode("utf-8", "surrogatepass")
        draw = int.from_bytes(blake2b(key, digest_size=8).digest(), "big") / 2**64
        if draw < self.test:
            return "test"
        return "validation" if draw < self.test + self.validation else "train"
