"""How fast the byte model writes, plain and with its byte heads, against its own layers writing tokens.

A byte model takes a pass for each byte where a model of tokens takes one for several, so it writes more slowly, unless
further byte heads guess what comes and several bytes come out of a pass. All three sides run on the CPU, by the same
engine, in float32, from the same prompts of held-out text and at the temperature that `byteproxy generate` has. Tokens
come from the run's own model, which still has its tables of tokens: a model's speed is that of its shape, whatever it
has learned, so it is the speed of the model that was converted. They count by the bytes that they stand for.

The sides take turns, prompt by prompt, so that other work on the machine meets all of them; reading prompts isn't
counted. Costs `SECONDS` or two prompts, whichever is more, and the memory of both models in float32, twice.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from byteproxy.generate.choice import Sampling
from byteproxy.generate.compressed import ViewWriter
from byteproxy.generate.drafts import Drafts
from byteproxy.generate.writer import Writer
from byteproxy.progress import Stage
from byteproxy.runs.load import load
from byteproxy.views.bpe import BpeView

TEMPERATURE = 0.6
SECONDS = 10.0
PROMPTS, PROMPT_BYTES = 8, 64
BYTES, TOKENS = 48, 16
"""Written after each prompt."""


@dataclass
class Pace:
    """What one side wrote after its first byte or token, and in how many seconds; passes only where they are known."""

    bytes: int = 0
    units: int = 0
    seconds: float = 0.0

    def add(self, pieces: Iterator[int]) -> None:
        """Take the time of what is written, of which the first piece comes after the prompt. pieces: bytes of each."""
        next(pieces, None)
        begin = time.perf_counter()
        for count in pieces:
            self.bytes, self.units = self.bytes + count, self.units + 1
        self.seconds += time.perf_counter() - begin

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_unit(self) -> float:
        return self.bytes / self.units if self.units else 0.0


def measured_speed(run: Path, model: Path, view: BpeView, texts: Sequence[bytes], stage: Stage) -> dict[str, Any]:
    """Bytes a second of the three sides; `heads` is None where the model has none.

    run, model: folders of the conversion's run and of its export. view: the tokenizer. texts: held-out ones.
    """
    with stage("load both models", "models") as progress:
        trained = load(run, "float32", "cpu")
        tokens = ViewWriter(trained.model, [view], trained.context)
        progress(1, 2)
        loaded = load(model, device="cpu")
        writer = loaded.writer
        progress(2, 2)
    prompts = [text[: min(PROMPT_BYTES, loaded.context // 2)] for text in texts[:PROMPTS]]
    has_heads = loaded.model.byte_heads is not None
    sides = ["tokens", "plain", *(["heads"] if has_heads else [])]
    paces = {side: Pace() for side in sides}
    guessed = right = 0
    begin = time.perf_counter()
    with stage("measure how fast it writes", "prompts") as progress:
        for number, prompt in enumerate([prompts[0], *prompts]):
            for side in sides:
                pace = paces[side] if number else Pace()  # the first one may compile, and packs the weights
                sampling = Sampling(TEMPERATURE, seed=number)
                if side == "tokens":
                    pace.add(_tokens(tokens, view, prompt, sampling))
                else:
                    pace.add(_bytes(writer, prompt, sampling, "heads" if side == "heads" else "none"))
                if side == "heads" and number:
                    guessed += writer.counts.guessed["heads"]
                    right += writer.counts.right["heads"]
            progress(number, len(prompts))
            if number >= 2 and time.perf_counter() - begin > SECONDS:
                break
    return {
        "dtype": "float32",
        "threads": torch.get_num_threads(),
        "temperature": TEMPERATURE,
        "prompts": number,
        **{side: _figures(pace, paces["tokens"]) for side, pace in paces.items()},
        **({"guessed": guessed, "right": right} if has_heads else {"heads": None}),
    }


def _figures(pace: Pace, tokens: Pace) -> dict[str, Any]:
    """Of one side; `over_tokens` is its bytes a second over those of tokens."""
    over = pace.bytes_per_second / tokens.bytes_per_second if tokens.bytes_per_second else None
    return {
        "bytes": pace.bytes,
        "bytes_per_second": pace.bytes_per_second,
        "bytes_per_pass": pace.bytes_per_unit,
        "over_tokens": over,
    }


def _tokens(writer: ViewWriter, view: BpeView, prompt: bytes, sampling: Sampling) -> Iterator[int]:
    """Bytes of each token that is written."""
    for symbol in writer.stream(prompt, view.name, "continue", TOKENS, sampling):
        yield len(view.strings[symbol] or b"")


def _bytes(writer: Writer, prompt: bytes, sampling: Sampling, drafts: Drafts) -> Iterator[int]:
    """Bytes of each pass."""
    for piece in writer.stream(prompt, BYTES, sampling, drafts=drafts):
        yield len(piece)
