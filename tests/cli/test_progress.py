import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from tests.cli.commands import on_terminal
from tests.waiting import GUARD_SECONDS

from byteproxy.cli import progress as progress_module
from byteproxy.cli.progress import progress_line, seconds_between, stage
from byteproxy.errors import InputError


@pytest.fixture
def clock(monkeypatch):
    """The time that stages see, in a list of one."""
    now = [100.0]
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return now


def test_where_no_terminal_is_lines_tell_of_begin_and_end(capsys, clock):
    with stage("count sheep", "B") as progress:
        progress(5_000_000, 10_000_000)
        clock[0] += 0.4
        progress(10_000_000, 10_000_000)
    with stage("count goats", "goats") as progress:
        clock[0] += 0.5
        progress(1500, 0)
    with stage("count none", "B"):
        pass
    assert capsys.readouterr().err.splitlines() == [
        "count sheep ...",
        "count sheep: 0.4 s, 10.0 MB, 25.0 MB/s",
        "count goats ...",
        "count goats: 0.5 s, 1,500 goats, 3,000 goats/s",
        "count none ...",
        "count none: 0.0 s",
    ]


@pytest.mark.usefixtures("clock")
def test_no_rate_is_made_up_from_no_time(capsys):
    with stage("count sheep", "B") as progress:
        progress(10, 10)
    assert capsys.readouterr().err == "count sheep ...\ncount sheep: 0.0 s, 10 bytes\n"


@pytest.mark.usefixtures("clock")
def test_what_else_there_is_to_say_stands_at_the_end(capsys):
    with stage("count sheep", "B") as progress:
        progress(10, 20, "3 flocks")
        progress(20, 20, "7 flocks")
    assert capsys.readouterr().err.splitlines()[-1] == "count sheep: 0.0 s, 20 bytes, 7 flocks"


def test_a_long_stage_tells_how_far_it_is_though_it_reports_nothing_new():
    """The stage ends when its second line was read, so that no clock decides."""
    code = (
        "import sys\nfrom byteproxy.cli.progress import stage\n"
        "with stage('count sheep', 'sheep') as progress:\n    progress(3, 12)\n    sys.stdin.readline()\n"
    )
    environment = {**os.environ, "BYTEPROXY_PROGRESS_SECONDS": "0.01"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr.readline() == "count sheep ...\n"
    lines = [process.stderr.readline() for _ in range(2)]
    process.communicate("\n", timeout=GUARD_SECONDS)
    for line in lines:
        assert re.match(r"count sheep: \d+ s, 3 of 12 sheep \(25 %\), [\d.,]+ sheep/s, about \d+ s left", line)


@pytest.mark.parametrize(
    ("seconds", "done", "total", "note", "line"),
    [
        (30, 0, 0, "", "read: 30 s"),
        (30, 0, 100, "2 faulty", "read: 30 s, 2 faulty"),
        (30, 6_000_000, 0, "", "read: 30 s, 6.0 MB, 200.0 kB/s"),
        (90, 6_000_000, 24_000_000, "", "read: 2 min, 6.0 MB of 24.0 MB (25 %), 66.7 kB/s, about 4 min left"),
        (9000, 10, 40, "", "read: 2 h 30 min, 10 bytes of 40 bytes (25 %), 4 bytes/h, about 7 h 30 min left"),
    ],
)
def test_what_a_line_says(seconds, done, total, note, line):
    assert progress_line("read", "B", seconds, done, total, note) == line


@pytest.mark.parametrize(
    ("seconds", "done", "rate"), [(10, 100, "10 arms/s"), (300, 1, "0.2 arms/min"), (7200, 1, "0.5 arms/h")]
)
def test_a_slow_rate_is_no_zero(seconds, done, rate):
    assert f", {rate}" in progress_line("train", "arms", seconds, done, 200)


def test_how_often_is_for_the_environment_to_say(monkeypatch):
    monkeypatch.delenv("BYTEPROXY_PROGRESS_SECONDS", raising=False)
    assert seconds_between() == 30
    for told, seconds in (("0", 0), ("2.5", 2.5), ("", 30)):
        monkeypatch.setenv("BYTEPROXY_PROGRESS_SECONDS", told)
        assert seconds_between() == seconds
    for told in ("often", "-1", "nan", "inf", "1e300"):
        monkeypatch.setenv("BYTEPROXY_PROGRESS_SECONDS", told)
        with pytest.raises(InputError, match="number of seconds"):
            seconds_between()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_a_bar_on_a_terminal_takes_any_name_and_any_encoding(encoding):
    code = (
        "from byteproxy.console import take_any_text\ntake_any_text()\n"
        "from byteproxy.cli.progress import stage\n"
        "with stage('count \\x1b]0;owned\\x07 [/x] \\u6587', 'B') as progress:\n"
        "    progress(1000, 12000, '[red] \\x9b2J')\n"
    )
    command = ["env", f"PYTHONIOENCODING={encoding}", sys.executable, "-c", code]
    seen = on_terminal(command, "stderr")
    assert b"count \\x1b]0;owned\\x07 [/x] " in seen
    assert b"[red] \\x9b2J" in seen
    assert b"\x1b]0;owned" not in seen
