"""Byte-pair encoding of code: the compressor that everybody knows, as a plain Hugging Face `tokenizer.json`.

Pair merges after Sennrich et al. (arXiv 1508.07909) over bytes as in GPT-2. Text is first cut by a pattern of our own
in the spirit of newer tokenizers, with one difference: a newline is always the last byte of its piece. So each line is
encoded by itself, the end of a line is always a symbol boundary, and text may be cut at line ends before encoding
without changing a symbol. That costs 0.6 % more symbols on Python code than letting pieces span blank lines.
Without `words` a piece is a whole line, and symbols may span words: the idea of SuperBPE (arXiv 2503.13423), but in one
stage from the first merge on.

The rule for any bytes: invalid UTF-8 is cut out, each invalid byte becomes its own single-byte symbol, and the valid
stretches between are encoded each by itself. "Invalid" is what Python's strict UTF-8 decoder calls so.

Our patterns, GPT-2's own and none at all are encoded by `bpe_engine`, other patterns by `tokenizers`; which of them it
is never changes a symbol. The floor is to touch every byte and to look up every piece once; lines repeat less than
words, so most of them have to be merged. Measured by `benchmarks/encode.py` on one core of an AMD EPYC (Zen 4), on
Python source that was not encoded before:

    symbols           MB/s    times `tokenizers`    training, s    bytes a symbol, held out
    4096               95          41                    5             3.25
    65536              71          37                    6             3.79
    4096, lines        33          16                   23             4.00
    65536, lines       21          11                   29             6.34

Compiling takes some 6 s, once after each change of the code. Training on 25 MB of text takes 0.3 GB of memory, without
words 2 GB.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Encoding, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded
from byteproxy.views.bpe_engine import Engine
from byteproxy.views.bpe_merges import MOST_MERGES, MOST_SYMBOLS
from byteproxy.views.pieces import LINES, LINES_PATTERN, WORDS_PATTERN, rule_of, steps_of
from byteproxy.views.strings import StringTable

RULE_VERSION = 1
"""Counts changes to what `encode` does around the tokenizer; part of the fingerprint."""

TRAINED_STRETCHES = re.compile(r"(?:[^\n]{0,1000}\n)+|[^\n]{1,1000}")
"""Lines as a whole, but long ones in stretches of 1,000 characters: the trainer takes quadratic time on long pieces."""
INVALID_BYTES = re.compile("([\udc80-\udcff]+)")


@dataclass(frozen=True)
class BpeOptions:
    """What to train.

    alphabet: how many symbols, at least the 256 bytes.
    words: cut text into words first, so that no symbol spans two; without, only at line ends.
    """

    alphabet: int = 4096
    words: bool = True

    def __post_init__(self) -> None:
        _check_size(self.alphabet)


class BpeView:
    """A byte-level BPE tokenizer as a view: lossless, context-free and aligned."""

    Options = BpeOptions
    summary = "byte-pair encoding, within words or, with words=false, within lines"
    trained = True
    suffix = ".json"
    aligned = True

    def __init__(self, tokenizer_json: str) -> None:
        """tokenizer_json: the text of a tokenizer.json. Raises ValueError where it can't be a view."""
        content = json.loads(tokenizer_json)
        _check(content)
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        self._fingerprint = sha256(f"byteproxy bpe view {RULE_VERSION}\n{canonical}".encode()).hexdigest()
        self._json = tokenizer_json
        ignore_merges = bool(content["model"].get("ignore_merges"))
        rule = rule_of(content.get("pre_tokenizer"))
        self._rule = None if ignore_merges else rule
        merges = _merges(content["model"])
        vocabulary = _without_added(content, merges)
        byte_of = {character: value for value, character in enumerate(byte_characters())}
        strings = [b""] * (max(vocabulary.values()) + 1)
        for token, number in vocabulary.items():
            strings[number] = bytes(byte_of[character] for character in token)
        name = f"bpe-{len(strings)}" + ("-lines" if self._rule == LINES else "")
        self._table = StringTable(strings, name)
        self._dtype = np.uint16 if self.alphabet_size <= 1 << 16 else np.uint32
        self._byte_symbols = np.array([vocabulary[character] for character in byte_characters()], dtype=self._dtype)
        self._plain = {
            "added_tokens": [],
            "pre_tokenizer": content["pre_tokenizer"],
            "model": {
                "type": "BPE",
                "ignore_merges": ignore_merges,
                "vocab": vocabulary,
                "merges": merges,
            },
        }
        if self._rule is None:
            self._engine = None
            _ = self._tokenizer  # made at once, as `tokenizers` may find fault with a pattern
        else:
            by_number = [(vocabulary[left], vocabulary[right], vocabulary[left + right]) for left, right in merges]
            self._engine = Engine(self._rule, strings, by_number)

    def __reduce__(self) -> tuple[type["BpeView"], tuple[str]]:
        return BpeView, (self._json,)

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
        Raises InputError for an alphabet below 256 and for documents too few to fill it.
        """
        _check_size(alphabet_size)
        tokenizer = _untrained(words)
        trainer = trainers.BpeTrainer(
            vocab_size=alphabet_size,
            min_frequency=2,
            show_progress=False,
            special_tokens=[],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(_trained_on(documents, words, progress), trainer)
        found = tokenizer.get_vocab_size()
        if found < alphabet_size:
            raise InputError(
                f"the documents gave only {found} of {alphabet_size} BPE symbols: train on more text or set "
                f"alphabet_size to at most {found}"
            )
        return cls(tokenizer.to_str())

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file is a tokenizer.json: a JSON object with a model; those of other views have a format."""
        try:
            with Path(path).open("rb") as file:
                if not file.read(256).lstrip().startswith(b"{"):
                    return False
                file.seek(0)
                content = json.load(file)
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(content.get("model"), dict) and "format" not in content

    @classmethod
    def load(cls, path: Path) -> "BpeView":
        """The view in a tokenizer.json, ours or another's; InputError where its symbols aren't the text's own bytes.

        Added tokens, such as `<|endoftext|>`, are never symbols of the view; the others keep their numbers.
        """
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
        """Write the tokenizer.json, whole or not at all; InputError where that can't be."""
        write_aside(path, self._json.encode())

    @property
    def name(self) -> str:
        """For example "bpe-4096", or "bpe-4096-lines" without words."""
        return self._table.name

    @property
    def alphabet_size(self) -> int:
        """How many symbols there are, the 256 single bytes among them: the largest number and one."""
        return len(self._table.strings)

    @property
    def fingerprint(self) -> str:
        """A hash of the tokenizer, whatever its file's layout, and of the rule for invalid bytes."""
        return self._fingerprint

    @property
    def strings(self) -> list[bytes]:
        """The bytes behind each symbol; none for numbers that never occur, such as an added token's."""
        return list(self._table.strings)

    @property
    def tokenizer_json(self) -> str:
        """The text of the tokenizer.json."""
        return self._json

    def encode(self, document: bytes) -> Encoded:
        """The symbols of one document and the bytes that each covers."""
        return self.encode_batch([document])[0]

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """As `encode` for each document, all of them in one pass over all cores."""
        return self._engine.encode(documents) if self._engine else self._encode_by_tokenizers(documents)

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols, exactly; ValueError for a symbol outside of the alphabet or that never occurs."""
        return self._table.joined(symbols)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_str(json.dumps(self._plain))

    def _encode_by_tokenizers(self, documents: list[bytes]) -> list[Encoded]:
        """What the engine has to give, by `tokenizers`: for foreign patterns, and to test the engine against.

        A document of n invalid stretches costs n more small pieces, 2 to 3 microseconds each.
        """
        parts = [self._cut(document) for document in documents]
        texts = [part for pieces in parts for part in pieces if isinstance(part, str)]
        encodings = iter(self._tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        return [self._joined(pieces, encodings) for pieces in parts]

    def _cut(self, document: bytes) -> list[str | bytes]:
        """The document as valid stretches (str) and runs of invalid bytes (bytes), in order."""
        parts: list[str | bytes] = []
        for place, stretch in enumerate(_stretches(document)):
            if place % 2:
                parts.append(stretch.encode("utf-8", "surrogateescape"))
            elif stretch:
                parts.append(stretch)
        return parts

    def _joined(self, parts: list[str | bytes], encodings: Iterator[Encoding]) -> Encoded:
        arrays = [
            np.array(next(encodings).ids, dtype=self._dtype)
            if isinstance(part, str)
            else self._byte_symbols[np.frombuffer(part, dtype=np.uint8)]
            for part in parts
        ]
        symbols = np.concatenate(arrays) if arrays else np.empty(0, dtype=self._dtype)
        return Encoded(symbols, self._table.spans(symbols))


def _check_size(alphabet_size: int) -> None:
    if alphabet_size < 256:
        raise InputError(f"alphabet_size is {alphabet_size}: byte-level BPE needs at least the 256 bytes")


def _untrained(words: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS_PATTERN if words else LINES_PATTERN), "isolated"),
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


def _trained_on(documents: Iterable[bytes], words: bool, progress: Progress) -> Iterator[list[str]]:
    done = 0
    for document in documents:
        valid = _stretches(document)[::2]
        yield valid if words else [part for stretch in valid for part in TRAINED_STRETCHES.findall(stretch)]
        done += len(document)
        progress(done, 0)


def byte_characters() -> list[str]:
    """The character that stands for each byte in byte-level BPE: itself if it prints, else one from 256 up (GPT-2)."""
    printing = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    stand_ins = iter(range(256, 512))
    return [chr(value if value in printing else next(stand_ins)) for value in range(256)]


def _check(content: Any) -> None:
    """Refuse a tokenizer.json whose symbols aren't exactly the text's own bytes; raises ValueError saying why.

    Post-processors, truncation, padding and decoders play no role in a view, and neither does what a model does about
    characters that it lacks.
    """
    model = content["model"] if isinstance(content, dict) and isinstance(content.get("model"), dict) else {}
    if model.get("type", "BPE") != "BPE" or not isinstance(model.get("vocab"), dict) or "merges" not in model:
        raise ValueError("its model is not BPE")
    if steps := steps_of(content.get("normalizer"), "normalizers"):
        kinds = ", ".join(str(step.get("type")) for step in steps)
        raise ValueError(
            f"its normalizer, {kinds}, may change a text, so its symbols would not be its own bytes; a copy of it "
            'with "normalizer": null can be one, with the same symbols for all text that the normalizer leaves as it is'
        )
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise ValueError(f"its model uses {option}")
    if len(model["merges"]) > MOST_MERGES:
        raise ValueError(f"it has {len(model['merges'])} merges, more than {MOST_MERGES}")


def _merges(model: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = []
    for merge in model["merges"]:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2 or not {pair[0], pair[1], pair[0] + pair[1]} <= model["vocab"].keys():
            raise ValueError(f"its merge {merge!r} needs what is not in its vocabulary")
        pairs.append((pair[0], pair[1]))
    return pairs


def _without_added(content: dict[str, Any], merges: list[tuple[str, str]]) -> dict[str, int]:
    """The vocabulary without added tokens, as a document that quotes `<|endoftext|>` means those 13 bytes.

    What is a byte or has a part in merges stays. Raises ValueError where not every text could be encoded and decoded.
    """
    kept = {symbol for left, right in merges for symbol in (left, right, left + right)} | set(byte_characters())
    dropped = {token["content"] for token in content.get("added_tokens") or []} - kept
    vocabulary = {symbol: number for symbol, number in content["model"]["vocab"].items() if symbol not in dropped}
    numbers = vocabulary.values()
    if len(set(numbers)) < len(numbers) or not 0 <= min(numbers, default=0) <= max(numbers, default=0) < MOST_SYMBOLS:
        raise ValueError(f"its symbol numbers repeat or are not from 0 to {MOST_SYMBOLS - 1}")
    missing = len(set(byte_characters()) - vocabulary.keys())
    if missing:
        raise ValueError(f"it has no symbol for {missing} of the 256 bytes, so there is text that it can't encode")
    if not set(byte_characters()).issuperset("".join(vocabulary)) or "" in vocabulary:
        raise ValueError("its symbols are not made of the 256 bytes in byte-level spelling")
    return vocabulary
