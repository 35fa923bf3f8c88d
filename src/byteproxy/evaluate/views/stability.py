"""How much a view's symbols change when its text changes a little.

Two questions. *Stability*: the normalised Levenshtein distance between the symbols of a text and those of the same text
perturbed (proxy compression, arXiv 2602.04289, which holds that a compressor is the better a proxy the less its output
changes). *Resynchronisation*: how far behind a single changed byte the symbols are the old ones again.

Text is perturbed in characters, with invalid bytes as characters of their own. Every choice is a pure function of the
seed, of what it is for, and of the text.

Cost: a distance takes about (symbols / 64) x symbols word operations, so pieces of documents are compared and not whole
ones: about 0.5 ms for 2,000 symbols.
"""

import keyword
import re
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import blake2b
from string import ascii_lowercase

import numpy as np
from rapidfuzz.distance import Levenshtein

from byteproxy.progress import Progress, silent
from byteproxy.views.base import Encoded, View

SHORTEST = 32
"""Bytes of a text whose pieces are compared."""
EDITS = 5
"""Single bytes that are changed, one at a time, in each piece."""

IDENTIFIER = re.compile(r"\b[^\W\d]\w{2,}\b")
PRINTABLE = np.arange(0x20, 0x7F)
_BATCH = 32  # pieces that are encoded together: a view may need a hundred times their size while it works


def pieces(texts: Sequence[bytes], piece_bytes: int, count: int, seed: int) -> list[bytes]:
    """Up to `count` pieces of texts, one from each in turn, which of its pieces being chosen at random.

    Pieces end at the first line end from `piece_bytes` on, and where that is over twice as far, at a character after
    `piece_bytes`. A rest of less than half joins the piece before. Texts of a few bytes, all of which one edit changes,
    are left out where there are others.
    """
    shuffled = []
    for text in [text for text in texts if len(text) >= SHORTEST] or texts:
        cut = _cut(text, piece_bytes)
        order = _rng(seed, "pieces", text).permutation(len(cut))
        shuffled.append([cut[at] for at in order])
    turns = max(map(len, shuffled), default=0)
    return [cut[turn] for turn in range(turns) for cut in shuffled if turn < len(cut)][:count]


def perturbed(how: str, text: bytes, seed: int) -> bytes | None:
    """The text changed in one of the ways of `PERTURBATIONS`; None where it has nothing to change."""
    changed = PERTURBATIONS[how](text.decode("utf-8", "surrogateescape"), _rng(seed, how, text))
    return None if changed is None else changed.encode("utf-8", "surrogateescape")


def distances(view: View, texts: Sequence[bytes], how: str, seed: int, progress: Progress = silent) -> np.ndarray:
    """The distance between the symbols of each text and of the text perturbed: float64 [texts that can be], 0 to 1.

    progress: texts done.
    """
    found = []
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        pairs = [(text, changed) for text in batch if (changed := perturbed(how, text, seed)) is not None]
        both = [text for pair in pairs for text in pair]
        seen = [units(view, *one) for one in zip(view.encode_batch(both), both, strict=True)]
        found += [distance(before, after) for before, after in zip(seen[::2], seen[1::2], strict=True)]
        progress(start + len(batch), len(texts))
    return np.array(found, dtype=np.float64)


def distance(before: np.ndarray, after: np.ndarray) -> float:
    """The Levenshtein distance of two sequences of symbols, divided by the length of the longer one."""
    return Levenshtein.normalized_distance(before.tolist(), after.tolist())


def units(view: View, encoded: Encoded, text: bytes) -> np.ndarray:
    """What counts as one symbol of a text: [n] numbers. Symbols, but for a view that says `spans_are_units`, its spans.

    A span's number is a hash of its bytes, uint64.
    """
    if not getattr(view, "spans_are_units", False):
        return encoded.symbols
    ends = np.cumsum(encoded.span_bytes, dtype=np.int64)[encoded.span_bytes > 0].tolist()
    spans = [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return np.frombuffer(b"".join(blake2b(span, digest_size=8).digest() for span in spans), dtype=np.uint64)


def resync_distances(view: View, texts: Sequence[bytes], seed: int, progress: Progress = silent) -> np.ndarray:
    """Bytes to resynchronise after a changed byte: int64 [texts * EDITS], see `resync_bytes`.

    In each text, `EDITS` bytes at random places are replaced, one at a time, by another printable one. A view that is
    not aligned has no boundaries to agree on: all that comes after the edit counts.
    progress: texts done.
    """
    found = []
    for start in range(0, len(texts), _BATCH):
        batch = [text for text in texts[start : start + _BATCH] if text]
        edits = [(text, at, value) for text in batch for at, value in _edits(text, seed)]
        if view.aligned:
            before = view.encode_batch(batch)
            after = view.encode_batch([text[:at] + bytes([value]) + text[at + 1 :] for text, at, value in edits])
            found += [
                resync_bytes(before[number // EDITS], changed, at)
                for number, ((_, at, _), changed) in enumerate(zip(edits, after, strict=True))
            ]
        else:
            found += [len(text) - at - 1 for text, at, _ in edits]
        progress(min(start + _BATCH, len(texts)), len(texts))
    return np.array(found, dtype=np.int64)


def resync_bytes(before: Encoded, after: Encoded, at: int) -> int:
    """Bytes between the changed byte, which is byte `at`, and the offset from which on both parses agree for good.

    To agree means the same boundaries and the same symbols up to the end. A boundary is the end of a symbol that covers
    bytes; symbols that cover none belong to the next one that does. 0 means that only symbols with the byte itself
    changed; if the ends of the parses differ, it is all that comes after the edit.
    """
    ends = [np.cumsum(encoded.span_bytes, dtype=np.int64) for encoded in (before, after)]
    covers = [encoded.span_bytes > 0 for encoded in (before, after)]
    shared = min(map(len, ends))
    differ = np.zeros(shared, dtype=bool)  # from the end backwards
    for one, other in (ends, covers, (before.symbols, after.symbols)):
        differ |= one[::-1][:shared] != other[::-1][:shared]
    alike = int(np.argmax(differ)) if differ.any() else shared
    first = [_first_end(encoded, end, len(end) - alike - 1) for encoded, end in zip((before, after), ends, strict=True)]
    # Where the parses come to the same symbol from different places, they agree from its end on.
    from_offset = first[0] if first[0] == first[1] else _first_end(before, ends[0], len(ends[0]) - alike)
    return max(from_offset - at - 1, 0)


def _first_end(encoded: Encoded, ends: np.ndarray, index: int) -> int:
    """Where the first symbol from `index` on that covers bytes ends; 0 before all symbols, the end after them."""
    if index < 0:
        return 0
    covers = encoded.span_bytes[index:] > 0
    return int(ends[index + np.argmax(covers)] if covers.any() else ends[-1])


def _edits(text: bytes, seed: int) -> list[tuple[int, int]]:
    rng = _rng(seed, "resync", text)
    places = rng.integers(len(text), size=EDITS).tolist()
    return [(at, int(rng.choice(PRINTABLE[text[at] != PRINTABLE]))) for at in places]


def _cut(text: bytes, piece_bytes: int) -> list[bytes]:
    cut = []
    start = 0
    while start < len(text):
        end = text.find(b"\n", start + piece_bytes - 1, start + 2 * piece_bytes) + 1
        if not end:
            end = start + piece_bytes
            while end < len(text) and text[end] & 0xC0 == 0x80 and end < start + piece_bytes + 3:
                end += 1
        end = len(text) if len(text) - end < piece_bytes / 2 else end
        cut.append(text[start:end])
        start = end
    return cut


def _rng(seed: int, purpose: str, text: bytes) -> np.random.Generator:
    key = blake2b(purpose.encode() + b"\n" + text, digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(key, "big")])


# The ways to perturb a text.


def _random_delete(text: str, rng: np.random.Generator) -> str | None:
    """Every tenth character, at random places, is gone."""
    if not text:
        return None
    gone = set(rng.choice(len(text), size=max(1, round(0.1 * len(text))), replace=False).tolist())
    return "".join(character for at, character in enumerate(text) if at not in gone)


def _prefix_cut(text: str, rng: np.random.Generator) -> str | None:
    """1 to 25 % of the start are gone."""
    return text[max(1, round(rng.uniform(0.01, 0.25) * len(text))) :] if text else None


def _middle_cut(text: str, rng: np.random.Generator) -> str | None:
    """5 to 10 % in one stretch are gone, from within the middle half."""
    if not text:
        return None
    length = max(1, round(rng.uniform(0.05, 0.1) * len(text)))
    start = round(0.25 * len(text) + rng.random() * max(0.5 * len(text) - length, 0))
    return text[:start] + text[start + length :]


def _rename(text: str, rng: np.random.Generator) -> str | None:
    """An identifier of three letters or more that occurs more than once has a new name, a bit longer or shorter."""
    counts = Counter(IDENTIFIER.findall(text))
    names = sorted(name for name, count in counts.items() if count > 1 and not keyword.iskeyword(name))
    if not names:
        return None
    name = names[rng.integers(len(names))]
    lengths = [length for length in range(len(name) - 2, len(name) + 3) if length >= 3 and length != len(name)]
    fresh = name
    while fresh in text or keyword.iskeyword(fresh):
        fresh = "".join(ascii_lowercase[letter] for letter in rng.integers(26, size=rng.choice(lengths)))
    return re.sub(rf"\b{name}\b", fresh, text)


PERTURBATIONS: dict[str, Callable[[str, np.random.Generator], str | None]] = {
    "random_delete": _random_delete,
    "prefix_cut": _prefix_cut,
    "middle_cut": _middle_cut,
    "rename": _rename,
}
