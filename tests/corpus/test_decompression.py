"""Compressed files, whole and damaged, against the libraries' own decompressors asked for one byte at a time."""

import bz2
import gzip
import io
import lzma
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from byteproxy.corpus import decompression as stream_module
from byteproxy.corpus.decompression import COMPRESSIONS, LONGEST_MAGIC, Damage, Stream

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}
DECODER: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zstd": zstd.ZstdDecompressor,
    "xz": lzma.LZMADecompressor,
    "bzip2": bz2.BZ2Decompressor,
}
SKIPPABLE = struct.pack("<II", 0x184D2A50, 100) + bytes(100)

names = st.sampled_from(list(COMPRESSIONS))
texts = st.lists(st.binary(max_size=400) | st.integers(0, 3000).map(lambda n: b"so it goes on " * n), max_size=3)


def read(path: Path, compression: str) -> tuple[bytes, Damage | None]:
    with path.open("rb", buffering=0) as file:
        assert isinstance(file, io.FileIO)
        stream = Stream(file)
        if compression:
            stream.decompress(compression)
        blocks = []
        while block := stream.read():
            blocks.append(block)
        assert stream.read() == b""
        return b"".join(blocks), stream.damage


def slowly(data: bytes, compression: str) -> tuple[bytes, bool]:
    """All that a new decompressor for each member gives, byte by byte; and whether all of the data is sound."""
    given = []
    while data.lstrip(b"\0"):
        decoder = DECODER[compression]()
        data = data.lstrip(b"\0") if given else data
        place = 0
        try:
            while not decoder.eof:
                if place == len(data):
                    return b"".join(given), False
                piece, place = data[place : place + 1], place + 1
                while True:
                    given.append(decoder.decompress(piece, 1))
                    piece = decoder.unconsumed_tail if compression == "gzip" else b""
                    if decoder.eof or not given[-1]:
                        break
        except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError):
            return b"".join(given), False
        data = data[place:]
    return b"".join(given), True


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(compression=names, members=texts, block=st.integers(1, 300), zeros=st.integers(0, 5), most=st.integers(1, 9999))
def test_members_are_read_one_after_the_other(
    tmp_path: Path, compression: str, members: list[bytes], block: int, zeros: int, most: int
) -> None:
    path = tmp_path / "f"
    packed = [PACK[compression](member) for member in members] or [PACK[compression](b"")]
    if compression == "zstd":
        packed = [SKIPPABLE, *(part for member in packed for part in (member, SKIPPABLE))]
    path.write_bytes((b"" if compression in ("zstd", "xz") else bytes(zeros)).join(packed) + bytes(4 * zeros))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "COMPRESSED_BYTES", block)
        patch.setattr(stream_module, "FIRST_BYTES", max(block // 2, 1))
        patch.setattr(stream_module, "MAX_BYTES", most)
        assert read(path, compression) == (b"".join(members), None)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), compression=names, members=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=3))
def test_what_is_sound_before_damage_is_given_to_the_last_byte(
    tmp_path: Path, data: st.DataObject, compression: str, members: list[bytes]
) -> None:
    members = [member * data.draw(st.integers(1, 40)) for member in members]
    packed = b"".join(map(PACK[compression], members))
    place = data.draw(st.integers(11, len(packed) - 1))
    damage = data.draw(st.sampled_from(["cut", "flip", "garbage"]))
    if damage == "cut":
        ends = accumulate(len(PACK[compression](member)) for member in members)
        assume(all(not 0 <= place - end <= LONGEST_MAGIC for end in ends))  # whole, or too little to be a member
        packed = packed[:place]
    elif damage == "flip":
        packed = packed[:place] + bytes([packed[place] ^ 1 << data.draw(st.integers(0, 7))]) + packed[place + 1 :]
    else:
        packed += b"what is this?"
    path = tmp_path / "f"
    path.write_bytes(packed)
    # Behind a bit that was turned, what a decompressor makes of the rest depends on how it is asked.
    # bzip2 gives a block up to a byte before it looks at its checksum, so a block that ends just there is not given.
    sound = packed[: place - (compression == "bzip2")] if damage == "flip" else packed
    expected, _ = slowly(sound, compression)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "COMPRESSED_BYTES", data.draw(st.integers(16, 500)))
        patch.setattr(stream_module, "FIRST_BYTES", data.draw(st.integers(1, 100)))
        patch.setattr(stream_module, "MAX_BYTES", data.draw(st.sampled_from([1, 50, 1 << 20])))
        found, told = read(path, compression)
    assert found.startswith(expected)
    if damage != "flip":
        assert found == expected
        assert b"".join(members).startswith(found)
        assert told is not None
        assert told.is_cut == (damage == "cut")
    elif found != b"".join(members):
        assert told is not None
    if damage == "garbage":
        assert found == b"".join(members)
        assert told is not None
        assert (told.lost_bytes, told.is_cut) == (13, False)
    if told is not None:
        assert 0 <= told.lost_bytes <= len(packed)


@pytest.mark.parametrize("compression", list(COMPRESSIONS))
def test_a_file_that_ends_early_gives_all_that_is_whole(tmp_path: Path, compression: str) -> None:
    data = b"".join(b"%d %d\n" % (n, n * n * 7919 % 10_000_019) for n in range(60_000))
    packed = PACK[compression](data)
    path = tmp_path / "f"
    for share in (0.3, 0.9):
        path.write_bytes(packed[: int(len(packed) * share)])
        found, damage = read(path, compression)
        assert data.startswith(found)
        block = 900_000 if compression == "bzip2" else 140_000  # nothing of a block can be had before its end
        assert len(found) > share * len(data) - block
        assert damage is not None
        assert damage.is_cut


@pytest.mark.parametrize("compression", ["zstd", "bzip2"])
def test_a_block_that_is_lost_is_lost_from_its_beginning(tmp_path: Path, compression: str) -> None:
    data = b"".join(b"%d %d\n" % (n, n * n * 7919 % 10_000_019) for n in range(9000))  # one block
    sound = PACK[compression](data[:99_000])
    # bzip2 finds it at the end of the block, by the checksum; Zstandard where it is at a loss.
    damaged = (sound[:-place] + bytes([sound[-place] ^ 1]) + sound[1 - place :] for place in range(20, 2000))
    packed = next(packed for packed in damaged if compression == "bzip2" or not slowly(packed, compression)[0])
    (tmp_path / "f").write_bytes(packed)
    found, damage = read(tmp_path / "f", compression)
    assert found == b""
    assert damage is not None
    assert damage.lost_bytes == len(packed)
    (tmp_path / "f").write_bytes(PACK[compression](data) + packed)
    found, damage = read(tmp_path / "f", compression)
    assert found == data
    assert damage is not None
    assert damage.lost_bytes == len(packed)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="needs the command zstd")
def test_windows_of_any_size(tmp_path: Path) -> None:
    data = b"".join(b"%d\n" % n for n in range(50_000))
    (tmp_path / "f").write_bytes(data)
    for window in (27, 28, 31):
        command = ["zstd", "-q", "-f", f"--long={window}", "-c"]
        packed = subprocess.run(command, input=data, capture_output=True, check=True).stdout
        (tmp_path / "f.zst").write_bytes(packed)
        assert read(tmp_path / "f.zst", "zstd") == (data, None)


def test_plain_files_and_peeks(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(data)
    assert read(tmp_path / "f", "") == (data, None)
    (tmp_path / "g").write_bytes(gzip.compress(data))
    with (tmp_path / "g").open("rb", buffering=0) as file:
        stream = Stream(file)
        assert stream.peek(2)[:2] == b"\x1f\x8b"
        stream.decompress("gzip")
        assert stream.peek(100_000)[:100_000] == data[:100_000]
        assert stream.peek(10).startswith(data[:10])
        assert b"".join(iter(stream.read, b"")) == data
        assert stream.peek(10) == b""
