"""Hostile names and texts: every sound document is in the corpus or listed as rejected, and nothing else is in it."""

import bz2
import gzip
import json
import lzma
import os
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz import server
from tests.fuzz.outcome import HARMLESS, LOST, WRONG, Outcome, judged
from tests.fuzz.world import World, code

PIECES = [
    "plain words",
    "漢字かな交じり文",
    "e\u0301 combining",
    "😀👩\u200d👩\u200d👧",
    "nul \x00 inside",
    "\u2028 line \u2029 paragraph",
    "\r\n",
    "\x1b]0;title\x07",
    "\u202edesrever",
    "<raw></raw><compressed>",
    "[bold]not[/bold] [/x]",
    "<script>alert(1)</script>",
    "\ufeffmark",
    "tab\tand\ttab",
    "\x7f\x80\x9b",
    "a" * 3000,
    "ACGT" * 500,
    '{"text": "inside"}',
    "%s {0} $HOME `id`",
]
NAMES = [
    "plain",
    "with blank",
    "ümlaut",
    "漢字",
    "\x1b[31mred",
    "[red]",
    "new\nline",
    "-dash",
    "%d",
    "a" * 200,
    "'quote\"",
    "\udce9",
    "a:b,c=d",
    "app[id]",
]


@dataclass
class Made:
    """A file of records, and the texts that a slow and obvious reader finds in it.

    sound: texts that must be in the corpus. possible: those that may be.
    """

    content: bytes = b""
    sound: set[bytes] = field(default_factory=set)
    possible: set[bytes] = field(default_factory=set)


class Texts:
    """Trials of this kind."""

    def __init__(self, world: World) -> None:
        self.world = world

    def trial(self, rng: random.Random, folder: Path) -> Outcome:
        """Prepare a file of hostile records or a folder of hostile files, and look at every text of the corpus."""
        place = folder / "trial"
        place.mkdir(parents=True)
        return _records_trial(rng, place) if rng.random() < 0.7 else _folder_trial(rng, place)


def text_of(rng: random.Random) -> str:
    """A document of unlikely signs, different from others."""
    return " ".join(rng.choices(PIECES, k=rng.randint(1, 5))) + f" {rng.getrandbits(64)}"


def _value(rng: random.Random) -> Any:
    return rng.choice(
        [None, True, float("nan"), float("inf"), 10**30, 10**5000, "\ud800", [[]] * 3, {"a": {"b": []}}, -0.0, "", 1.5]
    )


def _record(rng: random.Random, number: int) -> dict[str, Any]:
    record: dict[str, Any] = {f"field{n}": _value(rng) for n in range(rng.choice([0, 0, 1, 2]))}
    record["text"] = text_of(rng)
    if rng.random() < 0.5:
        record["id"] = rng.choice([f"id{number}", f"{rng.choice(NAMES)}{number}", number])
    if rng.random() < 0.5:
        record["project"] = f"{rng.choice(NAMES)}{number % 5}"
    items = list(record.items())
    rng.shuffle(items)
    return dict(items)


def _broken(rng: random.Random, line: str) -> str:
    at = rng.randrange(1, len(line))
    return rng.choice([line[:at], "{", "null", "[]", '{"text": 3}', "{}", '{"text": null}', "garbage", line[at:]])


def records(rng: random.Random) -> Made:
    """Lines of JSON, some of them broken, and what Python's own reader finds in them."""
    made = Made()
    lines = []
    for number in range(rng.randint(1, 30)):
        line = _dumped(rng, _record(rng, number))
        lines.append(_broken(rng, line) if rng.random() < 0.15 else line)
    newline = rng.choice(["\n", "\n", "\r\n"])
    made.content = newline.join(lines).encode("utf-8", "surrogatepass") + rng.choice([b"", newline.encode()])
    if rng.random() < 0.1:
        made.content = b"\xef\xbb\xbf" + made.content
    made.sound = _texts_of(made.content)
    return made


def _dumped(rng: random.Random, record: dict[str, Any]) -> str:
    import sys

    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(record, ensure_ascii=rng.random() < 0.5 or "\ud800" in record.values())
    finally:
        sys.set_int_max_str_digits(limit)


def _texts_of(content: bytes) -> set[bytes]:
    """The texts of the lines that Python reads as an object with a text of Unicode."""
    import sys

    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    found = set()
    try:
        for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            try:
                value = json.loads(line.decode("utf-8", "surrogateescape"))  # a bad byte counts in the text only
                found.add(value["text"].encode())
            except (ValueError, TypeError, KeyError, AttributeError):
                continue
    finally:
        sys.set_int_max_str_digits(limit)
    return found - {b""}


def _zstd(content: bytes) -> bytes:
    import pyarrow as pa

    return pa.compress(content, codec="zstd", asbytes=True)


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda content: gzip.compress(content, mtime=0),
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": _zstd,
}
UNPACKERS: dict[str, Callable[[], Any]] = {
    ".gz": lambda: zlib.decompressobj(31),
    ".xz": lzma.LZMADecompressor,
    ".bz2": bz2.BZ2Decompressor,
}


def _readable(packed: bytes, suffix: str) -> bytes:
    """What a decompressor gives byte by byte until it fails."""
    unpacker, out = UNPACKERS[suffix](), b""
    for at in range(len(packed)):
        try:
            out += unpacker.decompress(packed[at : at + 1])
        except (zlib.error, lzma.LZMAError, OSError, EOFError):
            break
    return out


def _records_trial(rng: random.Random, place: Path) -> Outcome:
    made = records(rng)
    suffix = rng.choice(list(PACKED))
    packed = PACKED[suffix](made.content)
    done = ""
    if rng.random() < 0.4 and suffix in UNPACKERS and len(packed) > 30:
        way = rng.choice(["cut", "garbage"])
        done = f", {way}"
        if way == "cut":
            packed = packed[: rng.randrange(20, len(packed))]
            whole = _readable(packed, suffix)
            made.possible = made.sound
            made.sound = _texts_of(whole[: whole.rfind(b"\n") + 1])
        else:
            packed += b"garbage after the end"
    name = rng.choice(
        [
            "data.jsonl",
            "data.ndjson",
            "data.jsonl" + suffix,
            "data.json" + suffix,
            f"{rng.choice(NAMES[:5])}.jsonl{suffix}",
        ]
    )
    if name == f"data.json{suffix}" and made.content.strip().count(b"\n") == 0:
        made.possible |= made.sound | {made.content}  # a single object in a .json is a text itself, as package.json is
        made.sound = set()
    (place / os.fsdecode(os.fsencode(name))).write_bytes(packed)
    what = f"prepare {name!a} of {len(made.content)} bytes packed as {suffix or 'nothing'}{done}"
    return _prepared(rng, place, [name], what, made)


def _folder_trial(rng: random.Random, place: Path) -> Outcome:
    made = Made()
    for number in range(rng.randint(1, 12)):
        name = f"{rng.choice(NAMES)}{number}"
        folder = place / "source" / rng.choice(["a", "b", "ü", "\x1b[2J"])
        folder.mkdir(parents=True, exist_ok=True)
        path = Path(os.fsdecode(os.fsencode(str(folder / name)))).with_suffix(".py")
        if rng.random() < 0.75:
            text = f"# {number} {rng.getrandbits(64)}\n{code(rng, 3)}".encode()
            is_unicode = not any(0xD800 <= ord(sign) <= 0xDFFF for sign in str(path))
            (made.sound if is_unicode else made.possible).add(text)
        else:
            text = rng.choice(
                [
                    rng.randbytes(3000),
                    b"\x7fELF" + rng.randbytes(500),
                    "wide".encode("utf-16") * 50,
                    b"\x89PNG\r\n\x1a\n" + bytes(400),
                    b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n",
                ]
            )
        path.write_bytes(text)
    return _prepared(rng, place, ["source"], f"prepare a folder of {len(made.sound)} texts and others", made)


def _prepared(rng: random.Random, place: Path, sources: list[str], what: str, made: Made) -> Outcome:
    options = ["--near-duplicates", "keep", "--workers", "1", "--max-faulty", "1", "--out", "new"]
    ended = server.run(
        ["prepare", *[f"./{name}" if name.startswith("-") else name for name in sources], *options], place
    )
    outcome = judged(ended, what)
    if outcome.is_fault:
        return outcome
    if ended.status == 2:
        if made.sound and not _spoken_of(ended.said):
            return Outcome(LOST, what, f"{len(made.sound)} sound texts refused: {ended.said}")
        return outcome
    found = _texts_in(place / "new")
    if lost := made.sound - found:
        return Outcome(
            LOST,
            what,
            f"{len(lost)} of {len(made.sound)} sound texts are gone, such as {min(lost)[:200]!r}\n{ended.said}",
        )
    if other := found - made.sound - made.possible:
        return Outcome(WRONG, what, f"{len(other)} texts nobody wrote, such as {min(other)[:200]!r}")
    for command in (
        ["corpus", "stats", "new"],
        ["corpus", "verify", "new"],
        ["corpus", "show", "new", "--split", "train"],
    ):
        outcome = judged(server.run(command, place), f"{what}, then {' '.join(command)}")
        if outcome.is_fault:
            return outcome
    return Outcome(HARMLESS, what)


def _spoken_of(said: str) -> bool:
    """Whether a refusal is about what no trial can foresee: too few projects for a split, a useless name."""
    return any(word in said for word in ("split", "project", "name"))


def _texts_in(corpus: Path) -> set[bytes]:
    import pyarrow as pa

    found: set[bytes] = set()
    for path in corpus.glob("shard-[0-9]*.arrow"):
        if path.name.count(".") == 1:
            with pa.memory_map(str(path)) as file:
                found |= set(pa.ipc.open_file(file).read_all().column("text").to_pylist())
    return found
