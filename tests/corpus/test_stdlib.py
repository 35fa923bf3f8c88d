import sys
import sysconfig
from pathlib import Path

import pytest

from byteproxy.corpus.stdlib import project_of, read_stdlib
from byteproxy.errors import InputError

MODULES = [
    "_collections_abc",
    "_locale",
    "_pydecimal",
    "_pyio",
    "_strptime",
    "_thread",
    "_threading_local",
    "ast",
    "asyncio",
    "collections",
    "concurrent",
    "copy",
    "datetime",
    "decimal",
    "dis",
    "doctest",
    "email",
    "enum",
    "filecmp",
    "http",
    "importlib",
    "io",
    "json",
    "locale",
    "math",
    "multiprocessing",
    "os",
    "pickle",
    "pickletools",
    "posixpath",
    "ntpath",
    "pydoc",
    "pydoc_data",
    "re",
    "socket",
    "statistics",
    "string",
    "sys",
    "test",
    "threading",
    "time",
    "token",
    "tokenize",
    "types",
    "typing",
    "unicodedata",
    "unittest",
    "urllib",
    "xml",
    "xmlrpc",
    "zipfile",
]


@pytest.mark.parametrize(
    ("path", "project"),
    [
        ("asyncio/events.py", "asyncio"),
        ("zipfile.py", "zipfile"),
        ("unittest/test/test_case.py", "unittest"),
        ("test/test_json/test_dump.py", "json"),
        ("test/test_statistics.py", "statistics"),
        ("test/test_doctest.py", "doctest"),
        ("test/test__locale.py", "locale"),
        ("test/test_c_locale_coercion.py", "locale"),
        ("_pydecimal.py", "decimal"),
        ("_pyio.py", "io"),
        ("_collections_abc.py", "collections"),
        ("_threading_local.py", "threading"),
        ("test/test_threading_local.py", "threading"),
        ("_strptime.py", "time"),
        ("test/test_strptime.py", "time"),
        ("test/test_xml_etree.py", "xml"),
        ("test/test_minidom.py", "xml"),
        ("test/test_urllib2.py", "urllib"),
        ("test/test_urlparse.py", "urllib"),
        ("test/test_httpservers.py", "http"),
        ("test/_test_multiprocessing.py", "multiprocessing"),
        ("test/pickletester.py", "pickle"),
        ("test/datetimetester.py", "datetime"),
        ("test/string_tests.py", "string"),
        ("test/re_tests.py", "re"),
        ("test/test_thread.py", "threading"),
        ("test/test_unicode_file_functions.py", "unicodedata"),
        ("test/test_import/__init__.py", "importlib"),
        ("test/test_ntpath.py", "posixpath"),
        ("posixpath.py", "posixpath"),
        ("pydoc_data/topics.py", "pydoc"),
        ("test/__init__.py", "test"),
        ("test/test_coroutines.py", "coroutines"),
        ("test/test_named_expressions.py", "named"),
    ],
)
def test_project_by_rule(path: str, project: str) -> None:
    assert project_of(path, MODULES) == project


def test_underscores_stay_where_no_module_takes_the_file_in() -> None:
    assert project_of("_newcomer.py", MODULES) == "newcomer"
    assert project_of("_py_newcomer.py", MODULES) == "py_newcomer"


def test_folder_is_read_sorted_and_unchanged(tmp_path: Path) -> None:
    files = {
        "json/decoder.py": b"x = '\xff'\r\n",
        "json/__init__.py": b"",
        "abc.py": b"a",
        "test/test_json.py": b"t",
        "json/__pycache__/stale.py": b"no",
        "site-packages/other.py": b"no",
        "dist-packages/other.py": b"no",
        "json/notes.txt": b"no",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(text)
    documents = list(read_stdlib(tmp_path))
    assert [document.id for document in documents] == [
        "abc.py",
        "json/__init__.py",
        "json/decoder.py",
        "test/test_json.py",
    ]
    assert [document.text for document in documents] == [b"a", b"", b"x = '\xff'\r\n", b"t"]
    assert [document.project for document in documents] == ["abc", "json", "json", "json"]
    assert {document.source for document in documents} == {f"stdlib-{sys.version_info.major}.{sys.version_info.minor}"}


def test_folder_without_sources_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=str(tmp_path)):
        read_stdlib(tmp_path)


def test_stripped_interpreter_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "os.py").write_bytes(b"")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(InputError, match="holds 1 Python source files"):
        read_stdlib()


def test_running_interpreter() -> None:
    documents = list(read_stdlib())
    ids = [document.id for document in documents]
    assert ids == sorted(set(ids))
    assert not any("site-packages" in name or "__pycache__" in name for name in ids)
    project = {document.id: document.project for document in documents}
    for name, home in project.items():
        stem = name.split("/")[0].removesuffix(".py")
        if f"test/test_{stem}.py" in project:
            assert project[f"test/test_{stem}.py"] == home, name
