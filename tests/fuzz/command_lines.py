"""Command lines that nobody thought of: options that there are, with values of all kinds."""

import random
from pathlib import Path

from tests.fuzz import server
from tests.fuzz.outcome import LOST, Outcome, judged
from tests.fuzz.world import COMMANDS, CONVERT, SMALL, World

SECONDS = 6.0
"""How long a command may work until it gets Ctrl-C: many of these are sound, and train for hours."""
THINGS = ("text", "lines.jsonl", "corpus", "run", "export", "start", "bpe.json", "codebook.view")
NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "-1",
    "0.5",
    "1e-9",
    "1e300",
    "-1e300",
    "nan",
    "inf",
    "-inf",
    "1e",
    "0x10",
    "99999999999999999999",
    "9223372036854775808",
    "300",
    "٣",
    "1_000",
    "+1",
]
WORDS = [
    "",
    " ",
    "-",
    "--",
    "none",
    "None",
    "true",
    "ü",
    "漢字",
    "\udce9",
    "a\nb",
    "\x1b[31mred",
    "\u202egnirts",
    "[/x]",
    "%s",
    "{0}",
    "../..",
    "/proc/self/mem",
    "/dev/null",
    "a" * 300,
    "a/" * 2100,
    "stdlib:",
    "x:text=",
    "lines.jsonl:text=nothing",
    "lines.jsonl:project=nothing",
    "text:languages=nothing",
    "lines.jsonl:weight=nan",
    "0:9",
    "9:0",
    "paper",
    "bytes",
    "raw",
    "bpe:300",
    "bpe:99999999",
    "bpe:-1",
    "codebook:bits=99",
    "codebook:bits=10",
    "neural:minutes=-1",
    "gzip",
    "chunks:size=0",
    "2 steps",
    "0 steps",
    "-1 steps",
    "1e300 flops",
    "nan minutes",
    "2 bytes",
    "10",
    "steps",
    "auto",
    "float16",
    "float32",
    "train",
    "validation",
    "test",
    "held_out",
    "keep",
    "repair",
]
SUBJECTS = {
    ("prepare",): [
        "text",
        "lines.jsonl",
        "text:depth=0",
        "lines.jsonl:name=x",
        "corpus",
        "run",
        "nowhere",
        "/dev/null",
    ],
    ("corpus", "stats"): ["corpus", "run", "text", "nowhere"],
    ("corpus", "show"): ["corpus", "run", "nowhere"],
    ("corpus", "verify"): ["corpus", "export", "nowhere"],
    ("views", "train"): ["bpe:300", "codebook:bits=10", "raw", "bpe", "nothing"],
    ("views", "inspect"): ["lines.jsonl", "bpe.json", "nowhere", "text"],
    ("views", "compare"): ["raw", "bpe:300", "codebook.view", "bpe.json"],
    ("mixture", "preview"): ["corpus", "run", "nowhere"],
    ("train",): ["1m", "3m-paper", "run/config.toml", "nothing", "study_short"],
    ("convert",): ["start", "run", "export", "corpus", "text", "nowhere", "hf:", "hf:tiny"],
    ("eval", "bpb"): ["run", "export", "nowhere"],
    ("eval", "transfer"): ["run", "export", "nowhere"],
    ("generate",): ["run", "export", "nowhere", "corpus"],
    ("export",): ["run", "export", "nowhere"],
    ("study",): ["study_short", "nothing", "run/config.toml"],
}
USUAL = {
    ("train",): [*SMALL, "--corpus", "corpus", "--stop", "2 steps", "--out", "new"],
    ("convert",): [*CONVERT[2:], "--out", "new"],
    ("prepare",): ["--out", "new", "--workers", "1"],
    ("views", "train"): ["--corpus", "corpus", "--out", "new.view"],
    ("views", "compare"): ["--corpus", "corpus", "--out", "new.html"],
    ("views", "inspect"): ["--views", "raw", "--corpus", "corpus"],
    ("generate",): ["--prompt", "def ", "--max-bytes", "5"],
    ("export",): ["--out", "new"],
    ("study",): ["--plan"],
    ("demo",): ["--scratch", "--minutes", "0.01", "--out", "new"],
    ("eval", "bpb"): ["--max-bytes", "300"],
    ("eval", "transfer"): ["--passages", "2"],
}
OFTEN = {("demo",): 1, ("convert",): 4, ("study",): 2, ("views", "compare"): 4}
UNTOUCHED = ("text", "lines.jsonl")


class CommandLines:
    """Trials of this kind."""

    def __init__(self, world: World) -> None:
        self.world = world

    def trial(self, rng: random.Random, folder: Path) -> Outcome:
        """Run one command line; nobody's sources may be gone afterwards."""
        place = self.world.copy(folder / "trial", THINGS)
        arguments = self.command_line(rng)
        what = " ".join(map(ascii, arguments))
        ended = server.run(arguments, place, limit=SECONDS)
        outcome = judged(ended, what, raw=arguments[:1] == ["generate"])
        for name in UNTOUCHED:
            if not outcome.is_fault and _content(place / name) != _content(self.world.folder / name):
                return Outcome(LOST, what, f"{name} is another one now")
        return outcome

    def command_line(self, rng: random.Random) -> list[str]:
        command = rng.choices(COMMANDS, [OFTEN.get(one, 12) for one in COMMANDS])[0]
        arguments = list(command)
        if rng.random() < 0.02:
            return [rng.choice(WORDS) for _ in range(rng.randint(0, 3))]
        if rng.random() < 0.03:
            arguments[-1] = _mistyped(rng, arguments[-1])
        subjects = SUBJECTS.get(command, [])
        if subjects and rng.random() < 0.95:
            arguments.append(subjects[0] if rng.random() < 0.7 else rng.choice([*subjects, *WORDS]))
        usual = USUAL.get(command, [])
        if rng.random() < 0.9:
            arguments += usual
        for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
            option = rng.choice(self.world.options[command] or ["--json"])
            arguments.append(_mistyped(rng, option) if rng.random() < 0.05 else option)
            for _ in range(rng.choice([0, 1, 1, 1, 1, 2])):
                arguments.append(rng.choice(NUMBERS) if rng.random() < 0.6 else rng.choice([*WORDS, *THINGS]))
        return [one for one in arguments if "\0" not in one]


def _mistyped(rng: random.Random, word: str) -> str:
    at = rng.randrange(len(word))
    return word[:at] + rng.choice(["", "x", word[at] * 2]) + word[at + 1 :]


def _content(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(one.relative_to(path)): one.read_bytes() for one in sorted(path.rglob("*")) if one.is_file()}
