"""numba for this package, `from byteproxy.jit import nb`, which keeps what it compiled, never stale and for its user.

numba looks for changes in a function's own file only, and keeps what it compiled beside the source. Here it goes into
the user's cache folder, the functions of a module under a hash of Python, of numba, and of the source of the module and
of all that it imports: whatever a compiled function calls or takes a number from is among them. So an edit compiles
anew what it can change, and nothing else. The folders are the user's alone, since what is loaded from them is run.
Where there is no such place (a container without a home) a private folder for this process and its children stands in,
and where there is not even that nothing is kept. One file holds one signature and a checksum of itself, so processes
can share a folder, and a damaged file is compiled again. NUMBA_CACHE_DIR names another place.

Costs 30 ms at import, beyond numba's own.
"""

import atexit
import os
import pickle
import platform
import re
import shutil
import stat
import tempfile
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numba as nb
from numba.core import caching, config, dispatcher, event
from numba.core.serialize import dumps

from byteproxy.errors import InputError
from byteproxy.files import aside
from byteproxy.progress import announce

__all__ = ["nb"]

KEPT_BYTES = 1 << 30
"""Bytes of compiled code of other versions that stay, those used last; all modules together have some 15 MB. So several
checkouts of one user, each of which changes, don't remove what the others use."""
PACKAGE = Path(__file__).parent
SHARED = "BYTEPROXY_COMPILED"
"""Environment variable: the folder that stands in, for children of the process that made it."""
_TAKES = "10 to 20 s, longer where the machine is busy ..."
COMPILING = f"compiling the inner loops, once for this version: {_TAKES}"
COMPILING_AGAIN = f"compiling the inner loops, for this command only (NUMBA_CACHE_DIR keeps them): {_TAKES}"


_IMPORTS = re.compile(
    rb"^[ \t]*(?:from (byteproxy[\w.]*) import (\([^)]*\)|[^\n]*)|import (byteproxy[^\n]*))", re.MULTILINE
)
_NAME = re.compile(rb"[\w.]+")


def source_hash(module: str) -> str:
    """What changes with Python, with numba, and with any source that compiled functions of a module can depend on."""
    found = blake2b(f"{nb.__version__} {platform.python_version()} {platform.machine()}".encode(), digest_size=12)
    sources = _sources()
    for name in sorted(all_imported(module)):
        found.update(f"{name}\0{len(sources[name])}\0".encode() + sources[name])
    return found.hexdigest()


def all_imported(module: str) -> set[str]:
    """The names of a module of ours, of those that it imports, of those that these import, and so on."""
    found, left = set(), {module}
    while left:
        name = left.pop()
        found.add(name)
        if name != "byteproxy":  # it imports nothing itself: its names lead up to what stands on compiled code
            left |= _imports(name) - found
    return found


@cache
def _imports(module: str) -> set[str]:
    return imported(_sources()[module]) & _sources().keys()


@cache
def _sources() -> dict[str, bytes]:
    """All source of ours as it is when the first compiled function is met, by the names of the modules."""
    found = {}
    for folder, inside, files in os.walk(PACKAGE):
        inside[:] = [name for name in inside if name != "__pycache__"]
        package = ".".join(("byteproxy", *Path(folder).relative_to(PACKAGE).parts))
        for name in files:
            if name.endswith(".py"):
                with open(os.path.join(folder, name), "rb") as file:
                    found[package if name == "__init__.py" else f"{package}.{name[:-3]}"] = file.read()
    return found


def imported(source: bytes) -> set[str]:
    """The modules of ours that a source may import, anywhere in it, with the packages that they are in."""
    found = set()
    for package, names, modules in _IMPORTS.findall(source):
        for name in _NAME.findall(modules.partition(b"#")[0]) if modules else [package]:
            parts = name.decode().split(".")
            found |= {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
        if package:
            found |= {f"{package.decode()}.{name.decode()}" for name in _NAME.findall(names)}
    return found


@cache
def place(module: str) -> Path | None:
    """The folder for what a module's functions are compiled to, made if need be; None where nothing can be written.

    The user's choice, else the user's cache folder, else a folder of a parent process or of this one.
    """
    return _place_for(source_hash(module))


@cache
def _place_for(key: str) -> Path | None:
    """The same by a hash, which modules that import each other share."""
    chosen_by_user = getattr(config, "CACHE_DIR", "")
    if chosen_by_user:
        chosen = Path(chosen_by_user) / f"byteproxy-{key}"
        return chosen if _writable(chosen) else _temporary()
    return _in_home(key) or _temporary()


def _in_home(key: str) -> Path | None:
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
        if _foreign(folder):
            return None
        for name in ("byteproxy", "numba", key):
            folder = folder / name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _private(folder):
                return None
        if not _writable(folder):
            return None
    except (OSError, RuntimeError):  # no home at all
        return None
    _hold(folder)
    return folder


def _foreign(folder: Path) -> bool:
    """Whether root would leave folders of its own in somebody's home, who couldn't use them."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    there = next(one for one in (folder, *folder.parents) if one.exists())
    return there.stat().st_uid != 0


def _private(folder: Path) -> bool:
    """Whether a folder is ours, and nobody else can put anything into it."""
    if not hasattr(os, "geteuid"):
        return True
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _writable(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        return True
    return False


def _temporary() -> Path | None:
    shared = os.environ.get(SHARED)
    with suppress(OSError):
        if shared and _private(Path(shared)) and _writable(Path(shared)):
            return Path(shared)
    try:
        made = Path(tempfile.mkdtemp(prefix="byteproxy-numba-"))
    except OSError:
        return None
    os.environ[SHARED] = str(made)
    owner = os.getpid()
    atexit.register(lambda: shutil.rmtree(made, ignore_errors=True) if os.getpid() == owner else None)
    return made


_held: list[int] = []
"""Descriptors of the locks that this process holds until its end."""


def _hold(folder: Path) -> None:
    """Mark a folder as in use, and remove versions that nobody uses, those longest unused, above KEPT_BYTES."""
    import fcntl

    with suppress(OSError):  # no locks on this file system: nothing is removed
        mark = folder / ".in_use"
        new = not mark.exists()
        _held.append(os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        fcntl.flock(_held[-1], fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(mark)
        if not new or len(_held) > 1:  # once in a process is enough
            return
        marks = [one for one in folder.parent.glob("*/.in_use") if one.parent != folder]
        room = KEPT_BYTES
        for old in sorted(marks, key=lambda one: one.stat().st_mtime, reverse=True):
            room -= sum(path.lstat().st_size for path in old.parent.rglob("*.nbc"))
            if room >= 0:
                continue
            descriptor = os.open(old, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old.parent, ignore_errors=True)
            except BlockingIOError:
                continue
            finally:
                os.close(descriptor)


def _module_of(file: str) -> str:
    """The module of ours in a file, by its name."""
    return ".".join(("byteproxy", *Path(file).relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


class _Locator(caching._SourceFileBackedLocatorMixin, caching._CacheLocator):
    """Where one of our functions is kept: in its module's folder."""

    def __init__(self, py_func: Any, py_file: str) -> None:
        self._py_file = py_file
        self._lineno = py_func.__code__.co_firstlineno
        module = _module_of(py_file)
        folder = place(module)
        self._path = None if folder is None else folder / module  # several are in a folder that stands in

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> "_Locator":
        return cls(py_func, py_file)

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> str:
        return ""  # the folder's name says more

    def ensure_cache_path(self) -> None:
        if self._path is not None:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)


class _Files:
    """The files of one function, one for each signature; whatever can't be read or written is not there."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder, self._name = Path(folder), name

    def _path(self, key: Any) -> Path:
        return self._folder / f"{self._name}.{blake2b(repr(key).encode(), digest_size=12).hexdigest()}.nbc"

    def load(self, key: Any) -> Any:
        with suppress(OSError):
            content = self._path(key).read_bytes()
            if blake2b(content[32:], digest_size=32).digest() == content[:32]:
                return pickle.loads(content[32:])
        return None

    def save(self, key: Any, data: Any) -> None:
        content = dumps(data)
        with suppress(OSError, InputError), aside(self._path(key), synced=False) as file:
            file.write(blake2b(content, digest_size=32).digest() + content)

    def flush(self) -> None:
        with suppress(OSError):
            for path in self._folder.glob(f"{self._name}.*.nbc"):
                path.unlink()


class _Impl(caching.CompileResultCacheImpl):
    def __init__(self, py_func: Any) -> None:
        self._locator_classes = [_Locator]  # numba's own would put it beside the source
        super().__init__(py_func)


class _Cache(dispatcher.FunctionCache):  # type: ignore[name-defined]
    _impl_class = _Impl

    def __init__(self, py_func: Any) -> None:
        super().__init__(py_func)
        self._cache_file = _Files(self._cache_path, self._impl.filename_base)
        if place(_module_of(py_func.__code__.co_filename)) is None:
            self.disable()

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super().save_overload(sig, data)


def _cache_of(py_func: Any) -> Any:
    """What numba asks for the cache of a function: ours for ours, its own for all others."""
    try:
        own = Path(py_func.__code__.co_filename).is_relative_to(PACKAGE)
    except (AttributeError, TypeError, ValueError):
        own = False
    return _Cache(py_func) if own else _NUMBAS_OWN(py_func)


class _Announcing(event.Listener):
    """Says once that our code is being compiled, before the first function is."""

    def __init__(self) -> None:
        self._said = False

    def on_start(self, one: Any) -> None:
        compiled = getattr(one.data.get("dispatcher"), "py_func", None)
        if not self._said and compiled is not None and str(compiled.__module__).startswith("byteproxy."):
            self._said = True
            folder = place(_module_of(compiled.__code__.co_filename))
            kept = folder is not None and str(folder) != os.environ.get(SHARED)
            announce(COMPILING if kept else COMPILING_AGAIN)

    def on_end(self, one: Any) -> None:
        pass


_NUMBAS_OWN = dispatcher.FunctionCache  # type: ignore[attr-defined]
dispatcher.FunctionCache = _cache_of  # type: ignore[attr-defined]
event.register("numba:compile", _Announcing())
