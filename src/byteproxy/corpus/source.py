"""Build a source from what a person types: `stdlib`, `installed`, or a path with options behind a colon.

    repositories:depth=2,languages=python|rust,weight=2
    pile/train.jsonl.zst:text=contents,project=metadata.repo
    dataset:name=web,include=*.parquet
    pages.jsonl:text=dc:description|"body, text=cleaned"

The first bytes of a file decide what it is (`content.py`), and the files of a folder what that is
(`folder_content.py`). For a folder called stdlib, write ./stdlib. `installed` stands for the Python packages beside the
running Python, each of them a project: text for studies without a network, to the extent that environments are alike.
"""

import math
import os
import re
import stat
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Literal

from byteproxy.corpus.content import Content, compression_suffix, look
from byteproxy.corpus.fields import Fields
from byteproxy.corpus.folder_content import (
    CSV,
    CSV_REMEDY,
    SUFFIXES,
    folder_content,
    is_csv,
    is_text_folder,
    kind_of,
    kinds_of_records,
    record_files,
)
from byteproxy.corpus.jsonl import JsonlUnit
from byteproxy.corpus.languages import LANGUAGES
from byteproxy.corpus.left_out import LeftOutUnit
from byteproxy.corpus.named_fields import refuse_absent
from byteproxy.corpus.parquet import TableUnit
from byteproxy.corpus.records import Source, Unit
from byteproxy.corpus.source_files import FilesSource, printable
from byteproxy.corpus.source_spec import Options, alternatives, bare, parsed
from byteproxy.corpus.stdlib import StdlibSource
from byteproxy.errors import InputError

STDLIB, INSTALLED = "stdlib", "installed"
FORMATS = ("auto", "files", "jsonl", "parquet", "arrow")
RECORD_PARTS = tuple(field.name for field in fields(Fields))
ALWAYS = ("name", "weight")
OF_FOLDERS = ("include", "exclude")
SEVERAL = (*RECORD_PARTS, *OF_FOLDERS, "languages")
OPTIONS = (*ALWAYS, "format", *RECORD_PARTS, "depth", *OF_FOLDERS, "languages")


@dataclass(frozen=True)
class RecordsSource:
    """Files of records: lines of JSON, rows of tables, in any mixture.

    root: absolute path of the folder that `files` are relative to.
    files: path and format (jsonl, parquet or arrow) of each, sorted by path.
    fields: the names under which a record has the parts of its document.
    optional: the parts whose fields were named and may be in no record all the same.
    left_out: files of the folder that are no records, and that are listed as left out.
    """

    name: str
    root: str
    files: tuple[tuple[str, str], ...]
    fields: Fields
    weight: float = 1.0
    optional: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def units(self) -> list[Unit]:
        """One for each file.

        Raises InputError if one is gone, a pointer of Git LFS, or a table that can't be read or has no text, or if
        fields that were named are in none of them.
        """
        found = [self._unit(path, kind) for path, kind in self.files]
        columns = {name: None for unit in found if isinstance(unit, TableUnit) for name in unit.check()}
        lines = [unit for unit in found if isinstance(unit, JsonlUnit)]
        refuse_absent(self.name, lines, columns, self.fields, self.optional)
        sizes = [unit.size for unit in found]
        units: list[Unit] = [
            replace(unit, usual=_usual(sizes, number)) if isinstance(unit, JsonlUnit) else unit
            for number, unit in enumerate(found)
        ]
        if self.left_out:
            why = "source text in a folder of records; name it as a source of its own to read it"
            units.append(LeftOutUnit(self.name, tuple(map(printable, self.left_out)), why))
        return units

    def _unit(self, path: str, kind: str) -> JsonlUnit | TableUnit:
        whole, file = os.path.join(self.root, path), printable(path)
        try:
            status = os.stat(whole)
        except OSError as error:
            what = f"can't read {printable(whole)}: {error.strerror}"
            raise InputError(f"{what}; put it back, or leave it out by exclude=") from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{printable(whole)} isn't a regular file; leave it out by exclude=")
        content = _looked_at(whole)
        if content.kind == "pointer" or (kind != "jsonl" and not _fits(kind, content)):
            raise InputError(_not_a(kind, whole, content) + ", or leave it out by exclude=")
        if kind == "jsonl":
            return JsonlUnit(self.name, whole, file, status.st_size, status.st_mtime_ns, self.fields)
        form: Literal["parquet", "arrow"] = "parquet" if kind == "parquet" else "arrow"
        return TableUnit(self.name, form, whole, file, status.st_size, status.st_mtime_ns, self.fields)


def sources(specs: Iterable[str]) -> list[Source]:
    """The sources that people named, in their order. Raises InputError as `source` does, and if two have one name."""
    found: dict[str, tuple[str, Source]] = {}
    for spec in specs:
        read = source(spec)
        if read.name in found:
            first = found[read.name][0]
            raise InputError(f"{first} and {spec} are both named {read.name}: give one another name by name=")
        found[read.name] = (spec, read)
    return [read for _, read in found.values()]


def source(spec: str) -> Source:
    """The source that a person named: `stdlib`, `installed` or PATH, and `:option=value,...` where wanted.

    name: for manifests; without it, the last part of the path.
    weight: how often its text is shown, relative to its size; 1.
    format: auto, files (source files), jsonl, parquet or arrow.
    include, exclude: of a folder, patterns in gitignore syntax with "|" between them.
    text, id, project, language: of records, the names of their fields, with "|" between those to look for in turn, and
        a dot where a field is inside another. What is named must be in some record, unless a last "|" says that it
        need not.
    depth: of source files, how many folders below the root make up a project; 1.
    languages: of source files, take those in these only, with "|" between them.
    A value goes on to the next ",option=", so colons, and commas that no option follows, are part of it. Double quotes
    around a value, or around one of several, keep all that is in them together ("" stands for a quote).
    Raises InputError if there is nothing there, or an option is wrong or not for this kind of source.
    """
    where, options = parsed(spec, OPTIONS)
    options |= {option: bare(value) for option, value in options.items() if option not in SEVERAL}
    weight = _weight(options.get("weight", "1"), spec)
    if where == STDLIB:
        _refuse_others(options, ALWAYS, spec, "the standard library")
        read = StdlibSource(weight=weight)
        return replace(read, name=options["name"]) if "name" in options else read
    if where == INSTALLED:
        _refuse_others(options, (*ALWAYS, *OF_FOLDERS), spec, "the installed packages")
        packages = sysconfig.get_path("purelib")
        name = options.get("name", f"installed-{sys.version_info.major}.{sys.version_info.minor}")
        return _files_source(name, packages, weight, {**options, "languages": "python"}, spec)
    root = os.path.abspath(os.path.expanduser(where))
    form = options.get("format", "auto")
    if form not in FORMATS:
        raise InputError(f"source {spec}: format is {form!r}; there are {', '.join(FORMATS)}")
    if not os.path.exists(root):
        raise InputError(f"source {spec}: {printable(root)} doesn't exist; give the path of a file or a folder")
    if os.path.isdir(root):
        return _folder_source(root, form, weight, options, spec)
    if not os.path.isfile(root):
        raise InputError(f"source {spec}: {printable(root)} is neither a file nor a folder")
    form = _format_of_file(root, form, spec)
    name = options.get("name") or _name_of(root, form == "files", spec)
    if form == "files":
        return _files_source(name, root, weight, options, spec)
    _refuse_others(options, (*ALWAYS, "format", *RECORD_PARTS), spec, "a single file of records")
    folder, file = os.path.split(root)
    named_fields, optional = _fields(options, spec)
    return RecordsSource(name, folder, ((file, form),), named_fields, weight, optional)


def _format_of_file(path: str, form: str, spec: str) -> str:
    """The format in which a single file is to be read. Raises InputError if it can't be, or holds nothing."""
    content = _looked_at(path)
    if content.kind == "empty":
        raise InputError(f"source {spec}: {printable(path)} is empty; name another file, or leave it out")
    if form == "auto":
        form = kind_of(path, content) or "files"
        if form == "files" and content.is_text and is_csv(path):
            what = f"{printable(path)} is {CSV}, whose rows aren't read: {CSV_REMEDY}"
            raise InputError(f"source {spec}: {what}, or say format=files to take it as one text")
    if not _fits(form, content):
        raise InputError(f"source {spec}: {_not_a(form, path, content)}")
    return form


def _fits(form: str, content: Content) -> bool:
    """Whether a file of this content can be read in a format; of "unknown" some can, and reading says which."""
    if form == "files":
        return content.is_text
    if form == "jsonl":
        return content.is_text or content.kind == "unknown"
    unsure = ("unknown", "empty") if form == "arrow" else ("empty",)  # streams of old versions have no magic number
    return not content.compression and content.kind in (form, *unsure)


def _looked_at(path: str) -> Content:
    try:
        return look(path)
    except OSError as error:
        raise InputError(f"can't read {printable(path)}: {error.strerror}; make it readable, or leave it out") from None


def _not_a(form: str, path: str, content: Content) -> str:
    """Tell people that a file isn't what it should be, and what to do."""
    wanted = {"files": "source text", "jsonl": "lines of JSON", "parquet": "a Parquet file", "arrow": "an Arrow file"}
    return f"{printable(path)} is {content.said}, not {wanted[form]}: {content.remedy or 'fetch it again'}"


def _usual(sizes: list[int], number: int) -> int:
    """The median size of the other files; 0 without any."""
    others = sorted(sizes[:number] + sizes[number + 1 :])
    return others[len(others) // 2] if others else 0


def _folder_source(root: str, form: str, weight: float, options: Options, spec: str) -> Source:
    """A folder as source files or as records. Raises InputError if it holds nothing to read, or both."""
    if form == "auto" and "languages" in options:
        form = "files"
    files = _files_source(options.get("name", ""), root, weight, options, spec, check=form == "files")
    name = options.get("name") or _name_of(root, form == "files", spec)
    if form == "files":
        return replace(files, name=name)
    include, exclude = files.include, files.exclude
    left_out: tuple[str, ...] = ()
    if form == "auto" and not any(part in options for part in RECORD_PARTS):
        found = folder_content(files, spec)
        if is_text_folder(found, spec):
            links = [] if found.texts else kinds_of_records(root, record_files(root, include, exclude))
            if not links:
                if not found.texts:
                    what = f"holds no files to read{found.said_others}; hidden, ignored and excluded ones don't count"
                    raise InputError(f"source {spec}: {printable(root)} {what}; choose by include= or format=")
                _files_source(name, root, weight, options, spec)
                return replace(files, name=name, left_out=tuple(found.records))
        left_out = tuple(found.texts)
    _refuse_others(options, (*ALWAYS, "format", *RECORD_PARTS, *OF_FOLDERS), spec, "a folder of records")
    kinds = kinds_of_records(root, record_files(root, include, exclude))
    if form != "auto":  # what somebody includes is of the format, whatever its content
        named = [(path, form) for path in sorted(record_files(root, include, exclude))] if include else []
        kinds = named or [(path, kind) for path, kind in kinds if kind == form]
    if not kinds and form == "auto":
        _files_source(name, root, weight, options, spec)  # where an option isn't for source files, that is the mistake
    if not kinds:
        looked = f"files that match {options['include']}" if include else " ".join(SUFFIXES.get(form, ("records",)))
        raise InputError(f"source {spec}: {printable(root)} holds no file to read as {form}: looked for {looked}")
    named_fields, optional = _fields(options, spec)
    return RecordsSource(name, root, tuple(kinds), named_fields, weight, optional, left_out)


def _files_source(name: str, root: str, weight: float, options: Options, spec: str, check: bool = True) -> FilesSource:
    """check: whether options that aren't for source files are refused."""
    if check and os.path.isfile(root):
        _refuse_others(options, (*ALWAYS, "format"), spec, "a single source file")
    elif check:
        of_files = (*ALWAYS, "format", "depth", *OF_FOLDERS, "languages")
        _refuse_others(options, of_files, spec, "a folder of source files")
    depth = options.get("depth", "1")
    if not re.fullmatch(r"[0-9]{1,4}", depth):
        raise InputError(f"source {spec}: depth is {depth!r}; give a whole number of folders, 0 or more")
    languages = _several(options, "languages")
    for language in languages:
        if language not in LANGUAGES:
            raise InputError(f"source {spec}: there is no language {language!r}; there are {', '.join(LANGUAGES)}")
    include, exclude = _several(options, "include"), _several(options, "exclude")
    return FilesSource(name, root, weight, int(depth), include, exclude, languages)


def _fields(options: Options, spec: str) -> tuple[Fields, tuple[str, ...]]:
    """The names of fields that were given, and the parts of a document whose fields need not be in any record."""
    parts = {part: _several(options, part) for part in RECORD_PARTS if part in options}
    for part, names in parts.items():
        if not names:
            raise InputError(f"source {spec}: option {part} names no field; write {part}=NAME, or leave it out")
    return Fields(**parts), tuple(part for part in parts if not alternatives(options[part])[-1])


def _name_of(root: str, is_files: bool, spec: str) -> str:
    """The last part of the path, without the suffixes of records."""
    name = os.path.basename(root)
    if not is_files and os.path.isfile(root):
        name = name.removesuffix(compression_suffix(name))
        name = re.sub(r"(?i)\.(jsonl|ndjson|json|parquet|pq|arrow|feather|ipc)$", "", name)
    if not name or printable(name) != name:
        raise InputError(f"source {spec!r} has no name of its own: give it one by name=")
    return name


def _weight(text: str, spec: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not (math.isfinite(weight) and weight > 0):
        raise InputError(f"source {spec}: weight is {text}; give a number above 0, 1 for as often as its size says")
    return weight


def _several(options: Options, option: str) -> tuple[str, ...]:
    """The values of an option that takes several, with "|" between them."""
    return tuple(bare(value) for value in alternatives(options.get(option, "")) if value)


def _refuse_others(options: Options, fitting: tuple[str, ...], spec: str, what: str) -> None:
    others = [option for option in options if option not in fitting]
    if others:
        raise InputError(
            f"source {spec}: option {others[0]} isn't for {what}, which takes {', '.join(fitting)}; leave it out"
        )
