"""Recognize what a file holds by its first bytes: text, records, tables, or something that holds no usable text.

Names aren't trusted: a `.ts` file may be a film, a `.jsonl` file may be gzip, and a `.parquet` file may be a Git LFS
pointer. Formats are recognized by their magic numbers. A magic number made of letters ("BZh9", "PAR1") counts only if
bytes follow that no text has, because a text may begin with the same letters. A file without a magic number is binary
if its first 8,000 bytes hold a NUL (git's rule) or many other control characters. Bytes above 127 decide nothing,
because text in an old encoding has them too.

Cost: one `open` and a `read` of 8 KiB. A JSON file without an early line end is read up to its first line end.
"""

import codecs
import errno
import os
import re
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias

from byteproxy.corpus.decompression import COMPRESSIONS, Stream
from byteproxy.corpus.json_shape import JsonShape, json_shape
from byteproxy.corpus.records import BINARY, POINTER, WIDE

HEAD_BYTES = 8000
MAX_CONTROLS = 1 / 20
"""Share of a text's bytes that may be control characters which texts don't use."""
MIN_ASCII, MAX_STRANGE = 1 / 200, 1 / 100
"""Shares of the characters of text in UTF-16 or UTF-32 that are ASCII, and that are controls or not assigned."""
LFS_POINTER = re.compile(rb"version https://(git-lfs\.github\.com|hawser\.github\.com)/spec/v[0-9]+\r?\n")
ANNEX_POINTER = re.compile(rb"/annex/objects/[!-~]+\s*(\n/annex/.*)*\s*\Z|(\.\./)*\.git/annex/objects/[!-~]+\s*\Z")
PDF = re.compile(rb"%PDF-[0-9]\.[0-9]\s")
LONGEST_POINTER = 1024

_TEXT_BYTES = bytes({*range(32, 127), *range(128, 256), *b"\t\n\v\f\r\b\x1b"})

Kind: TypeAlias = Literal["text", "json", "parquet", "arrow", "empty", "pointer", "wide", "binary", "unknown"]


@dataclass(frozen=True)
class Content:
    """What a file is, by its first bytes.

    kind: "text"; "json" for JSON whose `shape` is known; "parquet" or "arrow"; "empty"; or no text that can be read:
        "pointer" (of Git LFS or git-annex, the data is elsewhere), "wide" (text in UTF-16 or UTF-32), "binary" (of a
        format that is known), "unknown" (NULs or control characters).
    compression: gzip, zstd, xz or bzip2, if the rest is about what is inside; "" otherwise.
    shape: of JSON, whether it is lines of objects, an array of objects, or a single object.
    what: of what can't be read, a phrase such as "a PNG image". remedy: what to do about it.
    """

    kind: Kind
    compression: str = ""
    shape: JsonShape = ""
    what: str = ""
    remedy: str = ""

    @property
    def is_text(self) -> bool:
        """Whether the file can be a document as it is, once it is decompressed."""
        return self.kind in ("text", "json", "empty")

    @property
    def is_records(self) -> bool:
        """Whether it is lines of JSON objects, or an array of them."""
        return self.shape in ("lines", "array")

    @property
    def is_table(self) -> bool:
        """Whether it is a table that can be read; a compressed one can't be."""
        return self.kind in ("parquet", "arrow") and not self.compression

    @property
    def said(self) -> str:
        """What the file is, for people: "a PNG image"."""
        inside = self.what or {"parquet": "a Parquet file", "arrow": "an Arrow file"}.get(self.kind, self.kind)
        return f"{inside} inside {self.compression}" if self.compression else inside


class _Magic(NamedTuple):
    """A format: its bytes at an offset, any of several, what to do with it, and what a further look has to confirm."""

    what: str
    magic: bytes | tuple[bytes, ...]
    remedy: str = ""
    offset: int = 0
    confirmed: Callable[[bytes], bool] = lambda head: True


_DECOMPRESS = "decompress it first"
_UNPACK = "unpack it first"
_EXTRACT = "extract its text first"
_WRITE_AGAIN = "write its text as JSON lines or Parquet"


def _compound(*kinds: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[8:12] in kinds


def _is_bitmap(head: bytes) -> bool:
    return head[6:10] == bytes(4)


def _is_sound(head: bytes) -> bool:
    return head[3:4] in (b"\2", b"\3", b"\4") and head[4:5] < b"\x10"


def _is_hdf5(head: bytes) -> bool:
    return any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in (0, 512, 1024, 2048, 4096))


def _is_tar(head: bytes) -> bool:
    """A first header whose checksum is that of its bytes, its own place counted as blanks; older ones have no magic."""
    written = re.fullmatch(rb"[ \0]*([0-7]{1,7})[ \0]*", head[148:156])
    if written is None or len(head) < 512:
        return False
    return sum(head[:148]) + 8 * ord(" ") + sum(head[156:512]) == int(written[1], 8)


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes (192 with a time before each), each of which begins with "G"."""
    for length, first in ((188, 0), (192, 4)):
        marks = head[first::length]
        if len(marks) >= 5 and marks.count(b"G") == len(marks):
            return True
    return False


def _is_mosaic(head: bytes) -> bool:
    """The number of samples, where each begins and where the last ends, then the columns as JSON; all of 32 bits."""
    begin = 4 * (int.from_bytes(head[:4], "little") + 2)
    first = int.from_bytes(head[4:8], "little")
    return begin < first <= len(head) and head[begin : begin + 1] == b"{" and head[first - 1 : first] == b"}"


# Those whose magic number has a byte that no text has: nothing else begins like this.
_FORMATS = (
    _Magic("an LZ4 file", (b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"), _DECOMPRESS),
    _Magic("a Snappy file", b"\xff\x06\x00\x00sNaPpY", _DECOMPRESS),
    _Magic("a file of compress", b"\x1f\x9d", _DECOMPRESS),
    _Magic(
        "a zip archive (npz, docx, jar, a PyTorch file, ...)", (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"), _UNPACK
    ),
    _Magic("a RAR archive", b"Rar!\x1a\x07", _UNPACK),
    _Magic("a 7z archive", b"7z\xbc\xaf\x27\x1c", _UNPACK),
    _Magic("an Avro file", b"Obj\x01", _WRITE_AGAIN),
    _Magic("an SQLite database", b"SQLite format 3\x00", _WRITE_AGAIN),
    _Magic("an HDF5 file", b"\x89HDF\r\n\x1a\n", _WRITE_AGAIN),
    _Magic("a NumPy array", b"\x93NUMPY", _WRITE_AGAIN),
    _Magic("a pickle", tuple(bytes([0x80, protocol]) for protocol in (2, 3, 4, 5)), _WRITE_AGAIN),
    _Magic("a PNG image", b"\x89PNG\r\n\x1a\n"),
    _Magic("a JPEG image", b"\xff\xd8\xff"),
    _Magic("a TIFF image", (b"II*\x00", b"MM\x00*")),
    _Magic("an icon", b"\x00\x00\x01\x00"),
    _Magic("a JPEG XL image", b"\x00\x00\x00\x0cJXL \r\n\x87\n"),
    _Magic("a JPEG 2000 image", b"\x00\x00\x00\x0cjP  \r\n\x87\n"),
    _Magic("a Matroska or WebM film", b"\x1a\x45\xdf\xa3"),
    _Magic("an MPEG film", (b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")),
    _Magic("a Flash film", b"FLV\x01"),
    _Magic("an ELF program", b"\x7fELF"),
    _Magic("a WebAssembly module", b"\x00asm"),
    _Magic("Java or Mach-O code", b"\xca\xfe\xba\xbe"),
    _Magic("a Mach-O program", (b"\xcf\xfa\xed\xfe", b"\xce\xfa\xed\xfe")),
    _Magic("LLVM bitcode", b"BC\xc0\xde"),
    _Magic("Lua bytecode", b"\x1bLua"),
    _Magic("Dalvik code", b"dex\n03"),
    _Magic("a document of Microsoft Office", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    _Magic("a TrueType font", b"\x00\x01\x00\x00\x00"),
    _Magic("translations of gettext", (b"\xde\x12\x04\x95", b"\x95\x04\x12\xde")),
)
# Those that text may begin with: they count before bytes that no text has.
_FORMATS_IN_LETTERS = (
    _Magic("a Parquet file that is encrypted", b"PARE", _WRITE_AGAIN),
    _Magic("an ORC file", b"ORC", _WRITE_AGAIN),
    _Magic("a Feather file of version 1", b"FEA1", _WRITE_AGAIN),
    _Magic("a DuckDB database", b"DUCK", _WRITE_AGAIN, 8),
    _Magic("an HDF5 file", b"", _WRITE_AGAIN, 0, _is_hdf5),
    _Magic("a tar archive", b"ustar", _UNPACK, 257),
    _Magic("a tar archive", b"", _UNPACK, 0, _is_tar),
    _Magic("an ar archive", b"!<arch>\n", _UNPACK),
    _Magic("a cpio archive", b"07070", _UNPACK),
    _Magic("an lzip file", b"LZIP", _DECOMPRESS),
    _Magic("a WARC archive of web pages", b"WARC/1.", "extract the text of its pages first"),
    _Magic("a GIF image", (b"GIF87a", b"GIF89a")),
    _Magic("a bitmap image", b"BM", "", 0, _is_bitmap),
    _Magic("a WebP image", b"RIFF", "", 0, _compound(b"WEBP")),
    _Magic("a sound file", b"RIFF", "", 0, _compound(b"WAVE")),
    _Magic("an AVI film", b"RIFF", "", 0, _compound(b"AVI ")),
    _Magic("an MP4, HEIC or AVIF file", b"ftyp", "", 4),
    _Magic("a Photoshop image", b"8BPS"),
    _Magic("an Ogg file", b"OggS"),
    _Magic("a FLAC file", b"fLaC"),
    _Magic("an MP3 file", b"ID3", "", 0, _is_sound),
    _Magic("a MIDI file", b"MThd"),
    _Magic("an MPEG transport stream", b"", "", 0, _is_transport_stream),
    _Magic("a Windows program", b"MZ", "", 0, lambda head: b"\0" in head),
    _Magic("an OpenType font", b"OTTO"),
    _Magic("a web font", (b"wOFF", b"wOF2")),
    _Magic("a GGUF model", b"GGUF"),
    _Magic("a pack of git", (b"PACK\0\0\0", b"\xfftOc")),
    _Magic("Python bytecode", b"\r\n", "", 2, lambda head: b"\0" in head[:16]),
    _Magic("a safetensors model", b'{"', "", 8, lambda head: head[5:8] == bytes(3)),
    _Magic("a PDF document", b"%PDF-", _EXTRACT),
    _Magic("a shard of MosaicML Streaming", b"", f"read it with StreamingDataset and {_WRITE_AGAIN}", 0, _is_mosaic),
)
_WIDE = (("UTF-32", (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")), ("UTF-16", (b"\xff\xfe", b"\xfe\xff")))


def content_of(head: bytes) -> Content:
    """Recognize a file by its first bytes, HEAD_BYTES or fewer; JSON counts as "text" here.

    Of a compressed file it tells the compression, and kind "binary": `look` goes on to what is inside.
    """
    if not head:
        return Content("empty")
    foreign = head.translate(None, _TEXT_BYTES)
    if foreign or head[0] >= 0x80:
        found = _known(head, bool(foreign))
        if found is not None:
            return found
    if LFS_POINTER.match(head) and len(head) <= LONGEST_POINTER:
        return Content("pointer", what="a Git LFS pointer", remedy="fetch the data with git lfs pull")
    if len(head) <= LONGEST_POINTER and ANNEX_POINTER.match(head):
        return Content("pointer", what="a git-annex pointer", remedy="fetch the data with git annex get")
    if PDF.match(head) and b" obj" in head:
        return Content("binary", what="a PDF document", remedy=_EXTRACT)
    if b"\0" in foreign:
        return _wide(head) or Content("unknown", what="binary data (it holds NUL bytes)")
    if len(foreign) > 1 + MAX_CONTROLS * len(head):
        return Content("unknown", what="binary data (it holds control characters)")
    return Content("text")


def look(path: str) -> Content:
    """Recognize what a file holds inside its compression. Raises OSError for an unreadable file, a pipe or a device."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # to open a pipe would wait for a writer
        raise OSError(errno.EINVAL, "not a regular file", path)
    with open(path, "rb", buffering=0) as file:
        return look_into(Stream(file))


def look_into(stream: Stream) -> Content:
    """Recognize an unread stream. A compressed stream gives its decompressed content from here on."""
    content = content_of(stream.peek(HEAD_BYTES)[:HEAD_BYTES])
    if content.compression:
        compression = content.compression
        stream.decompress(compression)
        inner = content_of(stream.peek(HEAD_BYTES)[:HEAD_BYTES])
        if inner.compression:
            what = f"{inner.compression} data"
            return Content("binary", compression, what=what, remedy=f"it is compressed twice: {_DECOMPRESS}")
        if inner.kind == "empty" and stream.damage is not None:
            inner = Content("text")  # reading it says what is wrong
        remedy = _DECOMPRESS if inner.kind in ("parquet", "arrow") else inner.remedy
        content = replace(inner, compression=compression, remedy=remedy)
    shape = json_shape(stream, HEAD_BYTES) if content.kind == "text" else ""
    return replace(content, kind="json", shape=shape) if shape else content


def refusal(content: Content) -> tuple[str, str]:
    """The reason and the detail with which a file that is no text is rejected."""
    reason = {"pointer": POINTER, "wide": WIDE}.get(content.kind, BINARY)
    return reason, f"{content.said}; {content.remedy}" if content.remedy else content.said


def _known(head: bytes, foreign: bool) -> Content | None:
    """What a magic number tells. foreign: whether there are bytes that no text has."""
    for compression, magics in COMPRESSIONS.items():
        if foreign and any(magic.match(head) for magic in magics):
            return Content("binary", compression)
    if foreign and head[:4] == b"PAR1":
        return Content("parquet")
    if head[:8] == b"ARROW1\0\0" or _is_arrow_stream(head):
        return Content("arrow")
    for name, mark in _WIDE:
        if head.startswith(mark):
            return _in_wide(name)
    for formats in (_FORMATS, _FORMATS_IN_LETTERS if foreign else ()):
        for what, magic, remedy, offset, confirmed in formats:
            if head.startswith(magic, offset) and confirmed(head):
                return Content("binary", what=what, remedy=remedy)
    return None


def _is_arrow_stream(head: bytes) -> bool:
    """A mark, and behind it the length of the schema, which is less than 64 MiB and a multiple of 8."""
    length = int.from_bytes(head[4:8], "little")
    return head[:4] == b"\xff\xff\xff\xff" and 0 < length < 1 << 26 and not length % 8


def _wide(head: bytes) -> Content | None:
    """Text in UTF-16 or UTF-32 without a mark: it decodes, hardly any of it is no character, and some is ASCII.

    The wrong order of bytes, or numbers in place of text, make characters that there aren't, or none of ASCII.
    """
    shares = {codec: _share_of_ascii(head, codec) for codec in ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")}
    codec = max(shares, key=shares.__getitem__)
    return _in_wide(codec[:6].upper()) if shares[codec] >= MIN_ASCII else None


def _share_of_ascii(head: bytes, codec: str) -> float:
    """The share of line ends and printable ASCII in what bytes say in a codec; 0 where that is no text."""
    try:
        text = codecs.getincrementaldecoder(codec)().decode(head)  # its end may be missing
    except UnicodeDecodeError:
        return 0.0
    strange = sum(unicodedata.category(sign) in ("Cc", "Cn", "Co") and sign not in "\t\n\r" for sign in text)
    if not text or strange > MAX_STRANGE * len(text):
        return 0.0
    return sum(" " <= sign <= "~" or sign == "\n" for sign in text) / len(text)


def _in_wide(name: str) -> Content:
    return Content("wide", what=f"text in {name}", remedy=f"write it in UTF-8 (iconv -f {name.lower()} -t utf-8)")


def compression_suffix(path: str) -> str:
    """The suffix of a path that stands for a compression, as ".gz"; "" without one."""
    suffix = os.path.splitext(path)[1]
    return suffix if suffix.lower() in (".gz", ".gzip", ".zst", ".zstd", ".xz", ".bz2") else ""
