"""A short form of `make fuzz`, and programs with known faults, which each judge has to find."""

import json
import mmap
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fuzz import damage, kills, outcome, server, texts
from tests.fuzz.command_lines import CommandLines
from tests.fuzz.world import COMMANDS, World
from tests.waiting import GUARD_SECONDS

ROOT = Path(__file__).parents[2]
TRIALS = 48


class Ticks:
    """A clock for the server that moves only by what the program in its child ticks, and sees each tick in time.

    A child goes on from a tick at the server's third look: the first may have begun before, and what the second leads
    to is done by then.
    """

    def __init__(self) -> None:
        self._ticks_and_looks = memoryview(mmap.mmap(-1, 16)).cast("q")

    def monotonic(self) -> float:
        self._ticks_and_looks[1] += 1
        return float(self._ticks_and_looks[0])

    sleep = staticmethod(time.sleep)

    def tick(self, seconds: int = 1) -> None:
        looks = self._ticks_and_looks[1]
        self._ticks_and_looks[0] += seconds
        while self._ticks_and_looks[1] < looks + 3:
            time.sleep(0.0005)


CLOCK = Ticks()


@pytest.fixture(autouse=True)
def no_other_clock(monkeypatch) -> None:
    monkeypatch.setattr(server, "time", CLOCK)


def test_no_trial_shows_a_fault() -> None:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.run",
        "--trials",
        str(TRIALS),
        "--jobs",
        "1",
        "--minutes",
        "60",
        "--json",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["trials"] == TRIALS


def refuses(arguments):
    print("byteproxy: what it says", file=sys.stderr)
    return 2


def mumbles(arguments):
    print("usage: something\nelse", file=sys.stderr)
    return 2


def repeats_itself(arguments):
    print("byteproxy: one\nbyteproxy: two", file=sys.stderr)
    return 2


def raises(arguments):
    raise ValueError("a fault")


def crashes(arguments):
    os.kill(os.getpid(), signal.SIGKILL)


def colours(arguments):
    print("\x1b[31mred")
    return 0


def deaf(arguments):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    CLOCK.tick(61)
    CLOCK.tick(30)


def listens(arguments):
    try:
        CLOCK.tick(61)
        time.sleep(GUARD_SECONDS)
    except KeyboardInterrupt:
        return 130


def does(arguments):
    return 0


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (refuses, outcome.CLEAR),
        (does, outcome.HARMLESS),
        (listens, outcome.HARMLESS),
        (mumbles, outcome.UNCLEAR),
        (repeats_itself, outcome.UNCLEAR),
        (raises, outcome.TRACEBACK),
        (crashes, outcome.TRACEBACK),
        (colours, outcome.WRONG),
        (deaf, outcome.HUNG),
    ],
)
def test_a_command_is_judged_by_how_it_ends(program, kind, tmp_path: Path) -> None:
    ended = server.run([], tmp_path, limit=60, program=program, grace=30)
    assert outcome.judged(ended, "").kind == kind
    assert not list(tmp_path.iterdir())


def test_a_killed_command_takes_its_children_along(tmp_path: Path) -> None:
    ends, held = os.pipe()  # held open by both: its end is theirs

    def forks(arguments):
        if os.fork():
            CLOCK.tick()
        time.sleep(2 * GUARD_SECONDS)

    ended = server.run([], tmp_path, kill_after=1, program=forks)
    os.close(held)
    assert ended.status == -signal.SIGKILL
    assert select.select([ends], [], [], GUARD_SECONDS)[0]
    os.close(ends)


@pytest.fixture
def tiny(tmp_path: Path) -> World:
    """A world of one file, for readers and writers made up here."""
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "number").write_text("12345")
    return World(tmp_path / "world")


def with_reader(monkeypatch, program, **more) -> None:
    reader = damage.Reader(("number",), "number", (), lambda folder, ended: ended.stdout.decode(), **more)
    monkeypatch.setattr(damage, "READERS", {"reader": reader})
    monkeypatch.setattr(server, "byteproxy_main", program)


def kinds_found(trials, tmp_path: Path, count: int = 30) -> set[str]:
    return {trials.trial(random.Random(n), tmp_path / f"folder{n}").kind for n in range(count)}


def test_a_reader_that_trusts_what_it_reads_is_found(monkeypatch, tmp_path: Path, tiny: World) -> None:
    def trusts(arguments):
        print(ascii(Path("number").read_bytes()) if Path("number").exists() else "")
        return 0

    with_reader(monkeypatch, trusts)
    assert outcome.WRONG in kinds_found(damage.Damage(tiny), tmp_path)


def test_a_reader_that_checks_what_it_reads_has_no_fault(monkeypatch, tmp_path: Path, tiny: World) -> None:
    def checks(arguments):
        if Path("number").exists() and Path("number").read_bytes() == b"12345":
            print("12345")
            return 0
        return refuses(arguments)

    with_reader(monkeypatch, checks)
    assert kinds_found(damage.Damage(tiny), tmp_path) <= {outcome.CLEAR, outcome.HARMLESS}


@pytest.mark.parametrize(("figures_only", "kind"), [(True, outcome.HARMLESS), (False, outcome.WRONG)])
def test_only_figures_may_differ_where_the_reader_says_so(
    figures_only: bool, kind: str, monkeypatch, tmp_path: Path, tiny: World
) -> None:
    def tells(arguments):
        whole = Path("number").exists() and Path("number").read_bytes() == b"12345"
        print("12345" if whole else "less")
        if not whole:
            print("number is damaged: left out", file=sys.stderr)
        return 0

    with_reader(monkeypatch, tells, figures_only=figures_only)
    assert kind in kinds_found(damage.Damage(tiny), tmp_path)


def with_writer(monkeypatch, program) -> None:
    writer = kills.Writer((), (), "out", lambda path: path.read_text())
    monkeypatch.setattr(kills, "WRITERS", {"writer": writer})
    monkeypatch.setattr(server, "byteproxy_main", program)


def slowly(write, text="whole"):
    for letter in text:
        write(letter)
        CLOCK.tick()


def test_a_writer_that_leaves_half_a_file_is_found(monkeypatch, tmp_path: Path, tiny: World) -> None:
    def appends(arguments):
        with Path("out").open("a", buffering=1) as file:
            slowly(lambda letter: (file.write(letter), file.flush()))
        return 0

    with_writer(monkeypatch, appends)
    assert outcome.WRONG in kinds_found(kills.Kills(tiny), tmp_path, 6)


def test_a_writer_that_renames_has_no_fault(monkeypatch, tmp_path: Path, tiny: World) -> None:
    def renames(arguments):
        with Path("aside").open("w") as file:
            slowly(file.write)
        Path("aside").rename("out")
        return 0

    with_writer(monkeypatch, renames)
    assert kinds_found(kills.Kills(tiny), tmp_path, 6) == {outcome.HARMLESS}


def test_a_writer_that_refuses_what_it_left_is_found(monkeypatch, tmp_path: Path, tiny: World) -> None:
    def locks_itself_out(arguments):
        if Path("lock").exists():
            return refuses(arguments)
        Path("lock").touch()
        slowly(lambda letter: None)
        Path("out").write_text("whole")
        return 0

    with_writer(monkeypatch, locks_itself_out)
    assert outcome.LOST in kinds_found(kills.Kills(tiny), tmp_path, 6)


def test_what_python_reads_in_records_is_what_was_written() -> None:
    """The oracle of texts finds each sound record, whatever stands beside its text."""
    found = [texts.records(random.Random(n)) for n in range(50)]
    assert all(text.decode() for made in found for text in made.sound)
    assert sum(len(made.sound) for made in found) > 0.7 * sum(made.content.count(b"\n") for made in found)


@pytest.mark.parametrize("suffix", list(texts.UNPACKERS))
def test_what_can_be_read_of_a_cut_file(suffix: str) -> None:
    content = random.Random(0).randbytes(5000)
    packed = texts.PACKED[suffix](content)
    assert texts._readable(packed, suffix) == content
    assert content.startswith(texts._readable(packed[: len(packed) // 2], suffix))


def test_command_lines_use_each_command_and_its_options(tiny: World) -> None:
    tiny.options = {command: [f"--{command[-1]}-option"] for command in COMMANDS}
    lines = [CommandLines(tiny).command_line(random.Random(n)) for n in range(3000)]
    for command in COMMANDS:
        assert any(tuple(line[: len(command)]) == command for line in lines)
        assert any(f"--{command[-1]}-option" in line for line in lines)


def test_command_lines_that_spoil_a_source_are_found(monkeypatch, tmp_path: Path) -> None:
    sound = tmp_path / "world"
    for name in ("text", "corpus", "run", "export", "start"):
        (sound / name).mkdir(parents=True)
    for name in ("text/a.py", "lines.jsonl", "bpe.json", "codebook.view"):
        (sound / name).write_text("sound")

    def spoils(arguments):
        Path("text/a.py").write_text("spoilt")
        return 0

    monkeypatch.setattr(server, "byteproxy_main", spoils)
    trials = CommandLines(World(sound, options={command: [] for command in COMMANDS}))
    assert kinds_found(trials, tmp_path, 2) == {outcome.LOST}
