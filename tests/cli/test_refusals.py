"""What goes wrong is one line on any terminal, and a bug shows where it is."""

import errno
import json
import os
import subprocess
import sys

import pytest
from tests.cli.commands import in_process
from tests.waiting import GUARD_SECONDS

from byteproxy.cli import main as cli
from byteproxy.cli import refusals
from byteproxy.files import read_bytes


def refused(status, said):
    """Exit status 2 and one line that is no traceback; the first command ever compiles before it."""
    assert status == 2, said
    (line,) = [line for line in said.strip().splitlines() if not line.startswith("compiling ")]
    assert line.startswith("byteproxy: ")
    return line


REFUSALS = """
import json, os, sys
import numpy, pyarrow, rich.console, rich.table, tyro

words = sys.argv[1:]
at = words.index("and")
for columns in ("1", "20", "200"):
    for command in (words[:at], words[at + 1 :]):
        hears, says = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(says, 2)
            os.environ["COLUMNS"] = columns
            sys.argv = ["byteproxy", *command]
            from byteproxy.cli.main import main
            try:
                main()
            except SystemExit as end:
                sys.stderr.flush()
                os._exit(end.code or 0)
            os._exit(0)
        os.close(says)
        with os.fdopen(hears, "rb") as heard:
            said = heard.read().decode(sys.stderr.encoding)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([columns, status, said]), flush=True)  # not once more by the next fork
"""


@pytest.fixture(scope="module", params=["ascii", "latin-1", "utf-8"])
def refusals_said(request):
    """What two mistakes are told on terminals of an encoding, by their width, in forks of one process."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    environment |= {"PYTHONIOENCODING": request.param, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ["generate", "--prompt", "文", "名", "--utf9", "and", "corpus", "stats", "名"]
    command = [sys.executable, "-c", REFUSALS, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 6
    return found


@pytest.mark.parametrize("columns", ["1", "20", "200"])
def test_a_refusal_is_a_line_on_any_terminal(refusals_said, columns):
    option, folder = (refused(status, said) for width, status, said in refusals_said if width == columns)
    assert "there is no option --utf9" in option
    assert "holds no finished corpus" in folder


def fails_with(error, monkeypatch, capsys):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    return in_process(monkeypatch, capsys)("demo")


@pytest.mark.parametrize("number", [*refusals._NAMES, *refusals._ANYWHERE, *refusals._FULL, *refusals._FORBIDDEN])
def test_what_the_system_has_against_a_file_is_one_line_that_names_it(monkeypatch, capsys, tmp_path, number):
    status, _, said = fails_with(OSError(number, os.strerror(number), str(tmp_path / "a\nb")), monkeypatch, capsys)
    assert status == 2
    assert len(said.splitlines()) == 1
    assert r"a\nb" in said or number in refusals._ANYWHERE


def test_other_errors_of_the_system_and_bugs_show_where_they_are(monkeypatch, capsys):
    for bug in (OSError(errno.ENOENT, "x"), OSError(errno.EBADF, "x"), ValueError("x"), RecursionError(), KeyError(1)):
        with pytest.raises(type(bug)):
            fails_with(bug, monkeypatch, capsys)


def test_reading_is_told_from_writing(monkeypatch, capsys, tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "new"))
    assert "cannot write" in fails_with(error, monkeypatch, capsys)[2]
    (tmp_path / "there").touch()
    monkeypatch.setattr(refusals.os, "access", lambda path, mode: mode != os.R_OK)
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "there"))
    assert "cannot read" in fails_with(error, monkeypatch, capsys)[2]


def test_names_and_memory_that_cannot_be_are_one_line(monkeypatch, capsys):
    for error, says in (
        (UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed"), "can't be used as a name"),
        (ValueError("embedded null byte"), "a byte of zero"),
        (MemoryError("Unable to allocate 3 TiB"), "memory is used up (Unable to allocate 3 TiB)"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 3"), "memory is used up"),
    ):
        status, _, said = fails_with(error, monkeypatch, capsys)
        assert status == 2
        assert says in said


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.write_bytes(b"12345")])
def test_what_is_refused_of_a_file_is_said_as_it_is(tmp_path, make):
    make(tmp_path / "it")
    with pytest.raises(OSError) as refused:  # noqa: PT011 - of several kinds
        read_bytes(tmp_path / "it", 4)
    told = refusals.refusal_of(refused.value)
    assert told is not None
    assert told.startswith(f"cannot use {tmp_path / 'it'}: it ")
