"""Decide what a folder is: source text, or records (tables, lines of JSON) with what usually lies beside them.

Each file is judged by its name, or by its first bytes if the name says nothing. *Tables*, and files named or compressed
as lines of JSON, are records. Lines of JSON (or an array) in a `.json` or `.txt` file are records only if the folder
has no other source text: among code they are fixtures and settings, so they are source text. README, LICENSE and small
JSON objects beside records (a repository of the Hugging Face Hub, a folder of `save_to_disk`) describe the records and
aren't trained on.

If a folder holds both, the incidental kind is left out: records of at most a tenth of the text's bytes, and of fewer
files, in a folder of code; or at most ten text files, of at most a tenth of the records' bytes. What is left out is
listed among the rejected. Any other mixture is refused, and the error says how to choose.

*Unreadable data* (archives, other table formats, CSV, Git LFS pointers) may be what a folder is about, as records may
be. If a folder's text is incidental to such data, the folder is refused and its text isn't taken for the corpus.

Cost: a listing, and a look into at most 1,000 files whose names say nothing.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from byteproxy.corpus.content import Content, compression_suffix, look
from byteproxy.corpus.ignored import Patterns
from byteproxy.corpus.languages import language_of
from byteproxy.corpus.source_files import FilesSource, is_hidden, printable
from byteproxy.errors import InputError

SUFFIXES = {
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc"),
}
VAGUE = frozenset({"json", "text", ""})
"""Languages whose files may as well be records."""
CSV, CSV_REMEDY = "a table in CSV", "write its text as JSON lines or Parquet"
LOOKED_AT = 1000
INCIDENTAL = 10
SMALL_BYTES = 1 << 20
SHOWN = 3

_BESIDE = re.compile(
    r"(readme|licen[cs]es?|copying|notice|citation|changelog|changes|authors|contributing|contributors|security|"
    r"code_of_conduct|data_?card|dataset_?card|dataset_infos?|dataset_dict|state|croissant)(\.\w+)?|_success",
    re.IGNORECASE,
)


@dataclass
class FolderContent:
    """What a folder holds, as paths relative to it.

    records, texts: those to read as such. beside: JSON objects that are about the records, if there are any.
    others: what else there is, and how often. data: those of them that may hold text, which can't be read; remedies:
    what each kind of these is, and what to do with it.
    """

    root: str
    records: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    data: list[str] = field(default_factory=list)
    remedies: dict[str, str] = field(default_factory=dict)

    @property
    def said_others(self) -> str:
        """The files that nothing can be read of, for people: " (but 3 of a tar archive)"; "" without any."""
        found = ", ".join(f"{count:,} x {what}" for what, count in self.others.most_common(SHOWN))
        return f"; what it holds: {found}" if found else ""

    @property
    def said_data(self) -> str:
        """The data that can't be read, for people, with what to do: "2 x a tar archive: unpack it first"."""
        shown = [what for what, _ in self.others.most_common() if what in self.remedies][:SHOWN]
        return ", ".join(f"{self.others[what]:,} x {what}: {self.remedies[what]}" for what in shown)

    def bytes_of(self, paths: Iterable[str]) -> int:
        """Bytes on disk of some of its files."""
        return sum(_size(os.path.join(self.root, path)) for path in paths)


def kind_by_name(path: str) -> str:
    """The format of records that a name tells of, also inside a compression; "" if none."""
    name = path.lower()
    packed = compression_suffix(name)
    bare = name.removesuffix(packed) if packed else name
    if packed and bare.endswith(".json"):
        return "jsonl"
    kinds = ("jsonl",) if packed else SUFFIXES
    return next((kind for kind in kinds if bare.endswith(SUFFIXES[kind])), "")


def is_csv(path: str) -> bool:
    """Whether the name is that of a CSV or TSV table, compressed or not. Its bytes look like any text."""
    name = path.lower()
    return name.removesuffix(compression_suffix(name) or " ").endswith((".csv", ".tsv"))


def kind_of(path: str, content: Content) -> str:
    """The format of records in which a file is to be read, by its content and, where that isn't clear, its name."""
    if content.is_table:
        return content.kind
    return "jsonl" if content.is_records and language_of(path) in VAGUE else kind_by_name(path)


def folder_content(source: FilesSource, spec: str) -> FolderContent:
    """What a folder holds, of what isn't ignored by git, hidden or excluded.

    source: the folder as one of source files. spec: as people named it.
    Raises InputError for shards of other training libraries, and for a folder that can't be listed.
    """
    found = FolderContent(source.root)
    vague: list[str] = []
    looks = LOOKED_AT
    for path, is_taken in sorted(source.walked()):
        if os.path.basename(path) == "index.json":
            _refuse_shards(source.root, path, spec)
        if kind_by_name(path):
            found.records.append(path)
        elif is_taken and language_of(path) not in VAGUE:
            found.texts.append(path)
        elif looks:
            looks -= 1
            _put(found, vague, path, is_taken)
        elif is_taken:
            found.texts.append(path)
    own = [path for path in found.texts if not _BESIDE.fullmatch(os.path.basename(path))]
    if found.records or vague:
        found.texts = own
    else:
        found.texts += found.beside
        _refuse_text_about_data(found, own, spec)
    (found.texts if found.texts else found.records).extend(vague)
    return found


def _put(found: FolderContent, vague: list[str], path: str, is_taken: bool) -> None:
    """Put a file whose name tells nothing where its content belongs."""
    try:
        content = look(os.path.join(found.root, path))
    except OSError:
        if is_taken:
            found.texts.append(path)  # reading it says what is wrong
        return
    if content.is_table or (content.is_records and content.compression):
        found.records.append(path)
    elif content.is_records:
        vague.append(path)
    elif not content.is_text:
        _put_other(found, path, content.said, content.remedy)
    elif is_csv(path):
        _put_other(found, path, CSV, CSV_REMEDY)
    elif not is_taken and content.compression:
        _put_other(found, path, f"a file of {content.compression}", "decompress it first")
    elif not is_taken:
        _put_other(found, path, "a file of no known language", "")
    elif content.shape == "object" and _size(os.path.join(found.root, path)) <= SMALL_BYTES:
        found.beside.append(path)
    else:
        found.texts.append(path)


def _put_other(found: FolderContent, path: str, what: str, remedy: str) -> None:
    """Count a file that isn't read. remedy: how to get the text that it may hold; "" if it hardly holds any."""
    found.others[what] += 1
    if remedy:
        found.data.append(path)
        found.remedies[what] = remedy


def _refuse_text_about_data(found: FolderContent, own: list[str], spec: str) -> None:
    """Refuse a folder without records whose text is incidental to data that can't be read.

    own: the files of text that aren't such as are about data by their name.
    """
    if not found.data or not found.texts:
        return
    text_bytes, data_bytes = found.bytes_of(own), found.bytes_of(found.data)
    if own and (len(own) > INCIDENTAL or INCIDENTAL * text_bytes > data_bytes):
        return
    raise InputError(
        f"source {spec}: {printable(found.root)} holds data that isn't read ({found.said_data}), and beside it little "
        f"text ({_described(found.texts, found.bytes_of(found.texts))}); to read that alone, say format=files"
    )


def is_text_folder(found: FolderContent, spec: str) -> bool:
    """Whether the folder is to be read as source text, and not as records.

    Raises InputError where it is both.
    """
    if not found.records or not found.texts:
        return not found.records
    record_bytes, text_bytes = found.bytes_of(found.records), found.bytes_of(found.texts)
    if INCIDENTAL * record_bytes <= text_bytes and len(found.records) < len(found.texts):
        return True
    if INCIDENTAL * text_bytes <= record_bytes and len(found.texts) <= INCIDENTAL:
        return False
    kinds = dict.fromkeys(kind_by_name(path) or "jsonl" for path in found.records)
    formats = " or ".join(f"format={kind}" for kind in kinds)
    raise InputError(
        f"source {spec}: {printable(found.root)} holds records ({_described(found.records, record_bytes)}) and source "
        f"text ({_described(found.texts, text_bytes)}): choose by {formats} or format=files, or by include= or exclude="
    )


def record_files(root: str, include: tuple[str, ...], exclude: tuple[str, ...]) -> Iterator[str]:
    """The files of a folder that aren't hidden and that include and exclude let through, in any order.

    A link to a file is one, so that a download cache of Hugging Face can be read; one to nothing is refused when the
    units are made. No .gitignore counts: it often rules out data, to keep it from being committed.
    """
    included, excluded = (Patterns(map(os.fsencode, lines)) for lines in (include, exclude))

    def refuse(error: OSError) -> None:
        where = printable(error.filename or root)
        raise InputError(f"can't list {where}: {error.strerror}; make it readable, or leave it out by exclude=")

    for where, folders, files in os.walk(root, onerror=refuse):
        inside = os.path.relpath(where, root)
        prefix = "" if inside == "." else f"{inside}/"
        folders[:] = [name for name in folders if not is_hidden(name) and not excluded.verdict(f"{prefix}{name}/")]
        for name in files:
            path = prefix + name
            if not is_hidden(name) and (not include or included.covers(path)) and not excluded.verdict(path):
                yield path


def kinds_of_records(root: str, paths: Iterable[str]) -> list[tuple[str, str]]:
    """The files that are records, sorted, each with its format; what lies beside them is passed over."""
    found = []
    for path in sorted(paths):
        if _BESIDE.fullmatch(os.path.basename(path)):
            continue
        try:
            kind = kind_of(path, look(os.path.join(root, path)))
        except OSError:
            kind = kind_by_name(path)  # the unit says what is wrong
        if kind:
            found.append((path, kind))
    return found


def _refuse_shards(root: str, path: str, spec: str) -> None:
    """Refuse a folder whose index.json is that of another library's shards."""
    whole = os.path.join(root, path)
    try:
        with open(whole, "rb") as file:
            index = json.loads(file.read(16 * SMALL_BYTES))
    except (OSError, ValueError, RecursionError):
        return
    if not isinstance(index, dict):
        return
    shards = index.get("shards")
    if isinstance(shards, list) and any(isinstance(shard, dict) and shard.get("format") == "mds" for shard in shards):
        library, reader = "MosaicML Streaming", "StreamingDataset"
    elif isinstance(index.get("chunks"), list) and "config" in index:
        library, reader = "litData", "litdata.StreamingDataset"
    else:
        return
    where = printable(str(PurePosixPath(whole).parent))
    raise InputError(
        f"source {spec}: {where} holds shards of {library} (by its index.json), which only that library reads: read "
        f"them with {reader} and write their text as JSON lines or Parquet, or leave the folder out by exclude="
    )


def _described(paths: list[str], size: int) -> str:
    first = printable(paths[0])
    return f"{len(paths):,} files, {size:,} bytes, {first}{' and others' if len(paths) > 1 else ''}"


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
