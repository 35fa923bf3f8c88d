"""A BPE tokenizer's token numbers written as two bytes each: a compressor that keeps the alphabet of bytes.

From the proxy compression paper (arXiv 2602.04289), with both of its ways to write a number. "big-endian" writes the
tokenizer's own number, high byte first, so that tokens of similar frequency share bytes. "gray" first sorts the tokens
by their bytes and writes the rank in reflected binary (Gray, US patent 2,632,058). Neighbours in the sorted order tend
to begin alike and then differ in a single bit, and a tokenizer with the same tokens under other numbers gives the same
symbols.

Cost: that of the BPE, and 12 bytes of memory per token on top. A symbol is half a token, so there are no `strings`; the
second byte carries a token's span.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from byteproxy.errors import InputError
from byteproxy.files import head, write_aside
from byteproxy.parsing import MAX_JSON, parse_json
from byteproxy.progress import Progress, silent
from byteproxy.views.artefact import Format, content_of
from byteproxy.views.base import Encoded, within_alphabet
from byteproxy.views.bpe import BpeView
from byteproxy.views.registry import artefact_in

Order = Literal["big-endian", "gray"]

RULE_VERSION = 1
MAX_TOKENS = 1 << 16

FORMAT = Format("byteproxy-token-bytes", 1, "token_bytes view", "byteproxy views train token_bytes")
OPENING = re.compile(rb'\s*\{\s*"format"\s*:\s*"' + FORMAT.mark.encode() + rb'"')
"""How the file begins; `save` writes the format first, so that a file of any length or state is recognised at once."""


class TokenBytesView:
    """Two symbols 0-255 a token: lossless and aligned."""

    @dataclass(frozen=True)
    class Options:
        """order: how a token's number is written. alphabet: how many tokens to train, 256 to 65536.

        tokenizer: the path of a tokenizer.json, or of a folder with one, to take instead of training one; `alphabet`
        then says nothing.
        """

        order: Order = "big-endian"
        alphabet: int = MAX_TOKENS
        tokenizer: str = ""

        def __post_init__(self) -> None:
            _check_order(self.order)
            if not 256 <= self.alphabet <= MAX_TOKENS:
                raise InputError(
                    f"option alphabet of the token_bytes view is {self.alphabet}: give 256 to {MAX_TOKENS} tokens"
                )

    summary = "BPE tokens, each written as two bytes"
    trained = True
    suffix = ".json"
    alphabet_size = 256
    aligned = True

    def __init__(self, bpe: BpeView, order: Order = "big-endian") -> None:
        """InputError for a tokenizer of more than 65536 symbols, whose numbers don't fit into two bytes."""
        _check_order(order)
        if bpe.alphabet_size > MAX_TOKENS:
            raise InputError(
                f"the tokenizer has {bpe.alphabet_size} symbols, but two bytes can number {MAX_TOKENS} only: "
                "give the token_bytes view a smaller tokenizer"
            )
        self._bpe = bpe
        self._order = order
        self.name = f"token_bytes-{order}-{bpe.alphabet_size}"
        self.lossless = bpe.lossless
        decides = f"byteproxy token_bytes view {RULE_VERSION}\n{order}\n{bpe.fingerprint}"
        self.fingerprint = sha256(decides.encode()).hexdigest()
        self._codes = _gray_codes(bpe.strings) if order == "gray" else np.arange(bpe.alphabet_size, dtype=np.uint16)
        self._token_of = np.full(MAX_TOKENS, -1, dtype=np.int32)
        self._token_of[self._codes] = np.arange(bpe.alphabet_size)

    @classmethod
    def make(cls, options: Options, texts: Iterable[bytes], progress: Progress = silent) -> "TokenBytesView":
        """The view, on a tokenizer trained on `texts`, or on that of `options`, and then `texts` aren't read.

        progress: bytes of text read. Raises InputError as BpeView's `train` and `load` do.
        """
        if options.tokenizer:
            return cls(BpeView.load(artefact_in(Path(options.tokenizer))), options.order)
        return cls(BpeView.train(texts, options.alphabet, progress), options.order)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file is a view that `save` wrote, of whatever version and even if it is damaged."""
        return OPENING.match(head(path, 1024)) is not None

    @classmethod
    def load(cls, path: Path) -> "TokenBytesView":
        """The view that `save` wrote; InputError where the file can't be read, is damaged or of another version."""
        content = content_of(path, FORMAT.noun, MAX_JSON)
        try:
            said = parse_json(content)
        except ValueError as error:
            raise (FORMAT.damaged(path, error) if cls.recognises(path) else FORMAT.foreign(path)) from error
        if not isinstance(said, dict):
            raise FORMAT.foreign(path)
        order: Any = said.get("order")
        tokenizer: Any = said.get("tokenizer")
        FORMAT.ensure(path, said, said.get("sha256") == _checksum(order, tokenizer))
        try:
            return cls(BpeView(tokenizer), order)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the token_bytes view {path} holds no usable tokenizer ({error}): copy it again or train it anew"
            ) from error

    def save(self, path: Path) -> None:
        """Write order and tokenizer as JSON, whole or not at all; InputError where that can't be."""
        tokenizer = self._bpe.tokenizer_json
        content = {
            "format": FORMAT.mark,
            "version": FORMAT.version,
            "order": self._order,
            "sha256": _checksum(self._order, tokenizer),
            "tokenizer": tokenizer,
        }
        write_aside(path, json.dumps(content).encode())

    def encode(self, document: bytes) -> Encoded:
        """uint16 [2 * tokens], and spans 0, bytes of the token, for each."""
        return self.encode_batch([document])[0]

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does, on all cores."""
        return [self._written(encoded) for encoded in self._bpe.encode_batch(documents)]

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols; ValueError for symbols that are no bytes, for half a token and for no token."""
        written = within_alphabet(symbols, self).astype(np.uint8)
        if len(written) % 2:
            raise ValueError(f"{len(written)} symbols of the {self.name} view, but a token is 2 of them")
        tokens = self._token_of[written.view(">u2")]
        if (tokens < 0).any():
            place = 2 * int(np.argmax(tokens < 0))
            raise ValueError(f"symbols {place} and {place + 1} are no token of the {self.name} view")
        return self._bpe.decode(tokens)

    def _written(self, encoded: Encoded) -> Encoded:
        symbols = self._codes[encoded.symbols].astype(">u2").view(np.uint8).astype(np.uint16)
        span_bytes = np.zeros(len(symbols), dtype=np.uint32)
        span_bytes[1::2] = encoded.span_bytes
        return Encoded(symbols, span_bytes)


def _gray_codes(strings: list[bytes]) -> np.ndarray:
    """The code of each token, uint16 [tokens]: its rank by (bytes, number) in reflected binary."""
    rank = np.empty(len(strings), dtype=np.uint16)
    rank[sorted(range(len(strings)), key=strings.__getitem__)] = np.arange(len(strings))
    return rank ^ (rank >> 1)


def _check_order(order: str) -> None:
    if order not in get_args(Order):
        raise InputError(f"option order of the token_bytes view is {order!r}: give one of {', '.join(get_args(Order))}")


def _checksum(order: object, tokenizer: object) -> str:
    return sha256(f"{order}\n{tokenizer}".encode("utf-8", "surrogatepass")).hexdigest()
