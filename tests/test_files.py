import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.files import inside, open_inside, open_regular, read_bytes, write_aside
from byteproxy.report.headline import write_headline
from byteproxy.report.page import write_page


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


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "../a", "/etc/passwd", "a\0b", "x" * 256, "\ud800", None, 3, ["a"], b"a"]
)
def test_a_name_that_is_none_of_a_folders_files_is_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"list\.json names .* not in its folder"):
        inside(tmp_path, name, tmp_path / "list.json")


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60))
def test_any_other_name_is_one_of_the_folder(name):
    if name not in (".", ".."):
        assert inside(Path("folder"), name, Path("list.json")) == Path("folder") / name


def test_only_regular_files_of_the_folder_are_opened(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    for folder in (own, other):
        (folder / "file").write_bytes(b"content")
    os.mkfifo(own / "fifo")
    (own / "zero").symlink_to("/dev/zero")
    (own / "folder").mkdir()
    (own / "out").symlink_to(other / "file")
    (own / "round").symlink_to("round")
    (own / "alias").symlink_to("file")
    (tmp_path / "link").symlink_to(own)
    for name in ("fifo", "zero", "folder", "out", "round", "gone"):
        with pytest.raises(OSError, match=r"link|regular|folder|No such|loop|Symlink"):
            open_inside(own / name)
    for path in (own / "file", own / "alias", tmp_path / "link" / "file"):
        with open_inside(path) as file:
            assert file.read() == b"content"
    with open_regular(own / "out") as file:  # a person named it
        assert file.read() == b"content"
    with pytest.raises(OSError, match="no regular file"):
        open_regular(own / "zero")


def test_a_snapshot_of_the_hubs_cache_links_to_its_blobs(tmp_path):
    snapshot, blobs = tmp_path / "models--a--b" / "snapshots" / "123", tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "abc").write_bytes(b"weights")
    (tmp_path / "secret").write_bytes(b"other")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    (snapshot / "config.json").symlink_to(tmp_path / "secret")
    with open_inside(snapshot / "model.safetensors") as file:
        assert file.read() == b"weights"
    with pytest.raises(OSError, match="link out of its folder"):
        open_inside(snapshot / "config.json")


def test_what_goes_into_memory_is_bounded(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, and its kind 4 at most"):
        read_bytes(path, 4)
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match="its kind 1,000 at most"):
        read_bytes(path, 1000)


def test_only_files_are_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="no regular file"):
        write_aside(pipe, b"new")
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("write", "ours"),
    [
        (lambda path: write_page("<!DOCTYPE html>new", path), b"<!DOCTYPE html>old"),
        (lambda path: write_headline({}, path), b"<svg/>"),
    ],
    ids=["page", "picture"],
)
def test_what_others_wrote_is_not_replaced(write, ours, tmp_path, monkeypatch):
    monkeypatch.setattr("byteproxy.report.headline.headline_svg", lambda results: "<svg>new</svg>")
    path = tmp_path / "file"
    path.write_bytes(b'{"text": "a document"}')
    with pytest.raises(InputError, match="is there and is no p"):
        write(path)
    assert path.read_bytes() == b'{"text": "a document"}'
    for before in (b"", ours):
        path.write_bytes(before)
        write(path)
        assert b"new" in path.read_bytes()
