import hashlib
import os
import signal
import subprocess
import sys
import threading

import pytest
from tests.waiting import GUARD_SECONDS

from byteproxy.train.interrupt import Interrupt

ANSWER = "byteproxy: stopping after this step; again to stop now"


def kill(number=signal.SIGINT):
    os.kill(os.getpid(), number)


def run(code, **options):
    """The lines on stderr, and the exit status, of a program that has an `Interrupt`."""
    begin = "import os, signal, sys\nfrom byteproxy.train.interrupt import Interrupt\n"
    begin += "def kill(number=signal.SIGINT): os.kill(os.getpid(), number)\n"
    done = subprocess.run(
        [sys.executable, "-c", begin + code], capture_output=True, text=True, timeout=GUARD_SECONDS, **options
    )
    return done.stderr.splitlines(), done.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_that_is_answered_and_what_was_there_before_comes_back(number, capsys):
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert not interrupt.wanted
        kill(number)
        assert interrupt.wanted
    assert signal.getsignal(number) == before
    assert capsys.readouterr().err.splitlines() == [ANSWER]


def test_the_second_one_acts_as_it_always_did(capsys):
    with Interrupt():
        kill()
        with pytest.raises(KeyboardInterrupt):
            kill()
    assert capsys.readouterr().err.splitlines() == [ANSWER, "byteproxy: stopping now"]


def test_it_is_answered_while_the_main_thread_is_inside_a_long_call(monkeypatch):
    """The call can only be said to have lasted if the answer came before its end."""
    answered, seen = threading.Event(), []
    monkeypatch.setattr("byteproxy.train.interrupt._say", lambda words: answered.set())
    with Interrupt() as interrupt:
        threading.Timer(0.01, kill).start()
        while not answered.is_set():
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 3_000_000)  # no Python code runs in this thread meanwhile
            seen.append((answered.is_set(), interrupt.wanted))
    assert seen[-1][0]


def test_ignored_signals_stay_ignored_and_the_others_work():
    code = (
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "with Interrupt() as interrupt:\n"
        "    kill()\n    kill()\n    os.write(2, b'%r\\n' % interrupt.wanted)\n"
        "    kill(signal.SIGTERM)\n    os.write(2, b'%r\\n' % interrupt.wanted)\n"
    )
    lines, status = run(code)
    assert status == 0
    assert lines[0] == "False"
    assert sorted(lines[1:]) == sorted([ANSWER, "True"])


def test_a_third_one_ends_what_does_not_listen():
    code = (
        "with Interrupt():\n    for _ in range(3):\n        try:\n            kill()\n"
        "        except KeyboardInterrupt:\n            pass\n    import time\n    time.sleep(100)\n"
    )
    lines, status = run(code)
    assert (lines, status) == ([ANSWER, "byteproxy: stopping now", "byteproxy: stopped"], 130)


def test_outside_the_main_thread_it_does_nothing():
    found = []

    def inside():
        with Interrupt() as interrupt:
            found.append(interrupt.wanted)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert found == [False]
