"""The standard library of the running Python as a corpus: 20-35 MB of real code that is there offline.

A document's project is its top-level module or package, and a test file belongs to the module that it tests. If module
and test were in different splits, held-out text would quote trained text. File names say only by convention what is
tested, so the rule merges when in doubt: a wrong merge costs nothing, and a wrong separation leaks.

`StdlibSource` is a folder of source files with projects of its own. `read_stdlib` gives the same documents in one go,
empty files included.
"""

import os
import re
import sys
import sysconfig
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from byteproxy.corpus.document import Document
from byteproxy.corpus.records import Unit
from byteproxy.corpus.source_files import grouped
from byteproxy.errors import InputError

MIN_FILES = 100
"""A standard library has well over a thousand sources; fewer than this many is a stripped or zipped one."""

NAME = f"stdlib-{sys.version_info.major}.{sys.version_info.minor}"

SKIPPED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__"})

FAMILIES = {
    name: family.split()[0]
    for family in (
        "asyncore asynchat",
        "bz2 gzip lzma zlib compression",
        "codecs code encodings charmapcodec multibytecodec",
        "ast unparse",
        "dict mapping userdict dictviews dictcomps defaultdict",
        "exceptions exception except baseexception",
        "fork fork1",
        "ftplib poplib imaplib nntplib smtplib smtpd smtpnet",
        "html markupbase",
        "importlib imp",
        "int long",
        "interpreters xxsubinterpreters",
        "io fileio memoryio bufio filecmp",
        "list seq tuple array userlist listcomps setcomps genexps",
        "multiprocessing mp",
        "pickle pickletools compat_pickle copyreg",
        "posixpath ntpath genericpath nturl2path",
        "profile cProfile cprofile pstats",
        "property dynamicclassattribute",
        "pydoc pydoc_data",
        "re sre_compile sre_constants sre_parse reperf",
        "select selectors poll epoll devpoll kqueue",
        "set weakset weakref weakrefset",
        "site sitebuiltins",
        "string userstring",
        "subprocess bootsubprocess popen",
        "sysconfig distutils shutil osx_support",
        "test main init regr libregr auto support",
        "threading thread lock threadedtempfile threadsignals",
        "time strptime strftime",
        "tkinter tk ttk tcl tix",
        "tokenize token lib2to3 grammar",
        "turtle turtledemo",
        "types descr descrtut genericclass genericalias",
        "urllib urlparse robotparser",
        "wave aifc sunau chunk audioop sndhdr imghdr",
        "xml pyexpat sax minidom pulldom",
        "xmlrpc docxmlrpc",
    )
    for name in family.split()
}
"""Projects that share text or tests without sharing a name, found by counting the long lines they have in common."""


@dataclass(frozen=True)
class StdlibSource:
    """The *.py files of the standard library.

    root: the folder to read in place of the running interpreter's own library.
    """

    name: str = NAME
    weight: float = 1.0
    root: Path | None = None

    def units(self) -> list[Unit]:
        """Raises InputError when there are no sources to read."""
        folder, paths = _found(self.root)
        return grouped(self.name, os.path.abspath(folder), _with_projects(paths))


def read_stdlib(root: Path | None = None) -> Iterator[Document]:
    """The *.py files of the standard library, sorted by path; reads one file at a time.

    root: the folder to read in place of the running interpreter's own library.
    Raises InputError at once when there are no sources to read.
    """
    folder, paths = _found(root)
    return (
        Document(id=path, text=(folder / path).read_bytes(), source=NAME, project=project, language="python")
        for path, project in _with_projects(paths)
    )


def project_of(path: str, modules: Collection[str]) -> str:
    """The project of a file of the standard library.

    path: posix path relative to the library's root, such as "test/test_json/test_dump.py".
    modules: the names of all top-level modules, built-in ones included.
    """
    parts = PurePosixPath(path).parts
    name = parts[0].removesuffix(".py")
    in_tests = name == "test" and len(parts) > 1
    name = _tested(parts[1].removesuffix(".py"), modules) if in_tests else _public(name, modules)
    return FAMILIES.get(name, name)


def _found(root: Path | None) -> tuple[Path, list[str]]:
    """The library's folder, and the paths of its sources relative to it, sorted."""
    folder = Path(sysconfig.get_path("stdlib")) if root is None else Path(root)
    paths = sorted(_source_paths(folder))
    if len(paths) < (MIN_FILES if root is None else 1):
        raise InputError(
            f"{folder} holds {len(paths)} Python source files, so this interpreter's standard library is stripped or "
            "zipped: use an interpreter that was installed with its sources, or name another folder"
        )
    return folder, paths


def _with_projects(paths: list[str]) -> Iterator[tuple[str, str]]:
    top_level = {PurePosixPath(path).parts[0].removesuffix(".py") for path in paths}
    modules = frozenset(top_level) | frozenset(sys.stdlib_module_names) | frozenset(sys.builtin_module_names)
    return ((path, project_of(path, modules)) for path in paths)


def _source_paths(folder: Path) -> Iterator[str]:
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        for name in files:
            if name.endswith(".py"):
                yield (Path(where) / name).relative_to(folder).as_posix()


def _public(name: str, modules: Collection[str]) -> str:
    """The module that a top-level name belongs to: a leading underscore marks the inside of a public module."""
    bare = name.strip("_")
    if not name.startswith("_") or not bare:
        return name
    for candidate in (bare, bare.removeprefix("py").lstrip("_")):
        if candidate in modules:
            return candidate
    return _nearest(bare, modules) or bare


def _tested(stem: str, modules: Collection[str]) -> str:
    """What a test file is about, or the first word of its own name where no module's name says so."""
    name = stem.strip("_").removeprefix("test_").strip("_")
    if name not in modules:
        name = name.removeprefix("test") or name
    subject = name
    for suffix in ("_tests", "_test", "tests", "tester", "test"):
        subject = subject.removesuffix(suffix) or subject
    for candidate in (name, subject):
        if candidate in modules:
            return candidate
        if f"_{candidate}" in modules:
            return _public(f"_{candidate}", modules)
    return _nearest(subject, modules) or re.split("[_-]", subject)[0]


def _nearest(name: str, modules: Collection[str]) -> str | None:
    """The public module whose name begins the name, whose name the name begins, or that is one of its words.

    Three characters at least: shorter modules ("os", "re") begin too many words.
    """
    known = [module for module in modules if len(module) >= 3 and not module.startswith("_") and module != "test"]
    for part in dict.fromkeys((name, *name.split("_"))):
        shorter = [module for module in known if part.startswith(module)]
        if shorter:
            return max(shorter, key=len)
        longer = [module for module in known if module.startswith(part) and len(part) >= 3]
        if longer:
            return min(longer, key=lambda module: (len(module), module))
    return None
