"""Source files as documents, from a folder or a single path, with their bytes unchanged.

A compressed file gives its content. A file whose first bytes aren't text is rejected, whatever its name.

A folder gives the files of known languages, or those that a pattern selects. It leaves out what a .gitignore inside
the folder excludes (a .gitignore above it and git's personal settings don't count), hidden files, symbolic links, and
what version control and Python keep for themselves.

A large file that holds most of its source is cut into documents (`large_files.py`) and forms a unit by itself. All
other units are runs of files, sorted by path, of 64 MB together. Cost: a listing with one `stat` per file, kept in
memory; reading is as fast as the disk.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from typing import NamedTuple

from byteproxy.corpus.content import HEAD_BYTES, compression_suffix, content_of, look_into, refusal
from byteproxy.corpus.decompression import Stream
from byteproxy.corpus.document import Document
from byteproxy.corpus.ignored import Patterns
from byteproxy.corpus.languages import language_of
from byteproxy.corpus.large_files import PiecesUnit, are_corpora
from byteproxy.corpus.left_out import LeftOutUnit
from byteproxy.corpus.records import (
    BAD_NAME,
    TOO_LARGE,
    UNREADABLE,
    Passed,
    Record,
    Rules,
    Unit,
    judged,
    key_of,
    unheard,
)
from byteproxy.errors import InputError

UNIT_BYTES = 64_000_000
NEVER = frozenset({".git", ".hg", ".svn", "__pycache__"})


class SourceFile(NamedTuple):
    """A file as it was when it was listed: path relative to the root, bytes, nanoseconds, what it belongs to."""

    path: str
    size: int
    mtime_ns: int
    project: str


@dataclass(frozen=True)
class FilesUnit:
    """Files of one source that are read in one go."""

    source: str
    root: str
    files: tuple[SourceFile, ...]

    @property
    def what(self) -> str:
        first = printable(self.files[0].path)
        return first if len(self.files) == 1 else f"{len(self.files)} files from {first}"

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def key(self) -> str:
        read = [(*file, _language(file.path)) for file in self.files]
        return key_of("files", self.source, read)

    def read(self, rules: Rules, after: int = 0, passed: Passed = unheard) -> Iterator[Record]:
        behind = sum(file.size for file in self.files[:after])
        for place, file in enumerate(self.files[after:], after + 1):
            yield self._record(place, file, rules)
            behind += file.size
            passed(behind)

    def _record(self, place: int, file: SourceFile, rules: Rules) -> Record:
        """The record of a file as it is now, which may not be what was listed."""
        name = printable(file.path)
        if name != file.path:
            return Record(place, name, 0, None, BAD_NAME, "rename the file, or exclude it")
        try:
            with open(os.path.join(self.root, file.path), "rb", buffering=0) as opened:
                read = _text(opened, rules.largest)
        except OSError as error:
            read = _NotRead(UNREADABLE, error.strerror or str(error))
        if isinstance(read, _NotRead):
            return Record(place, name, 0, None, *read)
        text, reason, detail = judged(read, rules)
        if text is None:
            return Record(place, name, 0, None, reason, detail)
        return Record(place, name, 0, Document(name, text, self.source, file.project, _language(name)))


class _NotRead(NamedTuple):
    """Why a file gives no text."""

    reason: str
    detail: str


def _text(file: FileIO, largest: int) -> bytes | _NotRead:
    """The text of a file, decompressed; largest: bytes that it has at most, 0 for no limit."""
    size = os.fstat(file.fileno()).st_size
    if 0 < largest < size:
        return _NotRead(TOO_LARGE, f"{size} bytes")
    read = file.readall()
    content = content_of(read[:HEAD_BYTES])
    if content.compression:
        file.seek(0)
        return _unpacked(Stream(file), largest)
    return read if content.is_text else _NotRead(*refusal(content))


def _unpacked(stream: Stream, largest: int) -> bytes | _NotRead:
    content = look_into(stream)
    if not content.is_text:
        return _NotRead(*refusal(content))
    blocks: list[bytes] = []
    size = 0
    while block := stream.read():
        size += len(block)
        if 0 < largest < size:
            return _NotRead(TOO_LARGE, f"more than {largest} bytes")
        blocks.append(block)
    if stream.damage is not None:
        return _NotRead(UNREADABLE, stream.damage.detail)
    return b"".join(blocks)


def _language(path: str) -> str:
    """The language of a file, also of one with a suffix for a compression behind the other."""
    return language_of(path.removesuffix(compression_suffix(path)))


@dataclass(frozen=True)
class FilesSource:
    """A folder of source files, or one file.

    root: absolute path.
    depth: how many folders below the root make up a project; a file that stands less deep has the folders that it has,
        and one directly in the root is a project of its own. At 0 all of it is one project, named as the source.
    include: patterns in gitignore syntax, relative to the root, of the files to take; without any, all of a known
        language are. A hidden file is taken only by a pattern that writes out a leading dot.
    exclude: patterns of files and folders to leave out.
    languages: take files of these only; empty means of any.
    left_out: files that are no text to read, and that are listed as left out.
    """

    name: str
    root: str
    weight: float = 1.0
    depth: int = 1
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def units(self) -> list[Unit]:
        """Raises InputError if there is nothing to read, or a folder that can't be listed."""
        if os.path.isfile(self.root):
            root, name = os.path.split(self.root)
            return grouped(self.name, root, [(name, printable(name))])
        left_out = set(self.left_out)
        paths = sorted(path for path, is_taken in self.walked() if is_taken and path not in left_out)
        if not paths:
            raise InputError(f"{printable(self.root)} holds no source files: looked for {self._wanted()}")
        units = grouped(self.name, self.root, [(path, self._project(path)) for path in paths])
        if self.left_out:
            why = "records in a folder of source text; name it as a source of its own to read it"
            units.append(LeftOutUnit(self.name, tuple(map(printable, self.left_out)), why))
        return units

    def _project(self, path: str) -> str:
        folders = path.split("/")[:-1]
        if not self.depth:
            return self.name
        return printable("/".join(folders[: self.depth]) or path)

    def _wanted(self) -> str:
        files = f"files that match {' or '.join(self.include)}" if self.include else "files of known languages"
        if self.languages:
            files += f", of these only {', '.join(self.languages)}"
        return f"{files}, not hidden, not ignored by a .gitignore, not excluded; give include=*.xyz for other files"

    def walked(self) -> Iterator[tuple[str, bool]]:
        """The files that nothing rules out, in any order, and whether each is to be read; into no folder ruled out."""
        exclude, include = _patterns(self.exclude), _patterns(self.include)
        hidden = _patterns(line for line in self.include if line.startswith("!") or is_hidden(line))
        taken = self.include and any(not line.startswith("!") and is_hidden(line) for line in self.include)
        waiting: list[tuple[str, tuple[tuple[str, Patterns], ...]]] = [("", (("", exclude),))]
        while waiting:
            folder, rules = waiting.pop()
            entries = _entries(self.root, folder)
            if any(entry.name == ".gitignore" and entry.is_file(follow_symlinks=False) for entry in entries):
                rules = (*rules, (folder, Patterns.read(os.path.join(self.root, folder, ".gitignore"))))
            for entry in entries:
                path = folder + entry.name
                if entry.name in NEVER or (is_hidden(path) and not taken):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if not _ruled_out(f"{path}/", rules):
                        waiting.append((f"{path}/", rules))
                elif entry.is_file(follow_symlinks=False):
                    if self.include and not (hidden if is_hidden(path) else include).covers(path):
                        continue
                    language = _language(path) if self.include else language_of(path)
                    is_named = bool(self.include or language)
                    if not _ruled_out(path, rules):
                        yield path, is_named and (not self.languages or language in self.languages)


def grouped(source: str, root: str, paths: Iterable[tuple[str, str]]) -> list[Unit]:
    """Units of about 64 MB of consecutive files, and one for each file that is cut into documents.

    root: the folder that paths are relative to.
    paths: of each file the path and the project, sorted by path.
    """
    units: list[Unit] = []
    files: list[SourceFile] = []
    size = 0

    def close() -> None:
        nonlocal size
        if files:
            units.append(FilesUnit(source, root, tuple(files)))
        files.clear()
        size = 0

    found = [_found(root, path, project) for path, project in paths]
    for file, is_corpus in zip(found, are_corpora([file.size for file in found]), strict=True):
        if is_corpus and printable(file.path) == file.path:
            close()
            units.append(PiecesUnit(source, root, *file, language=_language(file.path)))
            continue
        files.append(file)
        size += file.size
        if size >= UNIT_BYTES:
            close()
    close()
    return units


def is_hidden(path: str) -> bool:
    """Whether a name in a path, or in a pattern, begins with a dot."""
    return path.startswith(".") or "/." in path


def printable(path: str) -> str:
    """The path; where it isn't Unicode, with its bytes written as \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _patterns(lines: Iterable[str]) -> Patterns:
    return Patterns(os.fsencode(line) for line in lines)


def _entries(root: str, folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(os.path.join(root, folder)) as entries:
            return list(entries)
    except OSError as error:
        where = printable(os.path.join(root, folder))
        raise InputError(
            f"can't list {where}: {error.strerror}; make it readable, or leave it out by exclude"
        ) from None


def _ruled_out(path: str, rules: tuple[tuple[str, Patterns], ...]) -> bool:
    """Whether the path itself is excluded or ignored.

    rules: of each folder on the way down the patterns, relative to it; the first are the source's own, and nothing
        takes back what they exclude. Of the others, the deepest that speaks decides.
    """
    (_, exclude), *ignored = rules
    if exclude.verdict(path):
        return True
    for folder, patterns in reversed(ignored):
        verdict = patterns.verdict(path.removeprefix(folder))
        if verdict is not None:
            return verdict
    return False


def _found(root: str, path: str, project: str) -> SourceFile:
    """The file as it is now; one that is gone already counts nothing, and reading it says so."""
    try:
        status = os.stat(os.path.join(root, path))
    except OSError:
        return SourceFile(path, 0, 0, project)
    return SourceFile(path, status.st_size, status.st_mtime_ns, project)
