"""Byte-pair encoding of code: the compressor that everybody knows, as a plain Hugging Face `tokenizer.json`.

Pair merges after Sennrich et al. (arXiv 1508.07909) over bytes as in GPT-2. Text is first cut by a pattern of our own
in the spirit of newer tokenizers, with one difference: a newline is always the last byte of its piece. So each line is
encoded by itself, the end of a line is always a symbol boundary, and text may be cut at line ends before encoding
without changing a symbol. That costs 0.6 % more symbols on Python code than letting pieces span blank lines.
Without `words` a piece is a whole line, and symbols may span words: the idea of SuperBPE (arXiv 2503.13423), but in one
stage from the first merge on.

Published byte-level tokenizers are views as they are, with the numbers that `tokenizers` gives (`tokenizer_json`,
`added_tokens`, `pre_tokenizers`, `nfc`). Two rules are ours, so that any bytes can be encoded:
- Invalid UTF-8 is cut out, each invalid byte becomes its own single-byte symbol, and the valid stretches between are
  encoded each by itself. "Invalid" is what Python's strict UTF-8 decoder calls so.
- A byte that the vocabulary has no symbol for gets one, behind all numbers of the file, in the order of bytes.
SentencePiece's BPE with byte fallback (Llama 1 and 2, Mistral) is a view too (`sentencepiece`, `spaces`), and so is the
tokenizer in a GGUF file (`gguf_tokenizer`).

Our patterns and all others that `pre_tokenizers` understands are encoded by `engine`, the rest by `tokenizers`; which
of the two it is never changes a symbol. The floor is to touch every byte and to look up every piece once; lines repeat
less than words, so most of them have to be merged. Measured by `benchmarks/encode.py` on one core of an AMD EPYC (Zen
4), on Python source that was not encoded before:

    symbols           MB/s    times `tokenizers`    training, s    bytes a symbol, held out
    4096               95          41                    5             3.25
    65536              71          37                    6             3.79
    4096, lines        33          16                   23             4.00
    65536, lines       21          11                   29             6.34

Compiling takes some 8 s, once after each change of the code. Training on 25 MB of text takes 0.3 GB of memory, without
words 2 GB.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from byteproxy.errors import InputError
from byteproxy.files import head, write_aside
from byteproxy.gguf_file import GgufFile, is_gguf, opened
from byteproxy.progress import Progress, silent
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.views.base import Encoded
from byteproxy.views.bpe.added_tokens import Finder
from byteproxy.views.bpe.byte_alphabet import byte_characters
from byteproxy.views.bpe.engine import Engine
from byteproxy.views.bpe.gguf_tokenizer import tokenizer_json_of
from byteproxy.views.bpe.merge_training import trained
from byteproxy.views.bpe.merges import MAX_SYMBOLS
from byteproxy.views.bpe.nfc import composed
from byteproxy.views.bpe.normalized import Normalized
from byteproxy.views.bpe.pre_tokenizers import LINES
from byteproxy.views.bpe.reference import SlowEngine
from byteproxy.views.bpe.sentencepiece import taken_apart
from byteproxy.views.bpe.tokenizer_json import TokenizerFile, read
from byteproxy.views.strings import StringTable

RULE_VERSION = 1
"""Counts changes to what `encode` does around the tokenizer; part of the fingerprint."""
TOKENS_RULE_VERSION = 2
"""The same for tokenizers with added tokens that stand in text; before, these were left out."""


@dataclass(frozen=True)
class BpeOptions:
    """The options of training.

    alphabet: how many symbols, at least the 256 bytes, at most 2^20.
    words: cut text into words first, so that no symbol spans two; without, only at line ends.
    """

    alphabet: int = ranged(4096, 256, MAX_SYMBOLS)
    words: bool = True

    def __post_init__(self) -> None:
        ensure_in_range(self, "bpe option ")


class BpeView:
    """A BPE tokenizer as a view: context-free and aligned, and lossless if it leaves the text as it is."""

    Options = BpeOptions
    summary = "byte-pair encoding, within words or, with words=false, within lines"
    trained = True
    suffix = ".json"
    aligned = True

    def __init__(self, tokenizer_json: str) -> None:
        """tokenizer_json: the text of a tokenizer.json. Raises ValueError where it can't be a view.

        alphabet_size: the largest number of a symbol and one. fingerprint: whatever the file's layout, of the tokenizer
        and of the rule for invalid bytes.
        """
        file = read(tokenizer_json)
        version = TOKENS_RULE_VERSION if any(not token.special for token in file.tokens) else RULE_VERSION
        canonical = json.dumps(file.content, sort_keys=True, separators=(",", ":"))
        self.fingerprint = sha256(f"byteproxy bpe view {version}\n{canonical}".encode()).hexdigest()
        self.tokenizer_json = tokenizer_json
        self._file = file
        strings = file.strings
        self.alphabet_size = len(strings)
        self.name = f"bpe-{len(strings)}" + ("-lines" if file.cuts.rule == LINES else "")
        self._table = StringTable(strings, self.name)
        self._finder = Finder(file.tokens)
        self._dtype = np.uint16 if len(strings) <= 1 << 16 else np.uint32
        self._byte_symbols = np.array(self.byte_symbols, np.uint32)
        self._engine: Engine | SlowEngine = self._engine_of(file) if file.cuts.known else self._slow

    @staticmethod
    def _engine_of(file: TokenizerFile) -> Engine:
        strings, merges = file.model_strings, file.numbered_merges
        if file.beginnings is not None:
            strings += [b""] * (file.beginnings.first - len(strings)) + file.beginnings.strings
            merges = [*file.beginnings.merges, *merges]
        tokens = [] if file.spaces is not None and file.spaces.after_tokens else file.tokens
        return Engine(file.cuts, strings, merges, ignore_merges=file.ignore_merges, tokens=tokens)

    @cached_property
    def _slow(self) -> SlowEngine:
        return SlowEngine(self._file)

    def __reduce__(self) -> tuple[type["BpeView"], tuple[str]]:
        return BpeView, (self.tokenizer_json,)

    @classmethod
    def make(cls, options: BpeOptions, texts: Iterable[bytes], progress: Progress = silent) -> "BpeView":
        """A view trained on `texts`, as `train` says."""
        return cls.train(texts, options.alphabet, progress, options.words)

    @classmethod
    def train(
        cls, documents: Iterable[bytes], alphabet_size: int, progress: Progress = silent, words: bool = True
    ) -> "BpeView":
        """A view with exactly `alphabet_size` symbols, the same on every run for the same documents.

        words: whether to cut text into words first, and not just at line ends.
        progress: bytes of text read; the total is 0, as it isn't known. Merging comes after and isn't reported.
        Raises InputError for an alphabet below 256 or above 2^20 and for documents too few to fill it.
        """
        BpeOptions(alphabet_size, words)
        return cls(trained(documents, alphabet_size, words, progress))

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file is a tokenizer.json, a JSON object with a model (other views' have a format); or GGUF."""
        if is_gguf(path):
            return True
        if not head(path, 256).lstrip().startswith(b"{"):
            return False
        try:
            content = json.loads(Path(path).read_bytes())
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content, dict) and isinstance(content.get("model"), dict) and "format" not in content

    @classmethod
    def load(cls, path: Path) -> "BpeView":
        """The view in a tokenizer.json, ours or another's, or in a GGUF file.

        Added tokens that aren't special, such as runs of blanks, are symbols where a text spells them. Special ones,
        such as `<|endoftext|>`, are reserved and never symbols of the view: a text that spells one is text.
        Costs a second where there are 50,000 symbols; the view loaded last is given again for the same tokenizer.
        Raises InputError where its symbols aren't the text's own bytes.
        """
        if is_gguf(path):
            return cls.in_gguf(opened(path))
        try:
            return _made(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except ValueError as error:
            raise InputError(
                f"{path} is no byte-level BPE tokenizer that can be a view ({error}): train one with byteproxy or "
                "name another tokenizer.json"
            ) from error

    @classmethod
    def in_gguf(cls, file: GgufFile) -> "BpeView":
        """The view in a GGUF file that is open; InputError as `load`, and for a pre-tokenizer of unknown name."""
        try:
            return _made(tokenizer_json_of(file))
        except ValueError as error:
            raise InputError(f"the tokenizer in {file.path} can't be a view: {error}") from error

    def save(self, path: Path) -> None:
        """Write the tokenizer.json, whole or not at all; InputError where that can't be."""
        write_aside(path, self.tokenizer_json.encode())

    @property
    def strings(self) -> list[bytes]:
        """The bytes behind each symbol; none for numbers that never occur, such as an added token's."""
        return list(self._table.strings)

    @property
    def lossless(self) -> bool:
        """Whether `decode` gives back the text: not if it is brought into another form, or if tokens take in blanks."""
        return (
            not self._file.composes
            and self._file.spaces is None
            and not any(token.lstrip or token.rstrip for token in self._file.tokens if not token.special)
        )

    @property
    def byte_symbols(self) -> list[int]:
        """The symbol of each single byte, 256 of them."""
        return [self._file.vocabulary[character] for character in byte_characters()]

    @property
    def own_bytes(self) -> range:
        """The symbols of bytes that the tokenizer's file has none for: the last ones, in the order of bytes."""
        return range(self.alphabet_size - len(self._file.own), self.alphabet_size)

    def encode(self, document: bytes) -> Encoded:
        """The symbols of one document and the bytes that each covers."""
        return self.encode_batch([document])[0]

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does, all of them in one pass over all cores.

        Raises InputError where `tokenizers` gives up on its own pattern.
        """
        if self._file.spaces is not None:
            return self._encode_normalized(documents)
        if not self._file.composes:
            return self._engine.encode(documents)
        changes = [composed(document) is not None for document in documents]
        numbered = list(zip(documents, changes, strict=True))
        encoded = {
            True: iter(self._encode_normalized([document for document, change in numbered if change])),
            False: iter(self._engine.encode([document for document, change in numbered if not change])),
        }
        return [next(encoded[change]) for change in changes]

    def _encode_normalized(self, documents: list[bytes]) -> list[Encoded]:
        """Documents in the tokenizer's form: each stretch between tokens that are found first by itself."""
        spaces = self._file.spaces
        within = spaces is not None and spaces.after_tokens
        places = [self._finder.stretches(document, normalized=within) for document in documents]
        texts = [
            (document[begin:end], begin == 0)
            for document, own in zip(documents, places, strict=True)
            for begin, end, symbol in own
            if symbol < 0
        ]
        normal = [self._normalized(text, first) for text, first in texts]
        encoded = self._engine.encode(
            [text if new is None else new.text for (text, _), new in zip(texts, normal, strict=True)], raw=False
        )
        between = (self._of_text(one, new) for one, new in zip(encoded, normal, strict=True))
        return [
            _side_by_side(
                [
                    next(between)
                    if symbol < 0
                    else Encoded(np.array([symbol], self._dtype), np.array([end - begin], np.uint32))
                    for begin, end, symbol in own
                ],
                self._dtype,
            )
            for own in places
        ]

    def _normalized(self, text: bytes, first: bool) -> Normalized | None:
        return composed(text) if self._file.spaces is None else self._file.spaces.normalized(text, first)

    def _of_text(self, encoded: Encoded, normal: Normalized | None) -> Encoded:
        """What the engine made of a text, with spans in the text as it was."""
        if self._file.beginnings is not None:
            encoded = taken_apart(encoded, self._file.beginnings, self._byte_symbols)
        spans = encoded.span_bytes if normal is None else normal.spans(encoded.span_bytes)
        return Encoded(encoded.symbols.astype(self._dtype, copy=False), spans)

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols, which are the text if the view is `lossless`.

        ValueError for a symbol outside of the alphabet or that never occurs.
        """
        return self._table.joined(symbols)


@lru_cache(maxsize=1)
def _made(tokenizer_json: str) -> BpeView:
    """The view of a tokenizer, which a conversion asks for at each of its stages."""
    return BpeView(tokenizer_json)


def _side_by_side(parts: list[Encoded], dtype: type[np.generic]) -> Encoded:
    if len(parts) == 1:
        return parts[0]
    nothing = Encoded(np.empty(0, dtype), np.empty(0, np.uint32))
    return Encoded(*map(np.concatenate, zip(nothing, *parts, strict=True)))
