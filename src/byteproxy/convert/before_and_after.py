"""What a model can do before it learns bytes, and what it writes before and afterwards.

Before: bits per byte of held-out text through its own tokenizer, which is the ceiling of the whole conversion, and raw,
from the rows that its bytes begin with; and as tokens what follows some prompts. It is measured on the very model that
training begins with, on the text and in the windows of every evaluation while it trains. Whether its tokenizer is its
own is seen before any of that, in some text of the sources.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.convert.conversion import Samples
from byteproxy.convert.cut_prompts import SHOWN, drawn_cuts
from byteproxy.corpus.records import Rules
from byteproxy.corpus.source import sources as read_sources
from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.generate.choice import Sampling
from byteproxy.generate.compressed import ViewWriter
from byteproxy.generate.score import score
from byteproxy.generate.utf8 import characters
from byteproxy.model.network import Transformer
from byteproxy.progress import Stage
from byteproxy.runs.load import load
from byteproxy.runs.source_model import SourceModel
from byteproxy.store.store import Store
from byteproxy.train.compiler import TORCH_DTYPES
from byteproxy.train.train_config import TrainConfig
from byteproxy.views.base import View
from byteproxy.vocab import Vocab

_TOKENS = 1
"""The representation that the model's tokenizer is: its run's first view."""
_GUESSING = 1.1
"""Times what guessing at random would cost, that not even an untrained model of its own tokens needs."""
_BYTES_PER_TOKEN = 2
"""Fewer than tokens have on average, so that enough of them are written."""
_TRIED_SOURCES, _TRIED_BYTES = 4, 800


def ensure_its_own(model: Transformer, view: View, source: SourceModel, named: Sequence[str], stage: Stage) -> None:
    """InputError where a model's tokenizer is another's: where some text of the sources costs more than guessing.

    Costs a forward pass over some text of a few sources, and their first records read.
    """
    texts = _beginnings(named)
    symbols = sum(len(view.encode(text).symbols) for text in texts)
    if not symbols:
        return  # that there is no text is for the preparation to say
    vocab = Vocab((view.alphabet_size,))
    with stage("try its tokenizer", "symbols") as progress:
        found = view_bpb(model, vocab, _TOKENS, view, texts, _TRIED_BYTES, _TRIED_BYTES, progress)
    guessing, needed = math.log2(view.alphabet_size), found.bits.sum() / symbols
    if not needed <= _GUESSING * guessing:
        raise InputError(
            f"the model in {source.path} needs {needed:.1f} bits for a token of its tokenizer, where guessing takes "
            f"{guessing:.1f}: the tokenizer is another model's, or the weights are damaged; put its own one there"
        )


def _beginnings(named: Sequence[str]) -> list[bytes]:
    """How the first document of each source begins, of a few sources."""
    found = []
    for source in read_sources(named)[-_TRIED_SOURCES:]:
        records = (record for unit in source.units() for record in unit.read(Rules()))
        document = next((record.document for record in records if record.document is not None), None)
        found += [] if document is None else [document.text[:_TRIED_BYTES]]
    return found


def measured_before(
    config: TrainConfig, store: Store, model: Transformer, samples: Samples, stage: Stage
) -> dict[str, Any]:
    """Figures of the model that training begins with, and what it writes as tokens.

    config: the run, fitted to its start, with its dtype said. model: as `runs.start.started_model` gives it.
    """
    view = store.view(config.views[0])
    vocab = Vocab((view.alphabet_size,))
    model.dtype = TORCH_DTYPES[config.dtype]
    asked, window = config.validation, config.shape.context_bytes
    texts = held_out_texts(store, "validation", asked.bytes, asked.document_bytes)
    stride = asked.stride or max(1, window // 2)
    with stage("score its tokens", "symbols") as progress:
        tokens = view_bpb(model, vocab, _TOKENS, view, texts, window, stride, progress)
    symbols = sum(len(view.encode(text).symbols) for text in texts)
    with stage("score its raw bytes", "B") as progress:
        raw = score(model, texts, window, stride, progress=progress)
    return {
        "bytes": int(raw.bytes.sum()),
        "documents": len(texts),
        "window": window,
        "stride": stride,
        "bytes_per_token": int(raw.bytes.sum()) / symbols,
        "token_bpb": tokens.bpb,
        "raw_bpb": raw.bpb,
        **_written_as_tokens(model, view, window, samples, _cuts(samples, texts, view, config.seed), stage),
    }


def _cuts(samples: Samples, texts: Sequence[bytes], view: View, seed: int) -> list[dict[str, Any]]:
    """The cuts that are given, and those that the seed draws from some texts."""
    drawn = drawn_cuts(texts, view, samples.drawn_cuts, seed)
    return [
        *({**asdict(cut), "drawn": False} for cut in samples.cuts),
        *({**asdict(cut), "drawn": True} for cut in drawn),
    ]


def _written_as_tokens(
    model: Transformer, view: View, context: int, samples: Samples, cuts: Sequence[Mapping[str, Any]], stage: Stage
) -> dict[str, Any]:
    """What follows each prompt and each cut, written token by token on the CPU."""
    writer = ViewWriter(model.to("cpu"), [view], context)
    asked = [
        *((prompt, samples.max_bytes, samples.temperature) for prompt in samples.prompts),
        *((cut["prompt"], SHOWN, 0.0) for cut in cuts),
    ]
    found = []
    with stage("write as tokens", "prompts") as progress:
        for number, (prompt, most, temperature) in enumerate(asked):
            symbols = most // _BYTES_PER_TOKEN + 1
            segment = writer.write(
                _encoded(prompt, context), view.name, "continue", symbols, Sampling(temperature), number
            )
            found.append(_shown(segment.text or b"", most))
            progress(number + 1, len(asked))
    split = len(samples.prompts)
    return {
        "samples": found[:split],
        "cuts": [{**cut, "before": before} for cut, before in zip(cuts, found[split:], strict=True)],
    }


class Written(NamedTuple):
    """What follows the prompts, and what follows the cuts."""

    samples: list[str]
    cuts: list[str]


def written_as_bytes(folder: Path, samples: Samples, cuts: Sequence[Mapping[str, Any]], stage: Stage) -> Written:
    """What follows each prompt and each cut, written byte by byte by the model of bytes in a folder.

    cuts: with their `prompt`.
    """
    loaded = load(folder, device="cpu")
    kinds = (
        (samples.prompts, samples.max_bytes, samples.temperature),
        ([cut["prompt"] for cut in cuts], SHOWN, 0.0),
    )
    whole = sum(len(prompts) * most for prompts, most, _ in kinds)
    found: list[list[str]] = []
    done = 0
    with stage("write as bytes", "B") as progress:
        for prompts, most, temperature in kinds:
            written = [bytearray() for _ in prompts]
            encoded = [_encoded(prompt, loaded.context) for prompt in prompts]
            for number, piece, _ in loaded.writer.pieces(encoded, most, Sampling(temperature)):
                written[number] += piece
                done += len(piece)
                progress(done, whole)
            found.append([_shown(bytes(text), most) for text in written])
    return Written(*found)


def _encoded(prompt: str, context: int) -> bytes:
    """A prompt as bytes, of one that is longer than the context the end."""
    return prompt.encode()[-context:]


def _shown(text: bytes, most: int) -> str:
    """Text for people, cut at so many bytes."""
    return "".join(characters([text[:most]]))
