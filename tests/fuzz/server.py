"""Commands in forked children of a process that has imported and compiled everything: tens of milliseconds each.

The parent keeps to one thread, so a child may go on where the parent stood. A child is a session of its own: whatever
it starts ends with it.
"""

import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LARGEST_FILE = 256 << 20
"""Bytes that a child may write into one file: a command that runs away stops here and not at a full disk."""
GRACE_SECONDS = 20.0
"""How long a command may take to stop after Ctrl-C."""


@dataclass(frozen=True)
class Ended:
    """What became of a command.

    status: exit status; -N for a signal N, as in subprocess.
    interrupted: it was still running at its limit and got Ctrl-C. hung: even that did not end it.
    """

    status: int
    stdout: bytes
    stderr: bytes
    seconds: float
    interrupted: bool = False
    hung: bool = False

    @property
    def said(self) -> str:
        return self.stderr.decode("utf-8", "replace")


def load() -> None:
    """Import all of byteproxy, so that no child has to, and none collects garbage among what was imported."""
    import gc
    import importlib
    import pkgutil

    import torch

    import byteproxy

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(byteproxy.__path__, "byteproxy."):
        importlib.import_module(module.name)
    gc.freeze()


def byteproxy_main(arguments: Sequence[str]) -> int:
    """What `byteproxy ARGUMENTS` does in this process, and its exit status."""
    from byteproxy.cli import main as cli

    sys.argv = ["byteproxy", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def run(
    arguments: Sequence[str],
    folder: Path,
    limit: float = 60.0,
    kill_after: float | None = None,
    program: Callable[[Sequence[str]], int] | None = None,
    grace: float = GRACE_SECONDS,
) -> Ended:
    """Run a command in a folder.

    limit: seconds until it gets Ctrl-C.
    kill_after: seconds until it is killed with all that it started, as by `kill -9`.
    program: takes the arguments and gives an exit status; byteproxy itself where None.
    grace: seconds until a command that got Ctrl-C counts as hung.
    """
    out, err = folder / ".stdout", folder / ".stderr"
    out.touch(0o600)
    err.touch(0o600)
    begin = time.monotonic()
    process = os.fork()
    if process == 0:
        _child(arguments, folder, out, err, program or byteproxy_main)
    status, interrupted, hung = _awaited(process, begin, limit, kill_after, grace)
    _kill(process)
    ended = Ended(status, out.read_bytes(), err.read_bytes(), time.monotonic() - begin, interrupted, hung)
    out.unlink()
    err.unlink()
    return ended


def call(function: Callable[..., Any], *arguments: Any) -> str:
    """What a function says in a child of its own: its result as text, or "" if it failed."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        with contextlib.suppress(BaseException):
            os.close(reading)
            os.write(writing, str(function(*arguments)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(process, 0)
    return answer


def _child(
    arguments: Sequence[str], folder: Path, out: Path, err: Path, program: Callable[[Sequence[str]], int]
) -> None:
    status = 70
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(os.open(out, os.O_WRONLY), 1)
        os.dup2(os.open(err, os.O_WRONLY), 2)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, mode, closefd=False) for n, mode in enumerate("rww"))
        os.chdir(folder)
        status = program(arguments)
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status & 255)


def _kill(process: int) -> None:
    """Kill what a child started, and the child, which may not have a session of its own yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(process, signal.SIGKILL)


def _awaited(
    process: int, begin: float, limit: float, kill_after: float | None, grace: float
) -> tuple[int, bool, bool]:
    """Exit status, whether it had to be interrupted, and whether that did not help."""
    interrupted = False
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), interrupted, False
        passed = time.monotonic() - begin
        if kill_after is not None and passed >= kill_after:
            _kill(process)
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), False, False
        if passed > limit and not interrupted:
            os.kill(process, signal.SIGINT)
            interrupted = True
        if passed > limit + grace:
            _kill(process)
            os.waitpid(process, 0)
            return -signal.SIGKILL, True, True
        time.sleep(0.002)
