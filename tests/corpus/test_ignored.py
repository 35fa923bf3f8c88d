"""The oracle is git itself."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from byteproxy.corpus.ignored import Patterns
from byteproxy.errors import InputError

LETTERS = ["a", "b", "c", "é", "-", ".", "!", "#", " ", "\t", "\\ ", "\\a", "\\*", "\\"]
STARS = ["*", "**", "***", "?", "/", "/", "**/", "/**", "/**/"]
SETS = ["[ab]", "[!a]", "[^b-d]", "[]a]", "[a-", "[b-a]", "[a-]", "[--0]", "[/]", "[!/]", "[a\\]b]", "[\\", "[a-\\c]"]
CLASSES = ["[[:alpha:]]", "[[:foo:]]", "[[:a]"]
PIECES = [*LETTERS, *STARS, *SETS, *CLASSES]
PATHS = ["a", "b", "ab", "abc", "a b", "é", "a ", "#", "!a", "-", "a]", "]", "*", "[a-", "a\\", "\\", "[", "d", "7"]
PATHS += ["a/b", "a/b/c", "b/a", "a/a/a", "c/b/a/ab", "a/[b", "x/y/z"]
GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", folder], check=True, env=GIT)
    return folder


@settings(max_examples=150, suppress_health_check=[HealthCheck.filter_too_much])
@given(lines=st.lists(st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join), min_size=1, max_size=3))
def test_as_git_decides(repository: Path, lines: list[str]) -> None:
    # Behind a literal, git takes "**/" for what it never is elsewhere, depending on where its first wildcard stands.
    assume(not any(re.search(r"[^/!*]\*\*+/", line) for line in lines))
    (repository / ".gitignore").write_bytes("\r\n".join(lines).encode())
    asked = "".join(f"{path}\0" for path in PATHS).encode()
    command = ["git", "-C", repository, "check-ignore", "--no-index", "-z", "--stdin"]
    answer = subprocess.run(command, input=asked, capture_output=True, env=GIT)
    patterns = Patterns.read(str(repository / ".gitignore"))
    ours = [path for path in PATHS if is_ignored(patterns, path)]
    assert ours == answer.stdout.decode().split("\0")[:-1]


def is_ignored(patterns: Patterns, path: str) -> bool:
    parts = path.split("/")
    folders = ("/".join(parts[:count]) + "/" for count in range(1, len(parts)))
    return any(patterns.verdict(folder) for folder in folders) or bool(patterns.verdict(path))


def test_what_is_in_a_folder_is_not_the_folder() -> None:
    patterns = Patterns([b"a", b"!a/*"])
    assert patterns.verdict("a/") is True
    assert patterns.verdict("a/b") is False


def test_a_file_is_covered_by_the_nearest_folder_that_is_spoken_of() -> None:
    patterns = Patterns([b"src/", b"!src/gen/", b"src/gen/keep/*.py"])
    assert patterns.covers("src/a.py")
    assert not patterns.covers("src/gen/b.py")
    assert patterns.covers("src/gen/keep/c.py")
    assert not patterns.covers("docs/a.py")


def test_gitignore_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.*No such file"):
        Patterns.read(str(tmp_path / "none"))
