"""`make fuzz`: random trials of the whole program, each judged.

    python -m tests.fuzz.run --seed 7 --minutes 5       until the time is up
    python -m tests.fuzz.run --trials 2000              so many
    python -m tests.fuzz.run --seed 7 --only 123        one trial again; its folder stays

A trial is a function of the seed and its number, but for the moments at which a process is killed. Exit status 1 if any
trial shows a fault: a traceback, a wrong result, lost text, a hang, or a refusal that does not say why in one line.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.fuzz import server, world
from tests.fuzz.command_lines import CommandLines
from tests.fuzz.damage import Damage
from tests.fuzz.kills import Kills
from tests.fuzz.outcome import FAULTS, OUTCOMES, TRACEBACK, Outcome
from tests.fuzz.texts import Texts
from tests.fuzz.world import World

KINDS = {"command lines": CommandLines, "damage": Damage, "texts": Texts, "kills": Kills}
SHARES = {"command lines": 4, "damage": 4, "texts": 3, "kills": 1}


class Kind(Protocol):
    """Trials of one kind."""

    def trial(self, rng: random.Random, folder: Path) -> Outcome:
        """One trial in a new folder."""


def main() -> int:
    """Run trials, print what came of them, and give the exit status."""
    given = _arguments()
    os.environ["OMP_NUM_THREADS"] = "1"
    place = Path(tempfile.mkdtemp(prefix="byteproxy-fuzz-"))
    os.environ["XDG_STATE_HOME"] = str(place)
    try:
        print("making a sound world: a corpus, views, runs, an export ...", file=sys.stderr, flush=True)
        sound = _made(place / "world")
        if given.only is not None:
            name, outcome = one(_kinds(sound, given.kinds), given.seed, given.only, place / "only")
            print(f"{name}: {outcome.kind}: {outcome.what}\n{outcome.why}\nFolder: {place / 'only'}")
            return int(outcome.is_fault)
        end = time.monotonic() + 60 * given.minutes
        found = list(_trials(sound, given, end, place))
    finally:
        if given.only is None:
            shutil.rmtree(place, ignore_errors=True)
    return _report(found, given)


def one(kinds: dict[str, Kind], seed: int, number: int, folder: Path) -> tuple[str, Outcome]:
    """A trial by its number, and the name of its kind."""
    rng = random.Random(f"{seed}:{number}")
    name = rng.choices(list(kinds), [SHARES[kind] for kind in kinds])[0]
    folder.mkdir(parents=True)
    return name, kinds[name].trial(rng, folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0, help="another one makes other trials; 0")
    parser.add_argument("--minutes", type=float, default=5.0, help="start no trial after so long; 5")
    parser.add_argument("--trials", type=int, default=1_000_000, help="at most so many")
    parser.add_argument("--first", type=int, default=0, help="number of the first trial; 0")
    parser.add_argument("--only", type=int, help="number of the one trial to run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes; one a core")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS), help="what to try; all")
    parser.add_argument("--json", action="store_true", help="end the output with one JSON object")
    return parser.parse_args()


def _made(folder: Path) -> World:
    """The world, with everything that its commands print kept to ourselves."""
    folder.mkdir()
    server.load()
    log = folder.parent / "world.log"
    out, err = os.dup(1), os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            return world.make(folder)
        except BaseException:
            os.write(err, log.read_bytes())
            raise
        finally:
            sys.stdout.flush()
            os.dup2(out, 1)
            os.dup2(err, 2)


def _kinds(sound: World, names: list[str]) -> dict[str, Kind]:
    return {name: KINDS[name](sound) for name in names}


def _trials(sound: World, given: argparse.Namespace, end: float, place: Path) -> Iterator[tuple[int, str, Outcome]]:
    """The outcomes of all trials, as they come in from all processes."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    workers = [
        context.Process(target=_work, args=(sound, given, job, end, place / f"job{job}", queue))
        for job in range(given.jobs)
    ]
    for worker in workers:
        worker.start()
    left, counted, told = len(workers), 0, time.monotonic()
    while left:
        answer = queue.get()
        if answer is None:
            left -= 1
            continue
        counted += 1
        number, name, outcome = answer
        if outcome.is_fault:
            print(f"\n{number} {name}: {outcome.kind}: {outcome.what}\n  {outcome.why.strip()[-1500:]}", flush=True)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{counted} trials, {max(0, end - told):.0f} s left", file=sys.stderr, flush=True)
        yield answer
    for worker in workers:
        worker.join()


def _work(sound: World, given: argparse.Namespace, job: int, end: float, place: Path, queue: object) -> None:
    kinds = _kinds(sound, given.kinds)
    try:
        for number in range(given.first + job, given.first + given.trials, given.jobs):
            if time.monotonic() > end:
                break
            folder = place / str(number)
            try:
                name, outcome = one(kinds, given.seed, number, folder)
            except Exception:  # of the trial itself: it must not end the others, nor go unseen
                name, outcome = given.kinds[0], Outcome(TRACEBACK, "the trial itself", traceback.format_exc())
            queue.put((number, name, outcome))  # type: ignore[attr-defined]
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        queue.put(None)  # type: ignore[attr-defined]


def _report(found: list[tuple[int, str, Outcome]], given: argparse.Namespace) -> int:
    counts = {name: Counter(outcome.kind for _, kind, outcome in found if kind == name) for name in given.kinds}
    print(f"\n{'trials':14}" + "".join(f"{outcome:>11}" for outcome in ("all", *OUTCOMES)))
    for name, counted in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        print(f"{name:14}" + "".join(f"{n:>11,}" for n in (counted.total(), *(counted[one] for one in OUTCOMES))))
    faults = sorted(number for number, _, outcome in found if outcome.is_fault)
    if faults:
        print(f'One of them again: make fuzz FUZZ_ARGS="--seed {given.seed} --only {faults[0]}"')
    if given.json:
        print(json.dumps({"seed": given.seed, "trials": len(found), "faults": faults, "counts": counts}))
    missing = not found
    if missing:
        print("no trial was run", file=sys.stderr)
    return int(any(outcome.kind in FAULTS for _, _, outcome in found) or missing)


if __name__ == "__main__":
    sys.exit(main())
