"""A codebook: up to 2^20 byte strings with a parse that has no memory, walked at memory speed.

A symbol is a string, all 256 single bytes among them, so any bytes can be written and every symbol says what it stands
for. `codebook_fill` chooses the strings, `codebook_parse` cuts text into them, `trie` is the table in between.

The defaults are what measured best on held-out Python code: a set that need not be prefix-closed, cut with one step
of lookahead. `lines` costs some 5 % of bytes per symbol and makes the parse of a line a function of that line alone:
text cut at line ends has the symbols of the whole, and no edit reaches further than its own line.

The floor of a walk is one load a byte and one more a symbol, each waiting for the last (some 7 cycles with the table in
the level-1 cache, 16 in level 2), and one branch a symbol that no processor predicts (some 15). Measured by
`benchmarks/encode.py` on one core of an AMD EPYC (Zen 4), on Python source that was not encoded before:

    codebook                    MB/s   times `tokenizers`   table      bytes a symbol, held out
    12 bits, lookahead           109          55            0.15 MB    4.26
    12 bits, greedy              143          66            0.08 MB    3.93
    16 bits, lookahead            71          37            3.2 MB     6.63
    16 bits, greedy              103          51            1.9 MB     6.35

Two threads encode 1.9 times as much as one. Loading 2^16 strings takes about 0.2 s, compiling what fills and walks some
10 s, once after each change of the code. Memory while encoding: 8 bytes per byte of the document, then the result.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import blake2b, sha256
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.parsing import parse_json
from byteproxy.progress import Progress, silent
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.views.artefact import Format, content_of, from_content, is_of, read_as, to_content
from byteproxy.views.base import Encoded
from byteproxy.views.codebook_fill import Rules, filled
from byteproxy.views.codebook_parse import PARSES, parse, split_at_random
from byteproxy.views.strings import StringTable
from byteproxy.views.threads import Rooms, on_all_cores
from byteproxy.views.trie import LONGEST, trie_of

RULE_VERSION = 1
"""Counts changes to how a set is parsed; part of the fingerprint."""

FORMAT = Format("byteproxy-codebook", "2", "codebook", "byteproxy views train codebook")
SINGLES = [bytes([value]) for value in range(256)]


@dataclass(frozen=True)
class CodebookOptions:
    """How a codebook is filled and parsed.

    bits: at most 2^bits strings.
    parse: how text is cut; see `codebook_parse`.
    prefix_closed: whether what a string begins with is a string too.
    lines: whether a newline always ends its symbol.
    indentation: whether two blanks or a tab end their symbol unless blanks or a newline follow.
    identifiers: "free"; "whole": a symbol that crosses an identifier's edge holds whole identifiers only; "apart": no
        symbol crosses one, save one space in front.
    longest: bytes of the longest string.
    split: share of the symbols that are cut in two at random while encoding.
    seed: of those cuts; together with a document's bytes it decides them.
    sample_mb: text that filling looks at, in MB, a sample of documents by hash.
    """

    bits: int = ranged(12, 10, 20)
    parse: Literal["lookahead", "greedy", "optimal"] = "lookahead"
    prefix_closed: bool = False
    lines: bool = True
    indentation: bool = False
    identifiers: Literal["free", "whole", "apart"] = "free"
    longest: int = ranged(32, 2, LONGEST)
    split: float = ranged(0.0, 0.0, 1.0)
    seed: int = ranged(0, 0, 2**63 - 1)
    sample_mb: int = ranged(32, 1, 4096)

    def __post_init__(self) -> None:
        ensure_in_range(self, "codebook option ")
        for name, known in (("parse", tuple(PARSES)), ("identifiers", ("free", "whole", "apart"))):
            if getattr(self, name) not in known:
                raise InputError(f"codebook option {name} is {getattr(self, name)!r}: give one of {', '.join(known)}")

    @property
    def rules(self) -> Rules:
        """What its strings may be."""
        apart, whole = self.identifiers == "apart", self.identifiers == "whole"
        return Rules(self.longest, self.lines, self.indentation, apart, whole)


class CodebookView:
    """A codebook as a view: lossless, context-free and aligned."""

    Options: ClassVar = CodebookOptions
    summary: ClassVar = "frequent strings, cut by a walk at memory speed"
    trained: ClassVar = True
    suffix: ClassVar = ".codebook"
    aligned = True

    def __init__(self, strings: list[bytes], options: CodebookOptions = CodebookOptions()) -> None:
        """strings: distinct, the 256 single bytes first and in order; a string's place is its symbol."""
        if strings[:256] != SINGLES or len(set(strings)) < len(strings) or not all(strings):
            raise ValueError("a codebook holds the 256 single bytes, in order, and then other strings, none twice")
        if len(strings) > 1 << 20 or max(map(len, strings)) > LONGEST:
            raise ValueError(f"a codebook holds at most {1 << 20} strings of at most {LONGEST} bytes")
        self.options = options
        self.trie = trie_of(strings, options.parse == "lookahead", options.identifiers == "whole")
        self.name = self._name(len(strings), options)
        self.alphabet_size = len(strings)
        self._table = StringTable(strings, self.name)
        self._how, self._whole = PARSES[options.parse], options.identifiers == "whole"
        self._dtype = np.uint16 if len(strings) <= 1 << 16 else np.uint32
        decides = [RULE_VERSION, options.parse, self._whole, options.split, options.seed if options.split else 0]
        lengths = [len(string) for string in strings]
        self.fingerprint = sha256(
            f"byteproxy codebook view {json.dumps([decides, lengths])}\n".encode() + b"".join(strings)
        ).hexdigest()
        self._rooms = Rooms()

    @classmethod
    def make(cls, options: CodebookOptions, texts: Iterable[bytes], progress: Progress = silent) -> "CodebookView":
        """A codebook filled from `texts`; the same for the same set of documents, in whatever order.

        progress: bytes parsed while filling, of an estimate of all that will be.
        Raises InputError where there is no text at all.
        """
        strings = filled(
            texts,
            1 << options.bits,
            options.parse,
            options.rules,
            options.prefix_closed,
            options.sample_mb * 1_000_000,
            progress,
        )
        return cls(strings, options)

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file says that it is a codebook, of whatever version and even if it is damaged."""
        return is_of(path, FORMAT)

    @classmethod
    def load(cls, path: Path) -> "CodebookView":
        """The codebook that `save` wrote; InputError where it can't be read, is damaged or of another version."""
        return cls.from_bytes(content_of(path, FORMAT.noun), path)

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> "CodebookView":
        """The codebook that `to_bytes` gave; path: of the file it was in, for what InputErrors say."""
        tensors, about = from_content(content, FORMAT, path)
        with read_as(FORMAT, path):
            lengths, data = tensors["lengths"], tensors["bytes"].tobytes()
            ends = np.cumsum(lengths, dtype=np.int64).tolist()
            if lengths.ndim != 1 or lengths.dtype != np.uint8 or sum(lengths.tolist()) != len(data):
                raise ValueError("its lengths are not those of its bytes")
            strings = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            return cls(strings, CodebookOptions(**parse_json(about["options"])))

    def save(self, path: Path) -> None:
        """Write the codebook, whole or not at all; InputError where that can't be."""
        write_aside(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """Strings and options as a safetensors file, the same for the same codebook."""
        tensors = {
            "bytes": np.frombuffer(b"".join(self._table.strings), dtype=np.uint8),
            "lengths": self._table.length.astype(np.uint8),
        }
        options = json.dumps(asdict(self.options), sort_keys=True)
        return to_content(FORMAT, tensors, {"options": options, "name": self.name})

    @staticmethod
    def _name(size: int, options: CodebookOptions) -> str:
        """The size and whatever is not the default, as a store tells views apart by name: "codebook-65536-greedy"."""
        plain = CodebookOptions()
        parts = [f"codebook-{size}"]
        parts += [options.parse] if options.parse != plain.parse else []
        parts += ["closed"] if options.prefix_closed else []
        parts += ["over-lines"] if not options.lines else []
        parts += ["indentation"] if options.indentation else []
        parts += [options.identifiers] if options.identifiers != plain.identifiers else []
        parts += [f"longest{options.longest}"] if options.longest != plain.longest else []
        parts += [f"split{options.split:g}-{options.seed}"] if options.split else []
        return "-".join(parts)

    @property
    def strings(self) -> list[bytes]:
        """The bytes behind each symbol."""
        return list(self._table.strings)

    def encode(self, document: bytes) -> Encoded:
        """The symbols of one document and the bytes that each covers."""
        text = np.frombuffer(document, dtype=np.uint8)
        out = self._rooms.room(len(text))
        count = parse(text, self.trie, self._how, self._whole, out)
        if self.options.split:
            seed = self.options.seed.to_bytes(8, "big")
            key = np.uint64(int.from_bytes(blake2b(document, digest_size=8, key=seed).digest(), "big"))
            parsed = out[:count].copy()
            count = split_at_random(text, parsed, self.trie, self._whole, self.options.split, key, out)
        return Encoded(out[:count, 0].astype(self._dtype), out[:count, 1].copy())

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does, on all cores: the walk holds no lock."""
        return on_all_cores(self.encode, documents)

    def decode(self, symbols: np.ndarray) -> bytes:
        """The bytes behind symbols, exactly; ValueError for a symbol outside of the alphabet."""
        return self._table.joined(symbols)
