"""What a person types becomes a source: `stdlib`, `installed`, or a path with options behind a colon.

    repositories:depth=2,languages=python|rust,weight=2
    pile/train.jsonl.zst:text=contents,project=metadata.repo
    dataset:name=web,include=*.parquet
    pages.jsonl:text=dc:description|"body, text=cleaned"

A folder all of whose files (hidden ones apart) are tables or lines of JSON, by their suffixes, is read as these; any
other as source files. A folder called stdlib is ./stdlib. `installed` are the Python packages beside the running
Python, each of them a project: text for studies that is there without a network, as far as environments are alike.
"""

import math
import os
import re
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

from byteproxy.corpus.fields import Fields
from byteproxy.corpus.folder import FilesSource, is_hidden, printable
from byteproxy.corpus.ignored import Patterns
from byteproxy.corpus.jsonl import JsonlUnit
from byteproxy.corpus.languages import LANGUAGES
from byteproxy.corpus.named_fields import refuse_absent
from byteproxy.corpus.reading import Source, Unit
from byteproxy.corpus.spec import Options, alternatives, bare, parsed
from byteproxy.corpus.stdlib import StdlibSource
from byteproxy.corpus.tables import TableUnit
from byteproxy.errors import InputError

STDLIB, INSTALLED = "stdlib", "installed"
FORMATS = ("auto", "files", "jsonl", "parquet", "arrow")
SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz", ".jsonl.zst", ".ndjson.zst"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
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
    """

    name: str
    root: str
    files: tuple[tuple[str, str], ...]
    fields: Fields
    weight: float = 1.0
    optional: tuple[str, ...] = ()

    def units(self) -> list[Unit]:
        """One for each file.

        Raises InputError if one is gone, or is a table that can't be read or has no text, or if fields that were named
        are in none of them.
        """
        units = [self._unit(path, kind) for path, kind in self.files]
        columns = {name: None for unit in units if isinstance(unit, TableUnit) for name in unit.check()}
        lines = [unit for unit in units if isinstance(unit, JsonlUnit)]
        refuse_absent(self.name, lines, columns, self.fields, self.optional)
        return list(units)

    def _unit(self, path: str, kind: str) -> JsonlUnit | TableUnit:
        whole, file = os.path.join(self.root, path), printable(path)
        try:
            status = os.stat(whole)
        except OSError as error:
            what = f"can't read {printable(whole)}: {error.strerror}"
            raise InputError(f"{what}; put it back, or leave it out by exclude=") from None
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{printable(whole)} isn't a regular file; leave it out by exclude=")
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
    form = _format(root, options, spec)
    name = options.get("name") or _name_of(root, form == "files", spec)
    if form == "files":
        return _files_source(name, root, weight, options, spec)
    return _records_source(name, root, weight, form, options, spec)


def _format(root: str, options: Options, spec: str) -> str:
    """files; or the format of records; or auto, for a folder with records of any."""
    form = options.get("format", "auto")
    if form not in FORMATS:
        raise InputError(f"source {spec}: format is {form!r}; there are {', '.join(FORMATS)}")
    if not os.path.exists(root):
        raise InputError(f"source {spec}: {printable(root)} doesn't exist; give the path of a file or a folder")
    if not os.path.isdir(root):
        if not os.path.isfile(root):
            raise InputError(f"source {spec}: {printable(root)} is neither a file nor a folder")
        return (_kind_of(root) or "files") if form == "auto" else form
    if form == "auto":
        files = _folder_files(root, options)
        first = next(files, None)
        if first is None:
            raise InputError(f"source {spec}: {root} holds no files to read; hidden and excluded ones don't count")
        return "auto" if _kind_of(first) and all(map(_kind_of, files)) else "files"
    return form


def _files_source(name: str, root: str, weight: float, options: Options, spec: str) -> FilesSource:
    if os.path.isfile(root):
        _refuse_others(options, (*ALWAYS, "format"), spec, "a single source file")
    else:
        _refuse_others(
            options, (*ALWAYS, "format", "depth", *OF_FOLDERS, "languages"), spec, "a folder of source files"
        )
    depth = options.get("depth", "1")
    if not re.fullmatch(r"[0-9]{1,4}", depth):
        raise InputError(f"source {spec}: depth is {depth!r}; give a whole number of folders, 0 or more")
    languages = _several(options, "languages")
    for language in languages:
        if language not in LANGUAGES:
            raise InputError(f"source {spec}: there is no language {language!r}; there are {', '.join(LANGUAGES)}")
    include, exclude = _several(options, "include"), _several(options, "exclude")
    return FilesSource(name, root, weight, int(depth), include, exclude, languages)


def _records_source(name: str, root: str, weight: float, form: str, options: Options, spec: str) -> RecordsSource:
    parts = {part: _several(options, part) for part in RECORD_PARTS if part in options}
    for part, names in parts.items():
        if not names:
            raise InputError(f"source {spec}: option {part} names no field; write {part}=NAME, or leave it out")
    optional = tuple(part for part in parts if not alternatives(options[part])[-1])
    if os.path.isfile(root):
        _refuse_others(options, (*ALWAYS, "format", *RECORD_PARTS), spec, "a single file of records")
        root, file = os.path.split(root)
        return RecordsSource(name, root, ((file, form),), Fields(**parts), weight, optional)
    _refuse_others(options, (*ALWAYS, "format", *RECORD_PARTS, *OF_FOLDERS), spec, "a folder of records")
    files = sorted(_folder_files(root, options))
    if form != "auto" and "include" not in options:  # what somebody includes is of the format, whatever its suffix
        files = [file for file in files if _kind_of(file) == form]
    if not files:
        looked = f"files that match {options['include']}" if "include" in options else " ".join(SUFFIXES[form])
        raise InputError(f"source {spec}: {root} holds no file to read as {form}: looked for {looked}")
    kinds = tuple((file, _kind_of(file) or form) if form == "auto" else (file, form) for file in files)
    return RecordsSource(name, root, kinds, Fields(**parts), weight, optional)


def _folder_files(root: str, options: Options) -> Iterator[str]:
    """The files of a folder that aren't hidden, and that include and exclude let through, in any order.

    A link to a file is one, so that a download cache of Hugging Face can be read; one to nothing is refused when the
    units are made. No .gitignore counts: it often rules out data, to keep it from being committed.
    """
    include, exclude = (Patterns(map(os.fsencode, _several(options, option))) for option in OF_FOLDERS)

    def refuse(error: OSError) -> None:
        raise InputError(
            f"can't list {error.filename}: {error.strerror}; make it readable, or leave it out by exclude="
        )

    for where, folders, files in os.walk(root, onerror=refuse):
        inside = os.path.relpath(where, root)
        prefix = "" if inside == "." else f"{inside}/"
        folders[:] = [name for name in folders if not is_hidden(name) and not exclude.verdict(f"{prefix}{name}/")]
        for name in files:
            path = prefix + name
            wanted = "include" not in options or include.covers(path)
            if wanted and not is_hidden(name) and not exclude.verdict(path):
                yield path


def _kind_of(path: str) -> str:
    """The format of records that a name tells of; "" if none."""
    return next((kind for kind, suffixes in SUFFIXES.items() if path.lower().endswith(suffixes)), "")


def _name_of(root: str, is_files: bool, spec: str) -> str:
    """The last part of the path, without the suffixes of records."""
    name = os.path.basename(root)
    if not is_files and os.path.isfile(root):
        name = re.sub(r"(?i)\.(gz|zst)$", "", name)
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
