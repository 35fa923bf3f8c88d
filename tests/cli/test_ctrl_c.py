"""Ctrl-C stops a command with one line, wherever it is."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from tests.fuzz import server
from tests.small_stdlib import found_here_too, small_stdlib
from tests.waiting import GUARD_SECONDS, until


def test_ctrl_c_stops_with_one_line_and_the_same_command_goes_on(tmp_path):
    """Stopped in training twice: the second time it had taken up where it stopped, and prepared nothing again.

    In forks of this process: to import byteproxy takes longer than to come to the first steps.
    """
    command = ["demo", "--scratch", "--minutes", "5", "--out", str(tmp_path / "run"), "--json"]
    metrics = tmp_path / "run" / "arms" / "bytes" / "metrics.jsonl"
    steps: list[list[int]] = []
    environment = small_stdlib(tmp_path / "stdlib")
    server.load()
    for _ in range(2):
        before = len(steps_in(metrics))

        def presses(before=before):
            until(lambda: len(steps_in(metrics)) > before)
            os.kill(os.getpid(), signal.SIGINT)

        def program(arguments, presses=presses):
            os.environ.update(environment)
            found_here_too(tmp_path / "stdlib")
            torch._dynamo.config.disable = True  # compiling takes longer than all the rest
            threading.Thread(target=presses, daemon=True).start()
            return server.byteproxy_main(arguments)

        done = server.run(command, tmp_path, limit=GUARD_SECONDS, program=program)
        assert done.status == 130, done.said
        assert done.said.strip().splitlines()[-1] == "byteproxy: stopped; the same command goes on from here"
        assert "Traceback" not in done.said
        assert done.stdout == b"", "with --json, stdout is for programs"
        assert ("train the BPE view" in done.said) == (not steps)
        steps.append(steps_in(metrics))
    first, second = steps
    assert second[: len(first)] == first
    assert len(set(second)) == len(second) > len(first)


def steps_in(metrics: Path) -> list[int]:
    """The steps whose losses were logged; evaluations on the validation split are lines of their own."""
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return [line["step"] for line in map(json.loads, lines) if "loss" in line]


DEAF = """
import ctypes, numba, numpy, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from byteproxy.cli.ctrl_c import acknowledged

outside = ctypes.CDLL(None).getpid  # what it does is unknown, so that each round's number is really written
outside.argtypes, outside.restype = [], ctypes.c_int

@numba.njit("void(float64[::1])", nogil=True)
def deaf(seen):
    while True:
        seen[0] = outside()

def tell():
    while not seen[0]:
        pass
    print("waiting", flush=True)

seen = numpy.zeros(1)
with acknowledged():
    threading.Thread(target=tell, daemon=True).start()
    deaf(seen)
"""


def test_ctrl_c_is_acknowledged_where_python_does_not_run_and_obeyed_the_second_time():
    """In compiled code, which never asks whether there was a signal."""
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "byteproxy: stopping; Ctrl-C again to stop at once\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(GUARD_SECONDS) == 130
    finally:
        process.kill()


@pytest.mark.parametrize("stop", ["os.kill(os.getpid(), signal.SIGINT)", "sys.exit(130)"])
def test_ctrl_c_once_more_while_the_process_ends_prints_no_traceback(stop):
    code = (
        "import atexit, os, signal, sys\nfrom byteproxy.cli.ctrl_c import acknowledged\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        f"try:\n    with acknowledged():\n        {stop}\nexcept KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (130, "")
