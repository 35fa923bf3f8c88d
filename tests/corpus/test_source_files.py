import os
import pickle
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.corpus import source_files
from byteproxy.corpus.languages import LANGUAGES, language_of
from byteproxy.corpus.records import BAD_NAME, TOO_LARGE, TOO_SMALL, UNREADABLE, Rules
from byteproxy.corpus.source_files import FilesSource
from byteproxy.errors import InputError

GIT = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}

names = st.sampled_from(["a", "b", "ab", ".h"])
paths = st.lists(st.lists(names, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)
lines = st.lists(
    st.sampled_from(["a", "b", "!a", "!b", "a/", "!a/", "/a", "/ab/", "a/b", "!a/b", "**/b", "!**/b", "a/**", "!a/*"])
    | st.sampled_from(["*", "!*/", "!*", "*b", "?", "[!a]", "a/**/b", "/*", ".h", "# a", "", "**/a/", "!.h"]),
    max_size=4,
)


def made(root: Path, files: dict[str, bytes]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text)
    return root


def listed(source: FilesSource) -> list[str]:
    return [record.file for unit in source.units() for record in unit.read(Rules(smallest=0))]


@settings(max_examples=120)
@given(tree=paths, ignored=st.dictionaries(st.sampled_from(["", "a/", "a/b/", "b/", "ab/"]), lines, max_size=3))
def test_files_are_those_that_git_would_add(
    tmp_path_factory: pytest.TempPathFactory, tree: list[str], ignored: dict[str, list[str]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path in tree:
        if (
            not any((root / above).is_file() for above in [path, *map(str, Path(path).parents)])
            and not (root / path).is_dir()
        ):
            made(root, {path: b""})
    for where, patterns in ignored.items():
        if (root / where).is_dir():
            made(root, {f"{where}.gitignore": "\n".join(patterns).encode()})
    subprocess.run(["git", "init", "-q", root], check=True, env=GIT)
    command = ["git", "-C", root, "ls-files", "--others", "--exclude-standard", "-z"]
    by_git = subprocess.run(command, check=True, capture_output=True, env=GIT).stdout.decode().split("\0")[:-1]
    source = FilesSource("s", str(root), include=("*", ".*"))
    try:
        ours = listed(source)
    except InputError:
        ours = []
    assert ours == sorted(by_git)


TREE = {
    "top.py": b"t",
    "p/one.py": b"1",
    "p/q/two.RS": b"2",
    "p/q/r/three.txt": b"3",
    "p/data.bin": b"no",
    "p/.hidden.py": b"no",
    ".venv/lib/x.py": b"no",
    ".github/ci.yml": b"no",
    ".git/hook.py": b"no",
    "p/__pycache__/x.py": b"no",
    "z/Makefile": b"m",
}


def test_known_languages_are_taken_and_hidden_files_are_not(tmp_path: Path) -> None:
    source = FilesSource("s", str(made(tmp_path, TREE)))
    documents = [record.document for unit in source.units() for record in unit.read(Rules())]
    assert [(d.id, d.project, d.language, d.text, d.source) for d in documents if d] == [
        ("p/one.py", "p", "python", b"1", "s"),
        ("p/q/r/three.txt", "p", "text", b"3", "s"),
        ("p/q/two.RS", "p", "rust", b"2", "s"),
        ("top.py", "top.py", "python", b"t", "s"),
        ("z/Makefile", "z", "makefile", b"m", "s"),
    ]


@pytest.mark.parametrize(
    ("depth", "projects"),
    [
        (0, ["s", "s", "s", "s", "s"]),
        (2, ["p", "p/q", "p/q", "top.py", "z"]),
        (9, ["p", "p/q/r", "p/q", "top.py", "z"]),
    ],
)
def test_projects_by_depth(tmp_path: Path, depth: int, projects: list[str]) -> None:
    source = FilesSource("s", str(made(tmp_path, TREE)), depth=depth)
    assert [record.document.project for unit in source.units() for record in unit.read(Rules())] == projects  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "files"),
    [
        ({"include": ("*.bin", "z/")}, ["p/data.bin", "z/Makefile"]),
        ({"include": ("*",)}, ["p/data.bin", "p/one.py", "p/q/r/three.txt", "p/q/two.RS", "top.py", "z/Makefile"]),
        ({"include": (".github/", "top.*")}, [".github/ci.yml", "top.py"]),
        ({"include": ("*.py", ".*.py")}, ["p/.hidden.py", "p/one.py", "top.py"]),
        ({"include": ("p/", "!q")}, ["p/data.bin", "p/one.py"]),
        ({"exclude": ("/p/q", "*.py", "!top.py")}, ["top.py", "z/Makefile"]),
        ({"languages": ("rust", "makefile")}, ["p/q/two.RS", "z/Makefile"]),
        ({"languages": ("rust",), "include": ("*",)}, ["p/q/two.RS"]),
    ],
)
def test_patterns_and_languages_choose(tmp_path: Path, options: dict[str, tuple[str, ...]], files: list[str]) -> None:
    assert listed(FilesSource("s", str(made(tmp_path, TREE)), **options)) == files  # type: ignore[arg-type]


def test_an_exclude_stands_against_what_a_gitignore_takes_back(tmp_path: Path) -> None:
    made(tmp_path, {"a.py": b"", "b.py": b"", ".gitignore": b"*\n!*.py\n"})
    assert listed(FilesSource("s", str(tmp_path), exclude=("b.*",))) == ["a.py"]


def test_the_deepest_gitignore_that_speaks_decides(tmp_path: Path) -> None:
    made(tmp_path, {"a.py": b"", "p/a.py": b"", "p/q/a.py": b"", "p/b.py": b""})
    made(tmp_path, {".gitignore": b"a.py\n", "p/.gitignore": b"!a.py\nb.py\n", "p/q/.gitignore": b"a.py\n"})
    assert listed(FilesSource("s", str(tmp_path))) == ["p/a.py"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    root = made(tmp_path / "root", {"a/one.py": b"", "b.py": b""})
    (root / "link.py").symlink_to(root / "b.py")
    (root / "link").symlink_to(root / "a")
    (root / "loop").symlink_to(root)
    assert listed(FilesSource("s", str(root))) == ["a/one.py", "b.py"]


def test_what_cannot_be_a_document_is_rejected_with_its_reason(tmp_path: Path) -> None:
    bad = os.fsdecode(b"b\xff.py")
    made(tmp_path, {"a.py": b"a", bad: b"b", "c.py": b"", "d.py": b"d" * 9, "e.py": b"e", "f.py": b"\xff"})
    (unit,) = FilesSource("s", str(tmp_path)).units()
    (tmp_path / "a.py").unlink()
    (tmp_path / "e.py").write_bytes(b"grown")  # after the listing
    found = list(unit.read(Rules(largest=8, invalid="drop")))
    assert [(record.place, record.file, record.line) for record in found] == [
        (1, "a.py", 0),
        (2, "b\\xff.py", 0),
        (3, "c.py", 0),
        (4, "d.py", 0),
        (5, "e.py", 0),
        (6, "f.py", 0),
    ]
    assert [record.reason for record in found] == [UNREADABLE, BAD_NAME, TOO_SMALL, TOO_LARGE, "", "invalid UTF-8"]
    assert found[0].detail == "No such file or directory"
    assert found[3].detail == "9 bytes"
    assert found[4].document is not None
    assert found[4].document.text == b"grown"
    for after in range(8):
        assert list(pickle.loads(pickle.dumps(unit)).read(Rules(largest=8, invalid="drop"), after)) == found[after:]
    "".join(record.file for record in found).encode()  # all of it can be written down


def test_a_file_above_the_limit_is_not_opened_for_its_bytes(tmp_path: Path) -> None:
    with (tmp_path / "a.py").open("wb") as file:
        file.truncate(1 << 43)  # sparse: reading it would end in a MemoryError
    listed = source_files.SourceFile("a.py", 1, 0, "p")  # small then, or beside much more text
    (record,) = source_files.FilesUnit("s", str(tmp_path), (listed,)).read(Rules())
    assert record.reason == TOO_LARGE


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12))
@settings(max_examples=30)
def test_units_are_runs_of_files_of_about_a_size(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    root = tmp_path_factory.mktemp("units")
    made(root, {f"{number:02d}.py": b"x" * size for number, size in enumerate(sizes)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_files, "UNIT_BYTES", 40)
        units = FilesSource("s", str(root)).units()
    files = [record.file for unit in units for record in unit.read(Rules(smallest=0))]
    assert files == sorted(files)
    assert len(files) == len(sizes)
    assert sum(unit.size for unit in units) == sum(sizes)
    assert all(40 <= unit.size < 70 for unit in units[:-1])
    assert units[0].what in ("00.py", f"{units[0].what.split()[0]} files from 00.py")


def test_key_tells_what_decides_the_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = made(tmp_path / "x", {"a/b/c.py": b"1", "d.py": b"2"})

    def key(name: str = "s", where: Path = root, **options: object) -> str:
        (unit,) = FilesSource(name, str(where), **options).units()  # type: ignore[arg-type]
        return unit.key

    first = key()
    assert first == key()
    assert len({first, key("t"), key(depth=2), key(include=("a",)), key(include=("d.py",))}) == 5
    os.utime(root / "d.py", ns=(1, 1))
    assert key() != first
    (root / "d.py").write_bytes(b"22")
    os.utime(root / "d.py", ns=(1, 1))
    longer = key()
    root.rename(tmp_path / "y")
    assert key(where=tmp_path / "y") == longer
    monkeypatch.setattr(source_files, "language_of", lambda path: "snake")
    assert key(where=tmp_path / "y") != longer


def test_nothing_to_read_and_folders_that_cannot_be_listed_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FilesSource("s", str(made(tmp_path, {"a/data.bin": b"", ".gitignore": b"c\n", "c/x.py": b""})))
    with pytest.raises(InputError, match=r"known languages.*include="):
        source.units()
    with pytest.raises(InputError, match=r"match \*\.rs or \*\.go, of these only rust"):
        replace(source, include=("*.rs", "*.go"), languages=("rust",)).units()

    def scandir(path: str) -> object:
        if str(path).endswith("a/"):
            raise PermissionError(13, "Permission denied")
        return whole(path)

    whole = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"a/: Permission denied.*exclude"):
        source.units()
    with pytest.raises(InputError, match="holds no source files"):
        replace(source, exclude=("a/",)).units()


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "python"),
        ("B.PY", "python"),
        ("x.tar.gz", ""),
        (".py", ""),
        ("a.py/readme", ""),
        ("Makefile", "makefile"),
        ("sub/GNUmakefile", "makefile"),
        ("Dockerfile", "dockerfile"),
        ("x/CMakeLists.txt", "cmake"),
        ("notes.txt", "text"),
        ("a.hpp", "c++"),
        ("a.vb", "visual basic"),
        ("makefile.txt", "text"),
        ("py", ""),
        ("", ""),
    ],
)
def test_language_by_name(path: str, language: str) -> None:
    assert language_of(path) == language


def test_languages_are_sorted_small_and_plain() -> None:
    assert list(LANGUAGES) == sorted(LANGUAGES)
    assert all(language == language.lower().strip() and "." not in language for language in LANGUAGES)
    assert len(LANGUAGES) >= 60
