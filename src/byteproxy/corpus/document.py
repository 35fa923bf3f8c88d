"""A document: the unit that is read, split, encoded and stored."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Document:
    """One text as it was found.

    id: unique within a source, for example a path relative to its root.
    text: the bytes, unchanged; they need not be valid UTF-8.
    source: where it comes from, for example "stdlib-3.11".
    project: what it belongs to (package, repository); train and held-out splits are split by project.
    language: what it is written in, in small letters, for example "python"; empty where that isn't known.
    """

    id: str
    text: bytes
    source: str
    project: str
    language: str = ""
