"""What typing errors, and prompts that end inside a word, cost a model: by likelihood, as bytes and as tokens alike.

*Typing errors.* Each ASCII letter is mistyped with a probability: left out, doubled, swapped with the letter behind it,
or replaced by another one, each as often. Every form reads the same mistyped text, and what that costs is held against
the same text as it was.

*Cuts.* A prompt ends at a random byte inside a token of two bytes and more. Scored is what comes after it, up to the
end of a token at least `AHEAD` bytes on. A model of tokens reads the prompt and what follows as the tokens of each, as
it would if somebody gave it that prompt; so its prompt ends with tokens that the text would not have had. Held against
that is a prompt that ends where the token begins, and what comes after that, up to the same byte.

Both are drawn by a seed, so all models and forms get the same texts.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb
from byteproxy.generate.score import Shown, Windows, score, symbol_bits
from byteproxy.model.network import Transformer
from byteproxy.views.base import View
from byteproxy.vocab import Vocab

TYPO_RATE = 0.02
"""Of letters that are mistyped, unless another is asked for: one in fifty."""
AHEAD, LEAST_PROMPT = 24, 32
"""Bytes that are scored behind a cut, at least, and that stand before it; a quarter of a smaller window."""

Cost = Callable[[Sequence[bytes], Sequence[bytes]], np.ndarray]
"""The bits of each text after its prompt, float64 [texts]. A prompt and its text together fit into one window."""


class Mistyped(NamedTuple):
    """A text with typing errors, and how many."""

    text: bytes
    errors: int


class Cut(NamedTuple):
    """What is scored on both sides: after a prompt cut inside a token, and after one that ends where it begins."""

    prompt: bytes
    text: bytes
    whole_prompt: bytes
    whole_text: bytes


class TypingErrors(NamedTuple):
    """Bits per byte of texts as they were and mistyped, and bits more for each error."""

    clean_bpb: float
    mistyped_bpb: float
    errors: int
    bits_per_error: float


class CutPrompts(NamedTuple):
    """Bits per byte of what follows prompts that end inside a token, and before one; of how many prompts."""

    cut_bpb: float
    whole_bpb: float
    prompts: int


def raw_cost(model: Transformer, window: int, stride: int) -> Cost:
    """What texts cost as raw bytes."""
    return lambda texts, prompts: score(model, texts, window, stride, prompts).bits


def token_cost(model: Transformer, vocab: Vocab, representation: int, view: View, window: int, stride: int) -> Cost:
    """What texts cost as the symbols of an aligned view, which prompt and text are written in each by itself."""

    def cost(texts: Sequence[bytes], prompts: Sequence[bytes]) -> np.ndarray:
        if not any(prompts):
            return view_bpb(model, vocab, representation, view, texts, window, stride).bits
        first = vocab.first_id(representation)
        known = [view.encode(prompt).symbols.astype(np.int64) + first for prompt in prompts]
        scored = [view.encode(text).symbols.astype(np.int64) + first for text in texts]
        shown = Shown(representation, [np.concatenate(both) for both in zip(known, scored, strict=True)])
        before = np.array([len(one) for one in known], np.int64)
        windows = Windows(np.arange(len(texts)), np.zeros_like(before), shown.counts, before)
        bits = shown.by_document(symbol_bits(model, vocab, shown, windows))
        return np.array([own[skip:].sum() for own, skip in zip(bits, before.tolist(), strict=True)])

    return cost


def mistyped(text: bytes, rate: float, seed: int) -> Mistyped:
    """A text with typing errors in its ASCII letters; the same for the same seed."""
    if not 0 <= rate <= 1:
        raise InputError(f"rate is {rate}: give a share from 0 to 1")
    rng, found, errors, at = random.Random(seed), bytearray(), 0, 0
    while at < len(text):
        byte, at = text[at : at + 1], at + 1
        if not byte.isalpha() or rng.random() >= rate:
            found += byte
            continue
        errors += 1
        kind, following = rng.choice(("out", "twice", "swapped", "other")), text[at : at + 1]
        if kind == "twice":
            found += byte * 2
        elif kind == "swapped" and following.isalpha() and following != byte:
            found += following + byte
            at += 1
        elif kind != "out":
            letters = b"abcdefghijklmnopqrstuvwxyz".replace(byte.lower(), b"")
            other = bytes([rng.choice(letters)])
            found += other.upper() if byte.isupper() else other
    return Mistyped(bytes(found), errors)


def typing_errors(cost: Cost, texts: Sequence[bytes], rate: float = TYPO_RATE, seed: int = 0) -> TypingErrors:
    """What typing errors cost."""
    wrong = [mistyped(text, rate, seed + number) for number, text in enumerate(texts)]
    nothing, errors = [b""] * len(texts), sum(one.errors for one in wrong)
    clean, bits = (cost(side, nothing) for side in (texts, [one.text for one in wrong]))
    sizes = sum(map(len, texts)), sum(len(one.text) for one in wrong)
    return TypingErrors(
        float(clean.sum() / max(1, sizes[0])),
        float(bits.sum() / max(1, sizes[1])),
        errors,
        float((bits.sum() - clean.sum()) / max(1, errors)),
    )


def cuts(view: View, texts: Sequence[bytes], window: int, seed: int = 0, each: int = 4) -> list[Cut]:
    """Prompts that end inside tokens of texts: up to `each` of a text, none of a text that is too short."""
    ahead, least_prompt = min(AHEAD, window // 4), min(LEAST_PROMPT, window // 4)
    found = []
    for number, text in enumerate(texts):
        rng = random.Random(seed + number)
        spans = view.encode(text).span_bytes.astype(np.int64)
        ends = np.cumsum(spans)
        begins = ends - spans
        inside = (spans >= 2) & (begins >= least_prompt) & (ends + ahead <= len(text))
        for token in sorted(rng.sample(np.flatnonzero(inside).tolist(), min(each, int(inside.sum())))):
            begin = int(begins[token])
            at = rng.randint(begin + 1, int(ends[token]) - 1)
            end = int(ends[np.searchsorted(ends, at + ahead)])
            first = max(0, end - window)
            if begin - first >= least_prompt:
                found.append(Cut(text[first:at], text[at:end], text[first:begin], text[begin:end]))
    return found


def cut_prompts(cost: Cost, found: Sequence[Cut]) -> CutPrompts:
    """What follows cut prompts costs."""
    if not found:
        return CutPrompts(float("nan"), float("nan"), 0)
    after_cut = cost([one.text for one in found], [one.prompt for one in found])
    after_whole = cost([one.whole_text for one in found], [one.whole_prompt for one in found])
    sizes = sum(len(one.text) for one in found), sum(len(one.whole_text) for one in found)
    return CutPrompts(float(after_cut.sum() / sizes[0]), float(after_whole.sum() / sizes[1]), len(found))
