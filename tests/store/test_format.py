import errno
import os
import stat
from pathlib import Path

import pyarrow as pa
import pytest

from byteproxy.errors import InputError
from byteproxy.store import format
from byteproxy.store.format import HashingFile


def test_whole_file_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"older")
    info = format.write_whole(path, lambda file: [file.write(part) for part in (b"one ", memoryview(b"two"))])
    assert path.read_bytes() == b"one two"
    assert info == format.file_info(path)
    assert list(tmp_path.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode


def test_file_is_on_the_disk_before_its_name_is_and_the_name_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    replace_file = os.replace

    def fsync(descriptor: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def rename(source: Path, target: Path) -> None:
        events.append("rename")
        replace_file(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", rename)
    format.write_whole(tmp_path / "file", lambda file: file.write(b"x"))
    assert events == ["file", "rename", "folder"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(errno.EIO, "no")])
def test_nothing_partial_stays_behind(error: BaseException, tmp_path: Path) -> None:
    def write(file: HashingFile) -> None:
        file.write(b"half")
        raise error

    (tmp_path / "file").write_bytes(b"older")
    with pytest.raises(type(error)):
        format.write_whole(tmp_path / "file", write)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"older"}


def test_full_disk_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    batch = pa.record_batch({"x": [1, 2]})
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=rf"cannot write {tmp_path}/shard \(No space left on device\): free space"):
        format.write_whole(tmp_path / "shard", lambda file: format.write_batch(file, batch))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_full_disk_in_the_middle_of_an_arrow_file(tmp_path: Path) -> None:
    def write(file: HashingFile) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            format.write_batch(HashingFile(full), pa.record_batch({"x": [1, 2]}))

    with pytest.raises(InputError, match="No space left on device"):
        format.write_whole(tmp_path / "shard", write)


@pytest.mark.parametrize("content", [b"", b"ARROW1\0\0", b"junk" * 100])
def test_damaged_arrow_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(content)
    with pytest.raises(InputError, match="shard is missing or damaged"):
        format.read_batch(tmp_path / "shard")
    with pytest.raises(InputError, match="none is missing or damaged"):
        format.read_batch(tmp_path / "none")
