"""Files that somebody damaged: whoever reads them afterwards gives the same results or one clear line."""

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import results, server
from tests.fuzz.outcome import HARMLESS, WRONG, Outcome, judged
from tests.fuzz.server import Ended
from tests.fuzz.world import SMALL, STUDYING, World


@dataclass(frozen=True)
class Reader:
    """A command that reads what was damaged.

    things: what is copied for it; damaged: the one of them that is damaged.
    arguments: of the command. result: what it gave, from where it ran and how it ended.
    figures_only: its results are figures; where it says what it left out, they may differ.
    is_unchecked: it reads a public format without a checksum, where damage can make another sound file.
    """

    things: tuple[str, ...]
    damaged: str
    arguments: tuple[str, ...]
    result: Callable[[Path, Ended], str]
    figures_only: bool = False
    is_unchecked: bool = False


def _figures(folder: Path, ended: Ended) -> str:
    return results.figures(ended)


_FRESH = ("train", "3m-paper", *SMALL, "--corpus", "corpus", "--stop", "2 steps", "--out", "new")
READERS = {
    "verify": Reader(("corpus",), "corpus", ("corpus", "verify", "corpus"), lambda folder, ended: ""),
    "stats": Reader(("corpus",), "corpus", ("corpus", "stats", "corpus", "--json"), _figures, True),
    "preview": Reader(
        ("corpus",),
        "corpus",
        ("mixture", "preview", "corpus", "--recipe", "paper", "--steps", "0:3", "--json"),
        _figures,
    ),
    "train": Reader(("corpus",), "corpus", _FRESH, lambda folder, ended: results.weights(folder / "new")),
    "resume": Reader(
        ("corpus", "half"),
        "half",
        ("train", "--resume", "half"),
        lambda folder, ended: results.weights(folder / "half"),
    ),
    "resume_corpus": Reader(
        ("corpus", "half"),
        "corpus",
        ("train", "--resume", "half"),
        lambda folder, ended: results.weights(folder / "half"),
    ),
    "page": Reader(("corpus", "half"), "half", ("train", "--resume", "half", "--json"), _figures, True),
    "eval": Reader(("corpus", "run"), "run", ("eval", "bpb", "run", "--max-bytes", "1000", "--json"), _figures, True),
    "generate": Reader(
        ("run",),
        "run",
        ("generate", "run", "--prompt", "def ", "--max-bytes", "40", "--seed", "1", "--json"),
        _figures,
    ),
    "generate_export": Reader(
        ("export",),
        "export",
        ("generate", "export", "--prompt", "x", "--max-bytes", "40", "--seed", "1", "--json"),
        _figures,
    ),
    "export": Reader(
        ("run",), "run", ("export", "run", "--out", "new"), lambda folder, ended: results.exported(folder / "new")
    ),
    "study": Reader(("lines.jsonl", "study.toml", "study"), "study", (*STUDYING, "--json"), _figures),
    "inspect_bpe": Reader(
        ("bpe.json", "lines.jsonl"),
        "bpe.json",
        ("views", "inspect", "lines.jsonl", "--views", "bpe.json", "--max-bytes", "2000", "--json"),
        _figures,
        is_unchecked=True,
    ),
    "inspect_codebook": Reader(
        ("codebook.view", "lines.jsonl"),
        "codebook.view",
        ("views", "inspect", "lines.jsonl", "--views", "codebook.view", "--max-bytes", "2000", "--json"),
        _figures,
    ),
}


class Damage:
    """Trials of this kind; `sound` keeps what each reader gives of a sound world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sound: dict[str, str] = {}

    def trial(self, rng: random.Random, folder: Path) -> Outcome:
        """Damage one file, and let one command read it."""
        name = rng.choice(list(READERS))
        reader = READERS[name]
        wanted = self._sound(name, folder)
        place = self.world.copy(folder / "trial", reader.things)
        if rng.random() < 0.3 and "corpus" in reader.things:  # what is read is known to be verified by now
            server.run(["mixture", "preview", "corpus", "--recipe", "paper", "--steps", "0:2"], place)
        files = _files(place / reader.damaged)
        path = _chosen(rng, files)
        done = damaged(rng, path, files)
        what = f"{' '.join(reader.arguments)}  after {done} in {path.relative_to(place)}"
        ended = server.run(reader.arguments, place)
        outcome = judged(ended, what)
        if outcome.kind != HARMLESS or ended.status != 0:
            return outcome
        try:
            found = reader.result(place, ended)
        except (OSError, ValueError, KeyError) as error:
            return Outcome(WRONG, what, f"exit 0, but its result can't be read: {error!r}")
        if found == wanted or reader.is_unchecked or (reader.figures_only and _tells(ended, path)):
            return outcome
        return Outcome(WRONG, what, f"exit 0, and another result: {found[:1500]}\nsound: {wanted[:1500]}\n{ended.said}")

    def _sound(self, name: str, folder: Path) -> str:
        if name not in self.sound:
            reader = READERS[name]
            place = self.world.copy(folder / "sound", reader.things)
            ended = server.run(reader.arguments, place)
            assert ended.status == 0, ended.said
            self.sound[name] = reader.result(place, ended)
            shutil.rmtree(place)
        return self.sound[name]


def _tells(ended: Ended, path: Path) -> bool:
    """Whether a command names the file that it could not use all of."""
    return path.name in ended.said or path.parent.name in ended.said


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    return sorted(path for path in place.rglob("*") if path.is_file() and not path.is_symlink())


def _chosen(rng: random.Random, files: list[Path]) -> Path:
    """A file of any folder and suffix: few small ones, such as lists and logs, stand among many large ones."""
    kinds: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        kinds.setdefault((path.parent, path.suffix), []).append(path)
    return rng.choice(rng.choice(list(kinds.values())))


def damaged(rng: random.Random, path: Path, files: list[Path]) -> str:
    """Damage a file in one way, and say how; half of the time the file's own times are put back."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    way = rng.choice(list(WAYS))
    WAYS[way](rng, path, content, files)
    kept = path.exists() and rng.random() < 0.5
    if kept:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"{way}{' (times kept)' if kept else ''}"


def _flip_bit(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    _overwritten(path, content)


def _flip_digit(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    """A digit becomes another one, so that text stays well-formed."""
    digits = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    if digits:
        at = rng.choice(digits)
        content[at] = 48 + (content[at] - 48 + rng.randint(1, 9)) % 10
    _overwritten(path, content)


def _zeros(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    """A block that was never written, as after a power cut."""
    begin = rng.randrange(len(content) + 1)
    end = min(len(content), begin + rng.choice([8, 64, 512, 4096]))
    content[begin:end] = bytes(end - begin)
    _overwritten(path, content)


def _cut(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    _overwritten(path, content[: rng.randrange(len(content) + 1)])


def _appended(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    _overwritten(path, content + rng.randbytes(rng.choice([1, 7, 64, 5000])))


def _numbers(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    """Eight bytes become a number far out of any range."""
    if len(content) >= 8:
        at = rng.randrange(len(content) // 8) * 8
        content[at : at + 8] = rng.choice([2**40, 2**63 - 1, 2**64 - 1, 2**32 - 1]).to_bytes(8, "little")
    _overwritten(path, content)


def _emptied(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    _overwritten(path, bytearray())


def _removed(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    path.unlink()


def _another(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    """Another file of the same folder stands there."""
    _overwritten(path, bytearray(rng.choice(files).read_bytes()))


def _nested(rng: random.Random, path: Path, content: bytearray, files: list[Path]) -> None:
    """Text nested deeper than any parser recurses."""
    _overwritten(path, bytearray(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))


def _overwritten(path: Path, content: bytearray) -> None:
    """In place: the file stays the same one for whoever knows it by its number."""
    with path.open("r+b") as file:
        file.truncate()
        file.write(content)


WAYS: dict[str, Callable[[random.Random, Path, bytearray, list[Path]], None]] = {
    "a flipped bit": _flip_bit,
    "a changed digit": _flip_digit,
    "zeros": _zeros,
    "a cut": _cut,
    "garbage at the end": _appended,
    "a huge number": _numbers,
    "nothing left": _emptied,
    "its removal": _removed,
    "another file's content": _another,
    "deep nesting": _nested,
}
