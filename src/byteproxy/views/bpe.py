"""Byte-pair encoding of code: the compressor that everybody knows, as a plain Hugging Face `tokenizer.json`.

Pair merges after Sennrich et al. (arXiv 1508.07909) over bytes as in GPT-2. Text is first cut by a pattern of our own
in the spirit of newer tokenizers, with one difference: a newline is always the last byte of its piece. So each line is
encoded by itself, the end of a line is always a symbol boundary, and text may be cut at line ends before encoding
without changing a symbol. That costs 0.6 % more symbols on Python code than letting pieces span blank lines.

The rule for any bytes: invalid UTF-8 is cut out, each invalid byte becomes its own single-byte symbol, and the valid
stretches between are encoded each by itself. "Invalid" is what Python's strict UTF-8 decoder calls so.

Costs: training 4,096 symbols on 28 MB takes 3 to 9 s; encoding runs at 2 to 4 MB/s per core (most of it the pattern),
on all cores in a batch, and takes about 100 bytes of memory per symbol of the batch while it runs.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from byteproxy.errors import InputError
from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded

PATTERN = "|".join(
    (
        r" ?[\p{L}\p{M}]+",
        r" ?\p{N}{1,3}",
        r" ?[^\s\p{L}\p{M}\p{N}]+\r?\n?",
        # The bounds keep the regex engine from giving up on (or panicking over) megabytes of blanks.
        r"[^\S\n]{0,256}\n",
        r"[^\S\n]{1,256}(?= \S)",
        r"[^\S\n]{1,256}",
    )
)
RULE_VERSION = 1
"""Counts changes to what `encode` does around the tokenizer; part of the fingerprint."""

PIECE_CHARACTERS = 1 << 16
INVALID_BYTES = re.compile("([\udc80-\udcff]+)")


class BpeView:
    """A byte-level BPE tokenizer as a view: lossless, context-free and aligned."""

    aligned = True

    def __init__(self, tokenizer_json: str) -> None:
        """tokenizer_json: the text of a tokenizer.json. Raises ValueError where it isn't byte-level BPE."""
        content = json.loads(tokenizer_json)
        _check(content)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        self._fingerprint = sha256(f"byteproxy bpe view {RULE_VERSION}\n{canonical}".encode()).hexdigest()
        self._json = tokenizer_json
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        byte_of = {character: value for value, character in enumerate(_byte_characters())}
        vocabulary: dict[str, int] = content["model"]["vocab"]
        in_order = sorted(vocabulary, key=vocabulary.__getitem__)
        self._strings = [bytes(byte_of[character] for character in token) for token in in_order]
        self._dtype = np.uint16 if self.alphabet_size <= 1 << 16 else np.uint32
        self._lengths = np.array([len(string) for string in self._strings], dtype=np.uint32)
        self._byte_symbols = np.array([vocabulary[character] for character in _byte_characters()], dtype=self._dtype)
        # A foreign pattern may let a piece run across line ends, and then cutting there would change symbols.
        self._line_by_line = content["pre_tokenizer"] == json.loads(_untrained().to_str())["pre_tokenizer"]

    @classmethod
    def train(cls, documents: Iterable[bytes], alphabet_size: int, progress: Progress = silent) -> "BpeView":
        """A view with exactly `alphabet_size` symbols, the same on every run for the same documents.

        progress: bytes of text read; the total is 0, as it isn't known. Merging comes after and isn't reported.
        Raises InputError for an alphabet below 256 and for documents too few to fill it.
        """
        if alphabet_size < 256:
            raise InputError(f"alphabet_size is {alphabet_size}: byte-level BPE needs at least the 256 bytes")
        tokenizer = _untrained()
        trainer = trainers.BpeTrainer(
            vocab_size=alphabet_size,
            min_frequency=2,
            show_progress=False,
            special_tokens=[],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(_valid_stretches(documents, progress), trainer)
        found = tokenizer.get_vocab_size()
        if found < alphabet_size:
            raise InputError(
                f"the documents gave only {found} of {alphabet_size} BPE symbols: train on more text or set "
                f"alphabet_size to at most {found}"
            )
        return cls(tokenizer.to_str())

    @classmethod
    def load(cls, path: Path) -> "BpeView":
        """The view in a tokenizer.json, ours or another's; InputError where it is no plain byte-level BPE."""
        try:
            return cls(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"cannot read the tokenizer {path}: {error.strerror}") from error
        except Exception as error:  # tokenizers raises bare Exceptions
            reason = f"broken JSON, {error}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise InputError(
                f"{path} is no byte-level BPE tokenizer that can be a view ({reason}): train one with byteproxy or "
                "name another tokenizer.json"
            ) from error

    def save(self, path: Path) -> None:
        """Write the tokenizer.json, whole or not at all."""
        path = Path(path)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write(self._json)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise InputError(f"cannot write the tokenizer {path}: {error.strerror}") from error

    @property
    def name(self) -> str:
        """For example "bpe-4096"."""
        return f"bpe-{self.alphabet_size}"

    @property
    def alphabet_size(self) -> int:
        """How many symbols there are, the 256 single bytes among them."""
        return len(self._strings)

    @property
    def fingerprint(self) -> str:
        """A hash of the tokenizer, whatever its file's layout, and of the rule for invalid bytes."""
        return self._fingerprint

    @property
    def strings(self) -> list[bytes]:
        """The bytes behind each symbol."""
        return list(self._strings)

    def encode(self, document: bytes) -> Encoded:
        """The symbols of one document and the bytes that each covers."""
        return self.encode_batch([document])[0]

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """As `encode` for each document, all of them in one pass over all cores.

        A document of n invalid stretches costs n more small pieces, 2 to 3 microseconds each.
        """
        parts = [self._cut(document) for document in documents]
        texts = [part for pieces in parts for part in pieces if isinstance(part, str)]
        encodings = iter(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        return [self._joined(pieces, encodings) for pieces in parts]

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols, exactly; ValueError for a symbol outside of the alphabet."""
        symbols = np.asarray(symbols)
        if symbols.size and not 0 <= symbols.min() <= symbols.max() < self.alphabet_size:
            raise ValueError(f"symbols from {symbols.min()} to {symbols.max()}, but {self.name} has no such symbols")
        return b"".join(map(self._strings.__getitem__, symbols.tolist()))

    def _cut(self, document: bytes) -> list[str | bytes]:
        """The document as valid stretches (str) and runs of invalid bytes (bytes), in order.

        Long stretches are cut once more, at line ends: the tokenizer slows down on them and can't share them out.
        """
        parts: list[str | bytes] = []
        for place, stretch in enumerate(_stretches(document)):
            if place % 2:
                parts.append(stretch.encode("utf-8", "surrogateescape"))
            else:
                parts.extend(_at_line_ends(stretch) if self._line_by_line else filter(None, (stretch,)))
        return parts

    def _joined(self, parts: list[str | bytes], encodings: Iterator[Encoding]) -> Encoded:
        arrays = [
            np.array(next(encodings).ids, dtype=self._dtype)
            if isinstance(part, str)
            else self._byte_symbols[np.frombuffer(part, dtype=np.uint8)]
            for part in parts
        ]
        symbols = np.concatenate(arrays) if arrays else np.empty(0, dtype=self._dtype)
        return Encoded(symbols, self._lengths[symbols])


def _untrained() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _stretches(document: bytes) -> list[str]:
    """Valid text, invalid bytes (as surrogates), valid text, ..., valid text; the valid ones may be empty."""
    try:
        return [document.decode("utf-8")]
    except UnicodeDecodeError:
        return INVALID_BYTES.split(document.decode("utf-8", "surrogateescape"))


def _valid_stretches(documents: Iterable[bytes], progress: Progress) -> Iterator[list[str]]:
    done = 0
    for document in documents:
        yield _stretches(document)[::2]
        done += len(document)
        progress(done, 0)


def _at_line_ends(text: str) -> Iterator[str]:
    """The text in pieces of about PIECE_CHARACTERS, each but the last ending with a newline."""
    start = 0
    while start < len(text):
        end = text.find("\n", start + PIECE_CHARACTERS) + 1 or len(text)
        yield text[start:end]
        start = end


def _byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level BPE: itself if it prints, else one from 256 up (GPT-2)."""
    printing = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(256, 512))
    return [chr(value if value in printing else next(stand_ins)) for value in range(256)]


def _check(content: Any) -> None:
    """Refuse a tokenizer.json whose tokens aren't exactly the document's bytes; raises ValueError saying why."""
    model = content["model"] if isinstance(content, dict) and isinstance(content.get("model"), dict) else {}
    vocabulary = model.get("vocab")
    if model.get("type", "BPE") != "BPE" or not isinstance(vocabulary, dict) or "merges" not in model:
        raise ValueError("its model is not BPE")
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("its symbol numbers have gaps or repeat")
    characters = set(_byte_characters())
    if not characters <= vocabulary.keys() or not characters.issuperset("".join(vocabulary)) or "" in vocabulary:
        raise ValueError("its symbols are not made of the 256 bytes in byte-level spelling")
    for part in ("normalizer", "truncation", "padding", "added_tokens"):
        if content.get(part):
            raise ValueError(f"it has {part}, so its symbols would not be the text's own bytes")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"):
        if model.get(option):
            raise ValueError(f"its model uses {option}")
    first = content.get("pre_tokenizer") or {}
    steps = first.get("pretokenizers", []) if first.get("type") == "Sequence" else [first]
    if [step.get("type") for step in steps].count("ByteLevel") != 1 or steps[-1].get("type") != "ByteLevel":
        raise ValueError("its pre-tokenizer does not end in ByteLevel")
    if steps[-1].get("add_prefix_space"):
        raise ValueError("it adds a space in front of each text")
    if any(step["type"] not in ("Split", "Digits") or step.get("behavior") == "Removed" for step in steps[:-1]):
        raise ValueError("its pre-tokenizer may drop or replace text")
