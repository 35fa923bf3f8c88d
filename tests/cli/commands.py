"""Commands in this process, as a user meets them."""

import base64
import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from tests.waiting import GUARD_SECONDS

from byteproxy.cli import main as cli

BYTEPROXY = Path(sys.executable).parent / "byteproxy"
SCRIPT = files("byteproxy.report") / "templates" / "page.js"
SLOW_TO_IMPORT = {"numpy", "numba", "pyarrow", "scipy", "torch", "transformers"}


def in_process(monkeypatch, capsys):
    """What runs `byteproxy ...` and gives (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["byteproxy", *map(str, arguments)])
        status, heard_by = 0, signal.getsignal(signal.SIGINT)
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        finally:
            signal.signal(signal.SIGINT, heard_by)  # a process that was stopped ends at the next one
        return status, *capsys.readouterr()

    return run


def last_object(result):
    """The object of a command with --json that went well: stdout holds one line."""
    status, stdout, stderr = result
    assert status == 0, stderr
    assert len(stdout.splitlines()) == 1
    return json.loads(stdout, parse_constant=pytest.fail)


def refusal(result):
    """Exit status 2 and one line that is no traceback."""
    status, _, stderr = result
    assert status == 2, stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("byteproxy: ")]
    assert "Traceback" not in stderr
    return line


def explained(text, option):
    """Whether a help text has more to say about an option than its name."""
    line = next(line for line in text.splitlines() if line.strip("│ ").startswith(option))
    following = text.splitlines()[text.splitlines().index(line) + 1]
    return len(f"{line} {following}".replace("│", " ").split()) > 4


def help_at_once(*words):
    """What a help text says in a process of its own, which imports nothing that takes long."""
    command = [sys.executable, "-X", "importtime", BYTEPROXY, *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert {"byteproxy", "rich"} <= imported
    assert not imported & SLOW_TO_IMPORT
    return done.stdout


def keeps_to_itself(page):
    """Whether a page asks nothing of a network and runs no script, or ours alone, by the hash in its policy."""
    opening = r'<script data-written="\d+" data-renew="\d*" data-stale="\d+">'
    scripts = re.findall(f"{opening}(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    allowed = "".join(f"; script-src 'sha256-{one}'" for one in hashes)
    policy = f"content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:{allowed}\""
    ours = scripts in ([], [SCRIPT.read_text()]) and page.count("<script") == len(scripts)
    return ours and policy in page and "http://" not in page and "https://" not in page


def on_terminal(command, stream="stdout", **options):
    """What a command writes to a pseudo-terminal, as bytes, with colours; the other stream is lost."""
    leader, follower = pty.openpty()
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: follower}
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": "120"}
    process = subprocess.Popen(command, env=environment, **streams, **options)
    os.close(follower)
    seen = b""
    try:
        while part := os.read(leader, 4096):
            seen += part
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    return seen
