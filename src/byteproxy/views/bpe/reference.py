"""The results of `engine` by `tokenizers` itself: for patterns that aren't understood here, and to test the engine."""

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from tokenizers import Encoding, Tokenizer

from byteproxy.errors import InputError
from byteproxy.views.base import Encoded
from byteproxy.views.bpe.added_tokens import Finder
from byteproxy.views.bpe.byte_alphabet import byte_characters
from byteproxy.views.bpe.tokenizer_json import TokenizerFile

INVALID_BYTES = re.compile("([\udc80-\udcff]+)")


class SlowEngine:
    """Encodes by `tokenizers` what stands between added tokens and invalid bytes.

    A document of n such stretches costs n small calls' worth of Python, 2 to 3 microseconds each.
    """

    def __init__(self, file: TokenizerFile) -> None:
        """ValueError where `tokenizers` finds fault with a pattern."""
        strings = file.strings
        self._lengths = np.array([len(string) for string in strings], np.uint32)
        self._dtype = np.uint16 if len(strings) <= 1 << 16 else np.uint32
        self._bytes = np.array([file.vocabulary[character] for character in byte_characters()], self._dtype)
        self._finder = Finder(file.tokens)
        model = {
            "type": "BPE",
            "ignore_merges": file.ignore_merges,
            "vocab": file.vocabulary,
            "merges": file.merges,
        }
        plain = {"added_tokens": [], "pre_tokenizer": file.cuts.pre_tokenizer, "model": model}
        try:
            with _unsaid_panics():
                self._tokenizer = Tokenizer.from_str(json.dumps(plain))
        except BaseException as error:
            raise _understood(error, ValueError) from error

    def encode(self, documents: list[bytes], raw: bool = True) -> list[Encoded]:
        """Each document's symbols and spans; InputError where `tokenizers` gives up on a pattern.

        raw: whether to look for tokens that aren't `normalized`, too.
        """
        parts = [list(self._parts(document, raw)) for document in documents]
        texts = [part for pieces in parts for part in pieces if isinstance(part, str)]
        try:
            with _unsaid_panics():
                encodings = iter(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        except BaseException as error:
            raise _understood(error, InputError) from error
        return [self._joined(pieces, encodings) for pieces in parts]

    def _parts(self, document: bytes, raw: bool) -> Iterator[str | bytes | tuple[int, int]]:
        """Valid text (str), runs of invalid bytes (bytes) and tokens (symbol, bytes), in order."""
        for begin, end, symbol in self._finder.stretches(document, raw):
            if symbol >= 0:
                yield symbol, end - begin
                continue
            for place, stretch in enumerate(valid_stretches(document[begin:end])):
                if place % 2:
                    yield stretch.encode("utf-8", "surrogateescape")
                elif stretch:
                    yield stretch

    def _joined(self, parts: list[str | bytes | tuple[int, int]], encodings: Iterator[Encoding]) -> Encoded:
        found = [Encoded(np.empty(0, self._dtype), np.empty(0, np.uint32))]
        for part in parts:
            if isinstance(part, tuple):
                found.append(Encoded(np.array([part[0]], self._dtype), np.array([part[1]], np.uint32)))
                continue
            if isinstance(part, str):
                symbols = np.array(next(encodings).ids, self._dtype)
            else:
                symbols = self._bytes[np.frombuffer(part, np.uint8)]
            found.append(Encoded(symbols, self._lengths[symbols]))
        return Encoded(*map(np.concatenate, zip(*found, strict=True)))


def valid_stretches(document: bytes) -> list[str]:
    """Valid text, invalid bytes (as surrogates), valid text, ..., valid text; the valid ones may be empty."""
    try:
        return [document.decode("utf-8")]
    except UnicodeDecodeError:
        return INVALID_BYTES.split(document.decode("utf-8", "surrogateescape"))


_one_at_a_time = threading.Lock()


@contextmanager
def _unsaid_panics() -> Iterator[None]:
    """While entered, what is no Python writes nothing to stderr; Rust does where `tokenizers` panics, in many lines.

    Other threads go on to write where they did.
    """
    with _one_at_a_time:
        stderr = sys.stderr
        try:
            stderr.flush()
            kept = os.dup(2) if stderr.fileno() == 2 else -1
        except (AttributeError, OSError, ValueError):  # there is none, it is closed, or it is no file
            kept = -1
        if kept < 0:
            yield
            return
        with open(kept, "w", buffering=1, encoding=stderr.encoding, errors=stderr.errors) as sys.stderr:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                sys.stderr = stderr


def _understood(error: BaseException, kind: type[Exception]) -> BaseException:
    """An error of ours for what `tokenizers` raises, some of it bare Exceptions, some not even that; else the error."""
    panic: Any = type(error).__name__ == "PanicException"
    if not panic and not isinstance(error, Exception):
        return error
    said = " ".join(str(error).split())[:200]
    if "over" in said or "Onig" in said:
        said += "; its pattern may take for ever on such text, so name a tokenizer with another one"
    return kind(f"`tokenizers` gives up on this tokenizer ({said})")
