"""`kill -9` at random moments of each command that writes: the same command, or the one that goes on, ends the same."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import results, server
from tests.fuzz.outcome import HARMLESS, LOST, WRONG, Outcome, judged
from tests.fuzz.world import PREPARE, STUDYING, TRAIN, World


@dataclass(frozen=True)
class Writer:
    """A command that is killed, and what it should leave.

    things: what is copied for it. arguments: of the command. out: what it writes.
    result: a digest of what it left. on: the command that goes on where `out` has a file of that name.
    """

    things: tuple[str, ...]
    arguments: tuple[str, ...]
    out: str
    result: Callable[[Path], str]
    on: tuple[str, tuple[str, ...]] | None = None


def _study_results(folder: Path) -> str:
    """What a study found, without what took how long."""
    return results.figures_of((folder / "results.json").read_bytes())


_RESUME = ("config.toml", ("train", "--resume", "new"))
WRITERS = {
    "prepare": Writer(("text", "lines.jsonl"), (*PREPARE, "--out", "new"), "new", results.corpus),
    "prepare by two": Writer(("text", "lines.jsonl"), (*PREPARE[:-1], "2", "--out", "new"), "new", results.corpus),
    "train": Writer(("corpus",), (*TRAIN, "--out", "new"), "new", results.weights, _RESUME),
    "train from": Writer(
        ("corpus", "start"), (*TRAIN, "--from", "start", "--out", "new"), "new", results.weights, _RESUME
    ),
    "resume": Writer(("corpus", "half"), ("train", "--resume", "half"), "half", results.weights),
    "export": Writer(("run",), ("export", "run", "--out", "new"), "new", results.exported),
    "study": Writer(("lines.jsonl", "study.toml"), STUDYING, "study", _study_results),
    "views train": Writer(
        ("corpus",),
        ("views", "train", "codebook:bits=10", "--corpus", "corpus", "--out", "new.view"),
        "new.view",
        lambda path: path.read_bytes().hex(),
    ),
}


SELDOM = {"study": 1}  # takes ten seconds


class Kills:
    """Trials of this kind; `whole` keeps what an undisturbed command leaves, and how long it takes."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.whole: dict[str, tuple[str, float]] = {}

    def trial(self, rng: random.Random, folder: Path) -> Outcome:
        """Kill a command once to three times, and let it go on to its end."""
        name = rng.choices(list(WRITERS), [SELDOM.get(one, 8) for one in WRITERS])[0]
        writer = WRITERS[name]
        wanted, seconds = self._undisturbed(name, folder)
        place = self.world.copy(folder / "trial", writer.things)
        moments: list[str] = []
        for moment in [rng.uniform(0, seconds * 1.05) for _ in range(rng.choice([1, 1, 2, 3]))] + [None]:
            what = f"{name} killed after {', '.join(moments)} s and run again"
            ended = server.run(self._next(writer, place), place, kill_after=moment)
            if ended.status == -signal.SIGKILL and moment is not None:
                moments.append(f"{moment:.3f}")
                continue
            outcome = judged(ended, what)
            if ended.status == 2 and self._left(writer, place) == wanted:  # it had ended just before it was killed
                return Outcome(HARMLESS, what)
            if outcome.is_fault or ended.status:
                return Outcome(outcome.kind if outcome.is_fault else LOST, what, outcome.why or ended.said)
        if (found := self._left(writer, place)) != wanted:
            return Outcome(WRONG, what, f"left {found[:200]}, and {wanted[:200]} when undisturbed")
        return outcome

    def _left(self, writer: Writer, place: Path) -> str:
        try:
            return writer.result(place / writer.out)
        except (OSError, ValueError) as error:
            return f"nothing that can be read: {error!r}"

    def _next(self, writer: Writer, place: Path) -> tuple[str, ...]:
        if writer.on is not None and (place / writer.out / writer.on[0]).exists():
            return writer.on[1]
        return writer.arguments

    def _undisturbed(self, name: str, folder: Path) -> tuple[str, float]:
        if name not in self.whole:
            writer = WRITERS[name]
            place = self.world.copy(folder / "undisturbed", writer.things)
            ended = server.run(writer.arguments, place)
            assert ended.status == 0, ended.said
            self.whole[name] = writer.result(place / writer.out), ended.seconds
        return self.whole[name]
