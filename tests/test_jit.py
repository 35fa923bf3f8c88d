"""Where compiled code is kept: never stale, for its user only, and nowhere if there is no place."""

import ast
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.waiting import GUARD_SECONDS

import byteproxy
from byteproxy import jit

SOURCE = Path(byteproxy.__file__).parent
PLACE = "from byteproxy import jit; print(jit.place('byteproxy.coins'))"


FORKS = """
import atexit, json, os, sys, tempfile, traceback
import numba, numpy
from numba.core import config

sys.dont_write_bytecode = True  # Python takes an edit within a second for none, where the size is the same
for line in sys.stdin:
    code, out, environment = json.loads(line)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
            os.environ.clear()
            os.environ |= environment
            sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
            tempfile.tempdir = None
            config.reload_config()
            exec(code, {})
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def forks():
    """A process that has imported numba, which takes longer than all else here, and nothing of ours."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", FORKS], text=True, **pipes) as process:
        yield process
        assert process.communicate(timeout=GUARD_SECONDS)[1] == ""


@pytest.fixture
def ran(forks, tmp_path_factory):
    """What some code prints where nothing of ours was imported before; a variable that is None is not there."""
    out = tmp_path_factory.mktemp("printed") / "out"

    def run(code, **environment):
        known = {**os.environ, **environment}
        for name in ("NUMBA_CACHE_DIR", jit.SHARED):
            known.setdefault(name, "")
            if not environment.get(name):
                known.pop(name, None)
        known = {name: value for name, value in known.items() if value is not None}
        out.unlink(missing_ok=True)
        forks.stdin.write(json.dumps([code, str(out), known]) + "\n")
        forks.stdin.flush()
        assert forks.stdout.readline() == "0\n"
        return out.read_text().strip()

    return run


def test_all_compiled_code_goes_through_it():
    past = re.compile(r"^\s*(import numba as|from numba import)|numba\.(n?jit|vectorize|guvectorize)", re.MULTILINE)
    for path in SOURCE.rglob("*.py"):
        if path != SOURCE / "jit.py":
            assert not past.search(path.read_text(encoding="utf-8")), path


COMPILED = "from byteproxy.jit import nb\nfrom byteproxy.inner import (\n    one,  # a number\n    two,\n)\n"
PACKAGE = {
    "__init__.py": "from byteproxy.above import everything\n",
    "above.py": "from byteproxy.inner.compiled import run\n",
    "errors.py": "",
    "files.py": "from byteproxy import errors\n",
    "inner/__init__.py": "",
    "inner/beside.py": "",
    "inner/compiled.py": COMPILED,
    "inner/one.py": "def late():\n    import byteproxy.files as kept  # when it is asked for\n",
    "inner/two.py": "a = 1\n",
    "jit.py": "",
}


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A small package in place of ours."""
    monkeypatch.setattr(jit, "PACKAGE", tmp_path)
    (tmp_path / "inner" / "__pycache__").mkdir(parents=True)
    for name, content in PACKAGE.items():
        (tmp_path / name).write_text(content)
    yield tmp_path
    forget_sources()


def forget_sources():
    jit._sources.cache_clear()
    jit._imports.cache_clear()


def hashed():
    """The hash of its compiled functions, as a new process sees it."""
    forget_sources()
    return jit.source_hash("byteproxy.inner.compiled")


def test_any_edit_of_what_compiled_code_may_use_and_only_that_changes_the_place(sources):
    seen = {hashed()}
    os.utime(sources / "inner/two.py", (1, 1))
    for name in ("inner/__pycache__/two.py", "above.py", "inner/beside.py", "empty.py"):
        (sources / name).write_text("b = 3\n")
    (sources / "empty.py").unlink()
    assert hashed() in seen
    for name in sorted({*PACKAGE} - {"above.py", "inner/beside.py"}):
        with (sources / name).open("a") as file:
            file.write("c = 2\n")
        assert hashed() not in seen, name
        seen.add(hashed())
    (sources / "inner/two.py").unlink()
    assert hashed() not in seen


def test_what_compiled_code_may_use_is_found_as_python_itself_reads_it():
    """Of the module that imports most, and of one that imports next to nothing."""
    found = jit.all_imported("byteproxy.generate.head_drafts") | jit.all_imported("byteproxy.coins")
    assert {"byteproxy.coins", "byteproxy.generate.cpu.product", "byteproxy.model.network", "byteproxy.vocab"} <= found
    for name in found - {"byteproxy"}:
        for node in ast.walk(ast.parse(jit._sources()[name])):
            names = [one.name for one in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, name
                names = [node.module, *(f"{node.module}.{one}" for one in names)]
            for one in names:
                path = SOURCE.parent.joinpath(*one.split("."))
                ours = one.startswith("byteproxy") and (path.is_dir() or path.with_suffix(".py").exists())
                assert one in found or not ours, (name, one)


def test_what_was_compiled_before_an_edit_of_what_it_calls_is_not_used(ran, tmp_path):
    """numba itself would use it: the caller's own file is the same."""
    package = tmp_path / "byteproxy"
    package.mkdir()
    for name in ("__init__", "errors", "files", "console", "progress", "jit"):
        (package / f"{name}.py").write_bytes((SOURCE / f"{name}.py").read_bytes())
    begin = "from byteproxy.jit import nb\n"
    (package / "caller.py").write_text(
        f"{begin}from byteproxy.called import called\n@nb.njit(cache=True)\ndef caller():\n    return called() + 1\n"
    )
    code = "from byteproxy.caller import caller; print(caller(), sum(caller.stats.cache_hits.values()))"
    for answer, printed in ((1, "2 0"), (1, "2 1"), (5, "6 0"), (1, "2 1")):
        (package / "called.py").write_text(f"{begin}@nb.njit(cache=True)\ndef called():\n    return {answer}\n")
        assert ran(code, PYTHONPATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache")) == printed


def test_it_is_the_users_own_folder(ran, tmp_path):
    folder = Path(ran(PLACE, XDG_CACHE_HOME=str(tmp_path), PYTHONDONTWRITEBYTECODE="1"))
    assert folder == tmp_path / "byteproxy" / "numba" / jit.source_hash("byteproxy.coins")
    for one in (folder, folder.parent, folder.parent.parent):
        assert stat.S_IMODE(one.stat().st_mode) == 0o700
    home = tmp_path / "home"
    home.mkdir()
    assert ran(PLACE, XDG_CACHE_HOME="relative", HOME=str(home)).startswith(f"{home}/.cache/byteproxy/numba/")
    chosen = tmp_path / "chosen"
    assert ran(PLACE, NUMBA_CACHE_DIR=str(chosen)) == f"{chosen}/byteproxy-{jit.source_hash('byteproxy.coins')}"


def spoil(folder, how):
    if how == "open":
        folder.chmod(0o777)
    elif how == "link":
        folder.rename(folder.with_name("moved"))
        folder.symlink_to("moved")
    else:
        folder.rmdir()
        folder.write_text("a file")


@pytest.mark.parametrize("how", ["open", "link", "file"])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_folder_that_others_could_write_to_is_not_used(tmp_path, monkeypatch, how, level):
    parts = ("byteproxy", "numba", "key")
    folder = tmp_path
    for name in parts[: level + 1]:
        folder = folder / name
        folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    spoil(folder, how)
    assert jit._in_home("key") is None


def test_without_a_home_a_folder_stands_in_that_children_share_and_that_is_gone_at_the_end(ran, tmp_path):
    code = (
        "import os, subprocess, sys\nfrom byteproxy import coins, jit\n"
        f"child = subprocess.run([sys.executable, '-c', {PLACE!r}],"
        " capture_output=True, text=True).stdout.strip()\n"
        "own = jit.place('byteproxy.coins')\n"
        "print(own, child, len(list(own.rglob('*.nbc'))), oct(os.stat(own).st_mode)[-3:])"
    )
    own, childs, kept, mode = ran(code, HOME="/proc/nowhere", XDG_CACHE_HOME=None, TMPDIR=str(tmp_path)).split()
    assert own == childs
    assert own.startswith(str(tmp_path))
    assert int(kept) > 3
    assert mode == "700"
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_everything_works_and_nothing_is_kept(ran):
    code = (
        "import tempfile\ndef refuse(*a, **k): raise FileNotFoundError(2, 'No usable temporary directory found')\n"
        "tempfile.mkdtemp = tempfile.TemporaryFile = refuse\nfrom byteproxy import coins, jit\n"
        "print(jit.place('byteproxy.coins'), coins.coin(*map(coins.np.uint64, (1, 2, 3))))"
    )
    with_none = ran(code, HOME="/proc/nowhere", XDG_CACHE_HOME="/proc/nowhere")
    as_ever = ran("from byteproxy import coins\nprint(coins.coin(*map(coins.np.uint64, (1, 2, 3))))")
    assert with_none == f"None {as_ever}"


def test_a_damaged_file_is_compiled_again(ran, tmp_path):
    code = "from byteproxy import coins\nprint(coins.coin(*map(coins.np.uint64, (1, 2, 3))))"
    first = ran(code, XDG_CACHE_HOME=str(tmp_path))
    files = sorted(tmp_path.rglob("*.nbc"))
    assert len(files) > 3
    for number, path in enumerate(files):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content if number % 3 else content[: number * 10])
    assert ran(code, XDG_CACHE_HOME=str(tmp_path)) == first
    said = "import numba.core.event as e\nfrom byteproxy import jit, progress\nprogress.announced = print\n" + code
    assert ran(said, XDG_CACHE_HOME=str(tmp_path)) == first, "what was damaged was written again"


def test_compiling_is_announced_once_before_it_begins(ran, tmp_path):
    code = "from byteproxy import progress\nprogress.announced = print\nfrom byteproxy import coins"
    assert ran(code, XDG_CACHE_HOME=str(tmp_path)) == jit.COMPILING
    assert ran(code, XDG_CACHE_HOME=str(tmp_path)) == ""
    assert ran(code, HOME="/proc/nowhere", XDG_CACHE_HOME=None, TMPDIR=str(tmp_path)) == jit.COMPILING_AGAIN


def test_old_versions_go_but_for_what_was_used_last_and_what_is_in_use(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(jit, "_held", [])
    folders = tmp_path / "byteproxy" / "numba"
    monkeypatch.setattr(jit, "KEPT_BYTES", 3000)
    for number in range(7):
        folder = folders / f"old{number}"
        folder.mkdir(parents=True, mode=0o700)
        (folder / ".in_use").touch()
        (folder / "package").mkdir()
        (folder / "package/one.nbc").write_bytes(bytes(900))
        os.utime(folder / ".in_use", (number, number))
    folders.chmod(0o700)
    folders.parent.chmod(0o700)
    monkeypatch.setattr(jit, "_held", [])
    hold = (
        "import fcntl, sys\nf = open(sys.argv[1])\nfcntl.flock(f, fcntl.LOCK_SH)\nprint(flush=True)\nsys.stdin.read()"
    )
    used = subprocess.Popen(
        [sys.executable, "-c", hold, folders / "old1" / ".in_use"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    used.stdout.readline()
    assert jit._in_home("new") == folders / "new"
    used.communicate(b"", timeout=GUARD_SECONDS)
    assert {one.name for one in folders.iterdir()} == {"new", "old1", "old4", "old5", "old6"}
    for descriptor in jit._held:
        os.close(descriptor)
