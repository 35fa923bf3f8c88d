"""The neural compressor as a view: its compiled strings, walked like a codebook's, and the file that holds them.

Encoding is the codebook's greedy walk (the strings are prefix-closed, so the longest one is the oracle's window) and
one lookup from string to symbol. A window of more bits than a symbol is written as several symbols, most significant
bits first, and the last of them covers the window's bytes. The view is fuzzy: bytes to symbols is a function, but a
symbol may stand for several strings, each a prefix of the next. So `decode` refuses, and `strings_of` gives them all.

Windows end early in one of three ways:

none      nowhere.
walk      where the predictor, asked for the window's own bytes, can't predict the next one: strings of high entropy
          (except the empty one, which says nothing) are never extended. The set of strings is smaller, and it costs
          nothing.
context   where the predictor, asked for the document up to there, can't predict the next byte (the paper's way). It
          needs a model pass over the text, which `predict_entropies` makes. This is no pure function of the bytes
          alone: the rest of a batch changes the last bits of an entropy, and may move a boundary that depends on them.

Where the predictor fails for long, bytes may be left raw between two sentinels: see `raw_stretches`.

Cost: that of `codebook`. Memory: some 100 bytes per string.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.parsing import parse_json
from byteproxy.progress import Progress, silent
from byteproxy.views import raw_stretches
from byteproxy.views.artefact import Format, content_of, from_content, is_of, read_as, to_content
from byteproxy.views.base import Encoded
from byteproxy.views.codebook_parse import parse_between
from byteproxy.views.coder import Code
from byteproxy.views.neural_tree import Tree
from byteproxy.views.segments import Thresholds, cuts_of
from byteproxy.views.threads import Rooms, on_all_cores
from byteproxy.views.trie import trie_of

RULE_VERSION = 1
FORMAT = Format("byteproxy-neural", "2", "neural view", "byteproxy views train neural")
MAX_NODES = 1 << 22
"""Strings that the walk's table has numbers for."""
WIDEST_SYMBOL = 20
NO_CUTS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Compiled:
    """The settings of a neural view, and its origin.

    code: bits of windows and counts. model: fingerprint of the predictor. parts: symbols that a window is written as.
    segments: none, walk or context. context: its thresholds. raw: bytes of the shortest window that isn't left raw
    where several such stand together (`raw_stretches`); 0: none is. label: what its name says beyond that.
    """

    code: Code
    model: str
    parts: int = 1
    segments: str = "none"
    context: Thresholds | None = None
    raw: int = 0
    label: str = ""


class NeuralView:
    """Strings with symbols, as a view: aligned, context-free, and fuzzy."""

    aligned = True
    suffix = ".neural"
    compile_seconds: float | None = None
    """Seconds that expanding took, of a view that was made just now: no part of its file."""

    def __init__(self, tree: Tree, about: Compiled, weights: bytes = b"") -> None:
        """tree: the strings and their symbols, the single bytes first. weights: of the predictor, carried along."""
        if len(tree.symbol) > MAX_NODES:
            raise InputError(
                f"{len(tree.symbol):,} strings fit into windows of {about.code.bits} bits, more than {MAX_NODES:,}: "
                "give fewer bits"
            )
        self.tree, self.about, self.weights = tree, about, weights
        self.predict_entropies: Callable[[Sequence[bytes], Progress], list[np.ndarray]] | None = None
        self._strings = tree.strings()
        self._cells = trie_of(self._strings).cells
        self.fingerprint = _fingerprint(self._strings, tree.symbol, about)
        self._rooms = Rooms()

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a file says that it is a neural view, of whatever version and even if it is damaged."""
        return is_of(path, FORMAT)

    @classmethod
    def opened(cls, path: Path) -> tuple[Tree, Compiled, bytes]:
        """Read what `save` wrote. Raises InputError if the file is unreadable, damaged or of another version."""
        tensors, said = from_content(content_of(path, FORMAT.noun), FORMAT, path)
        with read_as(FORMAT, path):
            known = parse_json(said["about"])
            known.pop("compile_seconds", None)  # which files of earlier versions hold
            context = None if known["context"] is None else Thresholds(**known.pop("context"))
            about = Compiled(**{**known, "code": Code(**known["code"]), "context": context})
            if about.parts < 1 or about.code.bits % about.parts:
                raise ValueError(f"{about.parts} symbols of a window of {about.code.bits} bits")
            tree = Tree(*(tensors[name] for name in Tree._fields))
            tree.ensure_sound(about.code)
            return tree, about, tensors["weights"].tobytes()

    def save(self, path: Path) -> None:
        """Write strings, symbols and predictor, whole or not at all; InputError where that can't be."""
        tensors = {name: np.ascontiguousarray(column) for name, column in self.tree._asdict().items()}
        tensors["weights"] = np.frombuffer(self.weights, dtype=np.uint8)
        about = json.dumps(asdict(self.about), sort_keys=True)
        write_aside(Path(path), to_content(FORMAT, tensors, {"about": about, "name": self.name}))

    @property
    def name(self) -> str:
        """For example "neural-16", "neural-24-2", "neural-16-walk-2m"."""
        about = self.about
        parts = [f"neural-{about.code.bits}"]
        parts += [str(about.parts)] if about.parts > 1 else []
        parts += [about.segments] if about.segments != "none" else []
        parts += [f"raw{about.raw}"] if about.raw else []
        parts += [about.label] if about.label else []
        return "-".join(parts)

    @property
    def alphabet_size(self) -> int:
        """2^N, of which those that are some string's symbol occur; with raw stretches 258 more."""
        return (1 << self._symbol_bits) + (raw_stretches.MORE if self.about.raw else 0)

    @property
    def _symbol_bits(self) -> int:
        return self.about.code.bits // self.about.parts

    @property
    def nodes(self) -> int:
        """How many strings there are."""
        return len(self._strings)

    def encode(self, document: bytes) -> Encoded:
        """The symbols of one document and the bytes that each covers; InputError without the model that cuts need."""
        return self.encode_batch([document])[0]

    def encode_batch(self, documents: list[bytes]) -> list[Encoded]:
        """Encode each document as `encode` does, on all cores: the walk holds no lock."""
        if self.about.context is None:
            return on_all_cores(lambda document: self.between(document, NO_CUTS), documents)
        return self.encode_with_entropies(documents, self.entropies(documents))

    @property
    def entropy_model(self) -> str:
        """The fingerprint of the model that has to read what is encoded; empty where none has to."""
        return self.about.model if self.about.context is not None else ""

    def entropies(self, documents: Sequence[bytes], progress: Progress = silent) -> list[np.ndarray]:
        """Bits of each byte of each document before it is known, float16 [bytes]; InputError without the model."""
        if self.predict_entropies is None:
            raise InputError(f"view {self.name} cuts text by a model pass over it: open its file by `views.registry`")
        return self.predict_entropies(documents, progress)

    def encode_with_entropies(self, documents: Sequence[bytes], entropies: Sequence[np.ndarray]) -> list[Encoded]:
        """Encode as `encode_batch` does, with known entropies in context."""
        return list(map(self.between, documents, self.cuts(entropies)))

    def cuts(self, entropies: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Where the segments of documents begin; none where this view has none."""
        chosen = self.about.context
        return [NO_CUTS if chosen is None else cuts_of(bits, chosen) for bits in entropies]

    def between(self, document: bytes, cuts: np.ndarray) -> Encoded:
        """As `encode` with a window's end at each of `cuts`, int64, ascending offsets within the document."""
        found = self.windows(document, cuts)
        text = np.frombuffer(document, dtype=np.uint8)
        symbols, spans = raw_stretches.written(
            text, self.tree.symbol[found[:, 0]], found[:, 1], self._symbol_bits, self.about.parts, self.about.raw
        )
        return Encoded(symbols.astype(np.uint16 if self.alphabet_size <= 1 << 16 else np.uint32), spans)

    def windows(self, document: bytes, cuts: np.ndarray = NO_CUTS) -> np.ndarray:
        """The string and the bytes of each window: uint32 [windows, 2]; strings are nodes of `tree`."""
        text = np.frombuffer(document, dtype=np.uint8)
        out = self._rooms.room(len(text))
        return out[: parse_between(text, cuts, self._cells, out)].copy()

    def strings_of(self, symbol: int) -> list[bytes]:
        """All strings that have a window's symbol, below 2^W: the shortest first, each a prefix of the next.

        Of a raw stretch's symbols, its byte, or the empty string of a sentinel.
        """
        beyond = symbol - (1 << self.about.code.bits)
        if beyond >= 0 and self.about.raw and self.about.parts == 1:
            return [bytes([beyond - raw_stretches.FIRST_BYTE]) if beyond >= raw_stretches.FIRST_BYTE else b""]
        return [self._strings[node] for node in np.flatnonzero(self.tree.symbol == symbol).tolist()]

    def decode(self, symbols: np.ndarray) -> bytes:
        """Refuses with ValueError: several strings may have one symbol."""
        raise ValueError(f"view {self.name} is fuzzy: a symbol may stand for several strings, see `strings_of`")


def _fingerprint(strings: Sequence[bytes], symbols: np.ndarray, about: Compiled) -> str:
    """A hash of the strings, their symbols and how text is cut; with cuts from context, of the model too."""
    context = None if about.context is None else [asdict(about.context), about.model]
    decides = [RULE_VERSION, about.code.bits, about.parts, about.segments, context, *([about.raw] if about.raw else [])]
    digest = sha256(f"byteproxy neural view {json.dumps(decides, sort_keys=True)}\n".encode())
    digest.update(np.array([len(string) for string in strings], dtype=np.uint8).tobytes())
    digest.update(b"".join(strings))
    digest.update(symbols.astype("<u4").tobytes())
    return digest.hexdigest()
