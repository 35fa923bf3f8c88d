import errno
import os

import pytest

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.page import write_page


def test_a_file_is_written_whole_into_a_folder_that_is_made(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_aside(path, b"old")
    write_aside(path, b"new\xff")
    assert path.read_bytes() == b"new\xff"
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "page.html", tmp_path):
        with pytest.raises(InputError, match="cannot write"):
            write_aside(path, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(failing, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_aside(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(InputError, match=r"file \(No space left on device\): free space"):
        write_aside(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_page_may_hold_what_is_no_unicode(tmp_path):
    write_page("<p>\u00e9\udcff", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == "<p>\u00e9?".encode()
