"""What can be measured of a view on held-out text: size, speed, stability, where its symbols end.

Costs a few seconds a view: every text is encoded and decoded once, some hundred pieces of it about ten times, and the
speed is measured for about a second.
"""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from byteproxy.corpus.split import Split
from byteproxy.errors import InputError
from byteproxy.evaluate.views.fuzzy import neural_figures
from byteproxy.evaluate.views.stability import PERTURBATIONS, distances, pieces, resync_distances, units
from byteproxy.evaluate.views.view_texts import Corpus, held_out_sample
from byteproxy.progress import Progress, Stage, quietly, silent
from byteproxy.store.trained_views import fingerprint_of, unfinished
from byteproxy.views import registry
from byteproxy.views.base import Encoded, View
from byteproxy.views.codebook_parse import IS_IDENTIFIER
from byteproxy.views.raw import RawView

PAPER_ORDER = ("bpe", "neural", "gzip")
"""Kinds of views, the steadiest first."""
PIECES = 200
STABILITY_BYTES = 2 << 10
RESYNC_BYTES = 8 << 10
SPEED_BYTES = 1 << 16
"""Text that is encoded at once to measure the speed: overheads of a call don't show."""
SPEED_SECONDS = 1.0
MIN_SECONDS = 1e-3
"""Seconds of processor time below which no speed is given."""
SPEED_TEXT_BYTES = 16 << 20


def compare(
    specs: Iterable[str],
    corpus: Corpus,
    split: Split = "validation",
    max_bytes: int = 2_000_000,
    seed: int = 0,
    stage: Stage = quietly,
    keep_in: Path | None = None,
) -> dict[str, Any]:
    """The figures of each view on the same text, which can be written as JSON; see `figures`.

    specs: views as `registry.build` takes them, trained on the training split of `corpus` where they have to be.
    keep_in: folder that keeps a training that was stopped, so that the next call goes on with it; None keeps nothing.
    Raises InputError for a view that can't be built and for one that breaks its contract.
    """
    if seed < 0:
        raise InputError(f"seed is {seed}: give a whole number from 0 up")
    specs = list(dict.fromkeys(specs))
    trained = {spec: registry.needs_training(spec) for spec in specs}
    with stage("look for copies", "B") as progress:
        sample = held_out_sample(corpus, split, max_bytes, progress)
    built, begun = {}, {}
    for spec in sorted(specs, key=trained.__getitem__):  # what can't be loaded is said before others are trained
        with (stage if trained[spec] else quietly)(f"train {spec}", registry.training_unit(spec)) as progress:
            if trained[spec] and keep_in is not None:
                begun[spec] = unfinished(keep_in, spec, fingerprint_of(corpus.name))
            built[spec] = registry.build(spec, corpus.train_texts, progress, begun.get(spec))
    unseen = list(_starts(corpus.train_texts(), SPEED_TEXT_BYTES))
    measured = {}
    for spec in specs:
        view, train_seconds = built[spec]
        with stage(f"measure {spec}", "pieces") as progress:
            speed = encode_mb_s(view, unseen)
            measured[spec] = figures(view, sample.texts, speed, train_seconds, seed, progress)
    for folder in begun.values():
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "corpus": corpus.name,
        "split": split,
        "seed": seed,
        "held_out_bytes": sum(map(len, sample.texts)),
        "held_out_documents": len(sample.texts),
        "near_duplicates_dropped": sample.near_duplicates,
        "stability_order": stability_order(measured),
        "paper_order_holds": paper_order_holds(measured),
        "stability_raw": stability(RawView(), pieces(sample.texts, STABILITY_BYTES, PIECES, seed), seed)["stability"],
        "views": measured,
    }


def stability_order(measured: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The views by the distance that random deletions make, the steadiest first; those without one are left out."""
    distance = {spec: figures["stability"]["random_delete"] for spec, figures in measured.items()}
    return sorted((spec for spec, value in distance.items() if value is not None), key=distance.__getitem__)


def paper_order_holds(measured: Mapping[str, Mapping[str, Any]]) -> bool | None:
    """Whether every tokenizer (bpe) is steadier than every neural view and each of these steadier than gzip.

    None where one of the three is not there. The paper (arXiv 2602.04289) has them in this order.
    """
    names = [measured[spec]["name"] for spec in stability_order(measured)]
    found = [place for name in names for place, kind in enumerate(PAPER_ORDER) if name.startswith(f"{kind}-")]
    return found == sorted(found) if len(set(found)) == len(PAPER_ORDER) else None


def figures(
    view: View,
    texts: Sequence[bytes],
    speed: float | None = None,
    train_seconds: float | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Everything about one view on these texts, as JSON takes it; what isn't there is None.

    speed: what `encode_mb_s` measured, on text that the view had not encoded yet.
    progress: pieces of text perturbed and compared.
    Raises InputError where the view doesn't give back a text or the right spans.
    """
    encoded = encode_all(view, texts)
    short, long = (pieces(texts, size, PIECES, seed) for size in (STABILITY_BYTES, RESYNC_BYTES))
    perturbed = len(PERTURBATIONS) * len(short)
    total = perturbed + len(long)
    return {
        "name": view.name,
        "alphabet_size": view.alphabet_size,
        "aligned": view.aligned,
        "lossless": lossless(view, texts, encoded),
        **counts([units(view, *one) for one in zip(encoded, texts, strict=True)], sum(map(len, texts))),
        **crossings(encoded, texts, view.aligned),
        **neural_figures(view, texts),
        "encode_mb_s": speed,
        "train_seconds": train_seconds,
        **stability(view, short, seed, _later(progress, 0, total)),
        **resynchronisation(view, long, seed, _later(progress, perturbed, total)),
    }


def encode_all(view: View, texts: Sequence[bytes]) -> list[Encoded]:
    """Each text through the view; InputError where symbols or spans are not what the contract says."""
    encoded = view.encode_batch(list(texts))
    for text, (symbols, span_bytes) in zip(texts, encoded, strict=True):
        if view.aligned and (len(span_bytes) != len(symbols) or span_bytes.sum() != len(text)):
            raise InputError(f"view {view.name} breaks its contract: its spans don't sum to the bytes of the text")
        if symbols.size and int(symbols.max()) >= view.alphabet_size:
            raise InputError(f"view {view.name} breaks its contract: symbol {symbols.max()} is not in its alphabet")
    return encoded


def lossless(view: View, texts: Sequence[bytes], encoded: Sequence[Encoded]) -> bool:
    """Whether the view gives the texts back; False if it says that it can't: by `lossless`, or with ValueError.

    Raises InputError if it gives back another text, or can't for some of the texts only.
    """
    if not getattr(view, "lossless", True):
        return False
    refused = wrong = 0
    for text, (symbols, _) in zip(texts, encoded, strict=True):
        try:
            wrong += view.decode(symbols) != text
        except ValueError:
            refused += 1
    if wrong or 0 < refused < len(texts):
        raise InputError(f"view {view.name} is broken: of {len(texts)} texts it did not give back {wrong + refused}")
    return not refused


def counts(parts: Sequence[np.ndarray], text_bytes: int) -> dict[str, Any]:
    """How many symbols of which frequency.

    parts: the symbols of each text, integers [n].
    entropy_bits is of the symbols' frequencies, per symbol; bits_per_byte is what a coder would need that knows these
    and takes each symbol for itself.
    """
    symbols = np.concatenate(parts)
    _, found = np.unique(symbols, return_counts=True)
    shares = found / max(len(symbols), 1)
    entropy_bits = float(-(shares * np.log2(shares)).sum()) + 0.0
    return {
        "symbols": len(symbols),
        "bytes_per_symbol": text_bytes / len(symbols) if len(symbols) else None,
        "symbols_used": len(found),
        "entropy_bits": entropy_bits,
        "bits_per_byte": entropy_bits * len(symbols) / text_bytes if text_bytes else None,
    }


def crossings(encoded: Sequence[Encoded], texts: Sequence[bytes], aligned: bool) -> dict[str, float | None]:
    """The shares of symbols that reach over the end of a word or of a line, of those that cover bytes.

    A word is a longest run of [A-Za-z0-9_] and bytes from 128 up. A symbol crosses if a word begins or ends strictly
    inside of it; but that one begins after its first byte doesn't count if that byte is a blank (space or tab). It
    crosses a line if it holds a newline before its last byte. None for a view that isn't aligned.
    """
    total = words = lines = 0
    for (_, span_bytes), text in zip(encoded, texts, strict=True):
        if not aligned or not text:
            continue
        data = np.frombuffer(text, dtype=np.uint8)
        is_word = IS_IDENTIFIER[data]
        # [i]: edges of words at offsets 1 to i; newlines among the first i bytes.
        edges = np.concatenate(([0], np.cumsum(is_word[1:] != is_word[:-1])))
        newlines = np.concatenate(([0], np.cumsum(data == ord("\n"))))
        ends = np.cumsum(span_bytes, dtype=np.int64)[span_bytes > 0]
        starts = np.concatenate(([0], ends[:-1]))
        blank = (data[starts] == ord(" ")) | (data[starts] == ord("\t"))
        words += int((edges[ends - 1] > edges[np.minimum(starts + blank, ends - 1)]).sum())
        lines += int((newlines[ends - 1] > newlines[starts]).sum())
        total += len(ends)
    return {
        "crosses_word": words / total if total else None,
        "crosses_line": lines / total if total else None,
    }


def encode_mb_s(view: View, texts: Sequence[bytes]) -> float | None:
    """MB of text that one core encodes in a second, a block of texts at a time, each block once.

    A view may remember pieces of text, so text that it has encoded before would flatter it. The first block warms up;
    with no other block there is only that one to measure. The clock is processor time over all threads, so that a view
    that uses several cores gains nothing by it, and other programs take little away. None where there is too little
    text for the clock to tell.
    """
    joined = b"".join(texts)
    if not joined:
        return None
    blocks = [joined[at : at + SPEED_BYTES] for at in range(0, len(joined), SPEED_BYTES)]
    view.encode(blocks[0])
    done, begin, spent = 0, time.process_time(), 0.0
    for block in blocks[1:] or blocks:
        view.encode(block)
        done += len(block)
        spent = time.process_time() - begin
        if spent >= SPEED_SECONDS:
            break
    return done / spent / 1e6 if spent >= MIN_SECONDS else None


def _starts(texts: Iterable[bytes], max_bytes: int) -> Iterator[bytes]:
    """The first texts, until `max_bytes` are together."""
    for text in texts:
        if max_bytes <= 0:
            return
        yield text[:max_bytes]
        max_bytes -= len(text)


def stability(
    view: View, short_pieces: Sequence[bytes], seed: int, progress: Progress = silent
) -> dict[str, dict[str, Any]]:
    """For each perturbation the mean distance, its standard deviation over pieces of text, and their number.

    progress: pieces done, a piece counting once for each perturbation.
    """
    total = len(PERTURBATIONS) * len(short_pieces)
    found = {
        how: distances(view, short_pieces, how, seed, _later(progress, number * len(short_pieces), total))
        for number, how in enumerate(PERTURBATIONS)
    }
    return {
        "stability": {how: float(values.mean()) if values.size else None for how, values in found.items()},
        "stability_spread": {how: float(values.std()) if values.size else None for how, values in found.items()},
        "stability_pieces": {how: len(values) for how, values in found.items()},
    }


def resynchronisation(
    view: View, long_pieces: Sequence[bytes], seed: int, progress: Progress = silent
) -> dict[str, float | None]:
    """Bytes behind a changed byte until the parse is the old one: the median over edits and the 90th percentile."""
    behind = resync_distances(view, long_pieces, seed, progress)
    return {
        "resync_bytes": float(np.median(behind)) if behind.size else None,
        "resync_bytes_p90": float(np.percentile(behind, 90)) if behind.size else None,
    }


def _later(progress: Progress, before: int, total: int) -> Progress:
    """Reports of a part of the work, that begins when `before` of `total` are done, as reports of the whole."""
    return lambda done, _, note="": progress(before + done, total, note)
