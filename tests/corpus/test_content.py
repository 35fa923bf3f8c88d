"""The classifier: every format is known whatever the file is called, and text of any kind stays text."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteproxy.corpus.content import HEAD_BYTES, Content, compression_suffix, content_of, look
from byteproxy.corpus.stdlib import read_stdlib

TABLE = pa.table({"text": ["one", "two"] * 50})
LINES = b'{"text": "a line of a file in an archive"}\n' * 200
SUFFIXES = ("", ".txt", ".py", ".jsonl", ".json", ".parquet", ".gz", ".ts", ".md")


def written(write: Callable[[io.BytesIO], object]) -> bytes:
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()


def stream_file(sink: io.BytesIO) -> None:
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


def arrow_file(sink: io.BytesIO) -> None:
    with pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


def tar_file(sink: io.BytesIO) -> None:
    with tarfile.open(fileobj=sink, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"))


def old_tar() -> bytes:
    """One without a magic number, as Unix of Version 7 wrote them, of a long text."""
    data = bytearray(written(tar_file))
    data[257:512] = bytes(255)
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    return bytes(data) + LINES


def zip_file(sink: io.BytesIO) -> None:
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("a.txt", "a")


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x") as connection:
        connection.execute("create table t (a)")
    connection.close()
    return (folder / "x").read_bytes()


def mosaic(samples: list[bytes]) -> bytes:
    columns = json.dumps({"column_names": ["text"]}).encode()
    begin = 4 * (len(samples) + 2) + len(columns)
    ends = np.cumsum([begin, *map(len, samples)]).astype("<u4")
    return struct.pack("<I", len(samples)) + ends.tobytes() + columns + b"".join(samples)


def packets(length: int, first: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (60, length), dtype=np.uint8)
    noise[:, first] = 0x47
    return noise.tobytes()


BINARY: dict[str, bytes] = {
    "Feather": written(lambda sink: feather.write_feather(TABLE, sink, version=1)),
    "ORC": written(lambda sink: orc.write_table(TABLE, sink)),
    "tar": written(tar_file),
    "tar of Version 7": old_tar(),
    "zip": written(zip_file),
    "npz": written(lambda sink: np.savez(sink, a=np.arange(3))),
    "NumPy": written(lambda sink: np.save(sink, np.arange(3))),
    **{f"pickle {protocol}": pickle.dumps({"a": ["text"] * 9}, protocol) for protocol in (2, 3, 4, 5)},
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "HDF5 behind a block": bytes(512) + b"\x89HDF\r\n\x1a\n" + bytes(40),
    "Avro": b"Obj\x01\x04\x14avro.codec",
    "LZ4": b"\x04\x22\x4d\x18\x64\x40\xa7",
    "lzip": b"LZIP\x01\x0c\x00\x36\x19\x4a",
    "Snappy": b"\xff\x06\x00\x00sNaPpY\x01",
    "Mosaic": mosaic([b"one", b"two three"]),
    "PNG": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",
    "JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00",
    "GIF": b"GIF89a\x01\x00\x01\x00\x80\x00",
    "WebP": b"RIFF\x24\x00\x00\x00WEBPVP8 ",
    "bitmap": b"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00",
    "TIFF": b"II*\x00\x08\x00\x00\x00",
    "icon": b"\x00\x00\x01\x00\x01\x00\x10\x10",
    "MP4": b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00",
    "MP3": b"ID3\x03\x00\x00\x00\x00\x0f\x76",
    "transport stream": packets(188, 0),
    "transport stream with times": packets(192, 4),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< >>\nendobj",
    "PDF in letters": b"%PDF-1.4\n1 0 obj\n<< >>\nendobj\n",
    "ELF": b"\x7fELF\x02\x01\x01\x00",
    "wasm": b"\x00asm\x01\x00\x00\x00",
    "class": b"\xca\xfe\xba\xbe\x00\x00\x00\x34",
    "exe": b"MZ\x90\x00\x03\x00\x00\x00",
    "pyc": b"\xa7\x0d\r\n\x00\x00\x00\x00",
    "GGUF": b"GGUF\x03\x00\x00\x00",
    "safetensors": b'\x40\x00\x00\x00\x00\x00\x00\x00{"a":{}}' + bytes(30),
    "font": b"wOF2\x00\x01\x00\x00\x00",
    "WARC inside gzip": gzip.compress(b"WARC/1.0\r\nWARC-Type: warcinfo\r\n\x00"),
    "tar inside gzip": gzip.compress(written(tar_file)),
    "gzip inside gzip": gzip.compress(gzip.compress(b"text" * 99)),
    "NULs": bytes(5000),
    "noise": np.random.default_rng(1).bytes(8000),
    "a little noise": np.random.default_rng(2).bytes(200),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_known_whatever_the_file_is_called(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f{suffix}"
    for name, data in {**BINARY, "SQLite": database(tmp_path)}.items():
        path.write_bytes(data)
        found = look(str(path))
        assert found.kind in ("binary", "unknown"), name
        assert found.said
        assert not found.is_text
        if name.split()[0] in ("Feather", "ORC", "tar", "NumPy", "HDF5", "Avro", "LZ4", "SQLite", "PNG", "PDF", "ELF"):
            assert name.split()[0] in found.said
    for kind, data in (
        ("parquet", written(lambda sink: pq.write_table(TABLE, sink))),
        ("arrow", written(arrow_file)),
        ("arrow", written(stream_file)),
    ):
        path.write_bytes(data)
        assert look(str(path)).is_table
        assert look(str(path)).kind == kind
        path.write_bytes(gzip.compress(data))
        assert not look(str(path)).is_table
        assert look(str(path)).remedy == "decompress it first"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_pointers_and_wide_text_are_known(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f{suffix}"
    lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n"
    annex = b"/annex/objects/SHA256E-s1--0\n"
    for data in (lfs, lfs.replace(b"\n", b"\r\n"), annex, annex + b"/annex/more\n"):
        path.write_bytes(data)
        assert look(str(path)).kind == "pointer"
    path.write_bytes(b"# " + lfs)
    assert look(str(path)).kind == "text"
    text = "let x = 1; // in German: Stra\u00dfe, in Greek: \u03b4\u03c1\u03cc\u03bc\u03bf\u03c2\n" * 9
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
        path.write_bytes(text.encode(encoding))
        found = look(str(path))
        assert (found.kind, found.what) == ("wide", f"text in {encoding[:6].upper()}")
        assert "iconv" in found.remedy
    chinese = "".join(f'{{"text": "\u6f22\u5b57\u304b\u306a\u4ea4\u3058\u308a\u6587 {n}"}}\n' for n in range(600))
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        for cut in range(4):
            assert content_of(chinese.encode(encoding)[: HEAD_BYTES - cut]).what == f"text in {encoding[:6].upper()}"
    for numbers in (np.arange(4000, dtype="<u2") * 7, np.arange(2000, dtype="<i4") * 7, np.arange(900, dtype="<f8")):
        assert content_of(numbers.tobytes()).kind == "unknown"


@pytest.mark.parametrize(
    ("name", "pack"), [("gzip", gzip.compress), ("zstd", zstd.compress), ("xz", lzma.compress), ("bzip2", bz2.compress)]
)
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300), suffix=st.sampled_from(SUFFIXES))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_compressions_are_known_by_content(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], text: str, suffix: str
) -> None:
    data = f"x{text}\n".encode()
    path = tmp_path / f"f{suffix}"
    path.write_bytes(pack(data))
    assert (look(str(path)).compression, look(str(path)).kind) == (name, "text")
    path.write_bytes(pack(b""))
    assert (look(str(path)).compression, look(str(path)).kind) == (name, "empty")


LETTERS = (
    b"PAR1 ARROW1 BZh91AY BM MZ GIF89a RIFF ORC OggS ID3 %PDF- PACK Obj #!/bin/sh Rar! LZIP WARC/1.0 !<arch> DUCK G"
)
letters = st.sampled_from([*LETTERS.split(), b"SQLite format 3", b"(\xc2\xb5/"])


@given(begin=letters | st.just(b""), text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=500))
@settings(max_examples=200)
def test_text_stays_text_whatever_it_begins_with(begin: bytes, text: str) -> None:
    data = begin + b" " + text.encode() + b"\n\tand so on\r\n"
    assert content_of(data[:HEAD_BYTES]).kind == "text"


@pytest.mark.parametrize(
    ("text", "encodings"),
    [
        ("Stra\u00dfe, \u00e9t\u00e9", "latin-1 cp1252 cp437"),
        ("\u0441\u043b\u043e\u0432\u043e", "cp1251 koi8-r cp866"),
        ("\u6587\u5b57 \u5929\u6c17", "shift-jis euc-jp iso2022-jp"),
        ("\u4e2d\u6587 \u5b57", "gbk big5 gb18030"),
        ("\ud55c\uad6d\uc5b4", "euc-kr cp949"),
    ],
)
def test_text_in_old_encodings_stays_text(text: str, encodings: str) -> None:
    for encoding in encodings.split():
        for times in (1, 400):
            assert content_of((f"# {text}\nprint(1)\n" * times).encode(encoding)[:HEAD_BYTES]).kind == "text"


def test_source_text_of_every_kind_stays_source(tmp_path: Path) -> None:
    assert {content_of(document.text[:HEAD_BYTES]).kind for document in read_stdlib()} <= {"text", "empty"}
    assert content_of(b"\x1b[31mred\x1b[0m\x0c\x0b\x08 man pages and form feeds\n" * 9).kind == "text"
    assert content_of(b"a\x01b" + b"c" * 100).kind == "text"  # one odd byte is no film
    assert content_of(b"G" * 5000).kind == "text"  # DNA


@given(data=st.binary(max_size=400))
@settings(max_examples=300)
def test_any_bytes_are_something(data: bytes) -> None:
    found = content_of(data)
    assert isinstance(found, Content)
    assert (found.kind == "empty") == (not data)
    assert b"\0" not in data or not found.is_text or found.kind == "empty"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(OSError, match="not a regular file"):
        look(str(tmp_path / "pipe.jsonl"))


def test_suffixes_of_compressions() -> None:
    found = {name: compression_suffix(name) for name in ("a.jsonl.GZ", "a.zst", "a.tar", "gz", "a.xz/b", ".gz")}
    assert found == {"a.jsonl.GZ": ".GZ", "a.zst": ".zst", "a.tar": "", "gz": "", "a.xz/b": "", ".gz": ""}
