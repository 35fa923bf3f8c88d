"""A run as an export: its newest checkpoint, less all that compressed text took, as files that other tools load.

The corpus isn't needed: how many symbols the model has is read from the checkpoint. Costs the model's memory three
times over (the model, its tensors, the file to be written), with GGUF four times, and a pass over what is written.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from byteproxy.errors import InputError
from byteproxy.files import ensure_free
from byteproxy.gguf_file import gguf_package
from byteproxy.interop.card import NOBODY_SAID, Origin, card
from byteproxy.interop.export_folder import CARD, Content, write_folder
from byteproxy.interop.gguf import GGUF, ensure_known, write_gguf
from byteproxy.interop.llama import byte_heads_file, stock_files
from byteproxy.interop.source_chat import GENERATION
from byteproxy.interop.stock import CLASSES
from byteproxy.interop.tokenizer import tokenizer_files
from byteproxy.runs.lineage import LINEAGE
from byteproxy.runs.load import LoadedModel, RunState
from byteproxy.train.metrics import read as read_metrics
from byteproxy.train.run_config import METRICS
from byteproxy.vocab import EOS, PAD, RAW, SPECIALS, closing, opening


def export_run(loaded: LoadedModel, out: Path, gguf: bool = False, origin: Origin = NOBODY_SAID) -> dict[str, Any]:
    """Write a run as a folder that transformers and others load; gives its figures, which the model card has too.

    gguf: with a `model.gguf` for llama.cpp beside them. origin: what the card says of license, data and language.
    Raises InputError if it is no run, the model has what no stock one has, `out` exists or can't be written, or the
    package gguf is needed and not there.
    """
    ensure_free(out)
    if loaded.run is None:
        raise InputError(f"{loaded.path} holds no run but a stock model already: copy the folder")
    if gguf:
        gguf_package()
        ensure_known(loaded.model.config)
    _ensure_without_ngrams(loaded, loaded.run)
    heads = byte_heads_file(loaded.model)
    stock = stock_files(loaded.model, loaded.context)
    files: dict[str, Content] = {**stock, **heads, **tokenizer_files(loaded.context, loaded.chat)}
    figures = _figures(loaded, loaded.run)
    name = out.resolve().name.encode("utf-8", "replace").decode()
    lineage = replace(loaded.lineage.without_places(), license=origin.license)
    files |= {GENERATION: _generation(loaded.chat.ends if loaded.chat else ()), LINEAGE: lineage.written()}
    if gguf:
        files[GGUF] = partial(write_gguf, stock=stock, name=name, chat=loaded.chat)
    files[CARD] = card(name, figures, loaded.run.config, origin, lineage.sources).encode("utf-8", "replace")
    return {**figures, "out": str(out), "files": dict(sorted(write_folder(out, files).items()))}


def _ensure_without_ngrams(loaded: LoadedModel, run: RunState) -> None:
    """InputError for a run whose n-grams will go away, and haven't yet."""
    fading, steps = run.config.scaffolding.ngrams, run.config.steps
    if fading.until is not None and loaded.model.config.ngrams:
        raise InputError(
            f"after {run.step:,} of {steps:,} steps the model still reads model.ngrams, scaled by "
            f"{fading.at(run.step / steps):.2g}: train on to step {math.ceil(fading.until * steps):,}, where they are "
            "gone, and export it then"
        )


def _figures(loaded: LoadedModel, run: RunState) -> dict[str, Any]:
    """What there is to say of an export, all of it counted or measured by the run itself."""
    model, counters, step = loaded.model, run.saved["counters"], run.step
    parameters = sum(parameter.numel() for parameter in model.parameters())
    heads = sum(one.weight.numel() for one in (model.byte_heads, model.head_ngram_bias) if one is not None)
    stock = model.config.raw_parameters()
    measured = [line for line in read_metrics(loaded.path / METRICS) if line["step"] <= step and "raw_bpb" in line]
    return {
        "run": loaded.path.resolve().name,
        "architecture": CLASSES[str(run.config.model.stock_architecture)],
        "context_bytes": loaded.context,
        "parameters": stock,
        "byte_head_parameters": heads,
        "parameters_of_the_run": parameters,
        "parameters_that_disappeared": parameters - stock - heads,
        "chat_specials": None if loaded.chat is None else dict(loaded.chat.sentinels),
        "step": step,
        "steps": run.config.steps,
        "flops": counters["flops"],
        "text_bytes": dict(zip(["raw", *run.config.views], counters["text_bytes"], strict=False)),
        "raw_bpb": measured[-1]["raw_bpb"] if measured else None,
        "raw_bpb_step": measured[-1]["step"] if measured else None,
    }


def _generation(chat_ends: Sequence[int]) -> bytes:
    """How to write: text ends at `</raw>`, eos or where a chat's answer does, and no other special is ever written."""
    ends = [EOS, closing(RAW), *chat_ends]
    others = [number for number in range(SPECIALS) if number not in ends]
    content = {"bos_token_id": opening(RAW), "eos_token_id": ends, "pad_token_id": PAD, "suppress_tokens": others}
    return (json.dumps(content, indent=2) + "\n").encode()
