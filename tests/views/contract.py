"""The contract of a view as checks that every view's tests call, and the documents to check it on."""

import dataclasses
import functools
import heapq
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256

import numpy as np
from hypothesis import strategies as st

from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.views.base import Encoded, View, ViewKind

REAL_BYTES = 20_000

ODD_DOCUMENTS = [
    b"",
    *(bytes([value]) for value in (0, 10, 65, 127, 128, 255)),
    bytes(range(256)),
    bytes(range(255, -1, -1)) * 3 + b"odd",
    b"x" * 1_000_000,
    b"\0" * 999_999,
    b"\0\0",
    b"def f():\n    return 0\n\0",
    b"def f():\n    return 1\n\0\0\0",
    b"first\r\nsecond\r\rthird\n\n\r\n",
    b"\xff\xfe \xc0\x80 overlong, cut off: \xe2\x82",
    b"\xf4\x90\x80\x80 too large, \xed\xa0\x80\xed\xb0\x80 surrogates",
    b"\xef\xbb\xbfbyte order mark, " + "e\u0301 \u00e9 \u4e2d\u6587 \U0001f600".encode(),
]

_pieces = st.lists(
    st.one_of(
        st.binary(max_size=12),
        st.text(st.characters(), max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.sampled_from(
            [b"\n", b"\r\n", b"\0", b"\t\t", b"    return x\n", b"def f(self, x):\n", b"\xff", b"\xe2\x82"]
        ),
        st.builds(lambda value, count: bytes([value]) * count, st.integers(0, 255), st.integers(1, 400)),
    ),
    max_size=8,
).map(b"".join)

documents = st.one_of(_pieces, st.builds(lambda piece, count: piece * count, _pieces, st.integers(2, 30)))
"""Any bytes: noise, text in UTF-8 and not, code, newlines, runs of one byte, and all that over and over."""


@functools.cache
def real_documents(count: int = 200) -> tuple[bytes, ...]:
    """The beginnings of files of the standard library, the same ones wherever the library is the same."""
    sample = heapq.nsmallest(count, read_stdlib(), key=lambda document: sha256(document.id.encode()).digest())
    assert len(sample) == count
    return tuple(document.text[:REAL_BYTES] for document in sample)


def check_contract(view: View, document: bytes) -> Encoded:
    """Fail unless a lossless view keeps the contract for this document; gives what it was encoded to."""
    encoded = _checked(view, document)
    _check_batch(view, {document[:7]: view.encode(document[:7]), document: encoded, b"": view.encode(b"")})
    return encoded


def check_documents(view: View, contents: Iterable[bytes]) -> None:
    """Fail unless a lossless view keeps the contract for each document, and for all of them in one batch."""
    _check_batch(view, {document: _checked(view, document) for document in contents})


def check_kind(kind: type[ViewKind]) -> None:
    """Fail unless a class is what the entry point should name, and what needs no training reads no text."""
    assert dataclasses.is_dataclass(kind.Options)
    assert kind.Options.__dataclass_params__.frozen
    assert kind.Options() == kind.Options()
    assert re.fullmatch(r"\S[^\n]{5,70}\S", kind.summary)
    if not kind.trained:
        view, again = kind.make(kind.Options(), _unreadable()), kind.make(kind.Options(), [])
        assert view.fingerprint == again.fingerprint
        check_identity(view)


def check_identity(view: View) -> None:
    """Fail unless name and fingerprint are fit for file names and manifests."""
    assert re.fullmatch(r"[a-z][a-z0-9_.-]*", view.name)
    assert re.fullmatch(r"[0-9a-f]{64}", view.fingerprint)


def _checked(view: View, document: bytes) -> Encoded:
    encoded = view.encode(document)
    symbols, span_bytes = encoded
    assert symbols.dtype == (np.uint16 if view.alphabet_size <= 1 << 16 else np.uint32)
    assert span_bytes.dtype == np.uint32
    assert symbols.shape == span_bytes.shape == (len(symbols),)
    assert not len(symbols) or symbols.max() < view.alphabet_size
    assert span_bytes.sum(dtype=np.int64) == len(document)
    assert view.decode(symbols) == document
    if alphabet := _strings(view):
        strings = list(map(alphabet.__getitem__, symbols.tolist()))
        assert b"".join(strings) == document
        assert span_bytes.tolist() == list(map(len, strings))
    return encoded


def _check_batch(view: View, alone: dict[bytes, Encoded]) -> None:
    batch = view.encode_batch(list(alone))
    for in_batch, by_itself in zip(batch, alone.values(), strict=True):
        for ours, theirs in zip(in_batch, by_itself, strict=True):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)


@functools.lru_cache(maxsize=16)
def _strings(view: View) -> list[bytes] | None:
    strings: list[bytes] | None = getattr(view, "strings", None)
    assert strings is None or len(strings) == view.alphabet_size
    return strings


def _unreadable() -> Iterator[bytes]:
    raise AssertionError("a kind that needs no training read a text")
    yield b""
