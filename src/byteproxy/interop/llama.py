"""A folder with a stock Llama of raw bytes: `config.json` and `model.safetensors`, and nothing of any compressor.

With `qk_norm` it is a stock Qwen3, with biases of queries, keys and values a Qwen2. Parameter names and the meaning of
each are those of Hugging Face's classes, so both directions are a rename.

What compressed text took is left behind: the rows of its symbols in both tables (typed softmax never gave them to raw
positions, so logits on raw bytes do not change), the rows hashed from a symbol's bytes, the scales of a byte's place in
its symbol, and every head beyond the first, bytes and symbols alike. Raw positions are read from plain rows of the
table and predict the next byte with the first head, so they use none of these. The further byte heads, which decoding
several bytes at once drafts with, may be kept in a file of their own, which stock classes don't look at.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.interop.export_folder import CONFIG, WEIGHTS, ensure_unaltered
from byteproxy.interop.stock import MAX_CONFIG, NAMES, config_of, stock_config
from byteproxy.interop.weights import (
    EMBEDDING,
    HEAD,
    ensure_modest,
    model_with,
    stock_names,
    stored_in,
    weight_files,
)
from byteproxy.model.network import Transformer
from byteproxy.parsing import read_json
from byteproxy.vocab import EOS, FIRST_SYMBOL, PAD, RAW, opening

BYTE_HEADS = "byte_heads.safetensors"
_HEADS = "byte_heads"
_NGRAMS = "byte_head_ngrams"


def export_llama(model: Transformer, context: int, folder: Path, rows: int | None = FIRST_SYMBOL) -> None:
    """Write `stock_files` into a folder, over what is there of these names.

    Raises InputError as that does, and if the folder cannot be written.
    """
    files = stock_files(model, context, rows)
    for name in (WEIGHTS, CONFIG):
        write_aside(folder / name, files[name])


def stock_files(model: Transformer, context: int, rows: int | None = FIRST_SYMBOL) -> dict[str, bytes]:
    """The contents of a model's config and weights, by name of file: its raw-byte part, in float32.

    context: bytes of text that the model was trained to see at once; one position more is needed for the sentinel.
    rows: how many rows of both tables are kept, those of specials and bytes; None: all, as for a model that
        `load_llama` read and whose symbols are another vocabulary's.
    Raises InputError if the model has an option that no stock architecture has.
    """
    if model.hints is not None:
        raise InputError(
            "the model reads the row of the longest token that ends at each byte, which no stock architecture does, so "
            "it can't be exported: train one whose scaffolding.hints.scale falls to 0"
        )
    if broken := model.config.breaks_export:
        names = ", ".join(f"model.{name}" for name in broken)
        raise InputError(
            f"the model uses {names}, which no stock architecture has, so it can't be exported: train one without, or "
            "keep its checkpoint, which byteproxy itself reads"
        )
    tensors = {}
    for name, tensor in stock_names(model).items():
        kept = tensor[:rows] if name in (EMBEDDING, HEAD) else tensor
        tensors[name] = kept.detach().cpu().float().contiguous().clone()
    if len(tensors[EMBEDDING]) != len(tensors[HEAD]):
        raise InputError(
            f"the model reads {len(tensors[EMBEDDING])} symbols and predicts {len(tensors[HEAD])}, but a stock model "
            f"has one number for both: keep the {FIRST_SYMBOL} rows of specials and bytes"
        )
    count = len(tensors[HEAD])
    # With other rows than specials and bytes, what an id means is not ours to say.
    meanings = {"bos_token_id": opening(RAW), "eos_token_id": EOS, "pad_token_id": PAD}
    ids = {name: number if count == FIRST_SYMBOL else None for name, number in meanings.items()}
    content = json.dumps(config_of(model.config, count, context + 1, ids), indent=2) + "\n"
    return {CONFIG: content.encode(), WEIGHTS: save(tensors, metadata={"format": "pt"})}


def byte_heads_file(model: Transformer) -> dict[str, bytes]:
    """The content of the file of the byte heads beyond the first, by its name; none where there is one head only."""
    if model.byte_heads is None:
        return {}
    tensors: dict[str, torch.Tensor] = {_HEADS: model.byte_heads.weight}
    if model.head_ngram_bias is not None:
        for length, table_RD in zip(model.config.byte_head_ngrams, model.head_ngram_bias.weight, strict=True):
            tensors[f"{_NGRAMS}.{length}"] = table_RD
    return {BYTE_HEADS: save({name: tensor.detach().cpu().float().contiguous() for name, tensor in tensors.items()})}


def load_llama(folder: Path) -> tuple[Transformer, int]:
    """A model in float32 and its context in bytes, from a folder that we wrote or `save_pretrained` did.

    Weights of 16 bits become float32, tied tables two, sharded files one model. Byte heads beyond the first come back
    where the folder has them. Token ids and tokenizers are not read: to write bytes with a model, its first ids have to
    be those of `vocab`. No file is one that could run code.
    Raises InputError if a file is missing, damaged, not what an export wrote, describes something that is not a
    Llama, Mistral, Qwen2 or Qwen3 of our kind, or a model that is larger than this machine's memory.
    """
    ensure_unaltered(folder)
    try:
        stock = stock_config(read_json(folder / CONFIG, MAX_CONFIG))
        names = weight_files(folder)
        ensure_modest(stock, sum((folder / name).stat().st_size for name in names))
        heads = _byte_heads(folder, stock.shape.width)
        model = model_with(stock, stored_in(folder, names), replace(stock.shape, **heads.shape))
        if model.byte_heads is not None:
            model.byte_heads.weight.data.copy_(heads.heads_JVD)
        if model.head_ngram_bias is not None:
            model.head_ngram_bias.weight.data.copy_(torch.stack(heads.tables))
        return model.eval(), stock.positions - 1
    except InputError as error:
        raise InputError(f"{folder} holds no model that can be read: {error}") from error
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"{folder} holds no model that can be read ({error}): give a folder with {CONFIG} and {WEIGHTS}, written "
            f"by byteproxy or by transformers for a {NAMES}"
        ) from error


class _ByteHeads(NamedTuple):
    """Heads beyond the first [heads, specials and bytes, D], and a table of n-grams [R, D] for each length."""

    heads_JVD: torch.Tensor
    lengths: tuple[int, ...]
    tables: list[torch.Tensor]

    @property
    def shape(self) -> dict[str, Any]:
        """The options of a model that has them."""
        rows = {"ngram_rows": len(self.tables[0])} if self.tables else {}
        return {"byte_heads": 1 + len(self.heads_JVD), "byte_head_ngrams": self.lengths, **rows}


def _byte_heads(folder: Path, width: int) -> _ByteHeads:
    """The byte heads beyond the first, float32; without the file there are none."""
    if not (folder / BYTE_HEADS).exists():
        return _ByteHeads(torch.zeros(0, FIRST_SYMBOL, width), (), [])
    tensors = {name: stored.read() for name, stored in stored_in(folder, [BYTE_HEADS]).items()}
    heads, lengths = tensors.get(_HEADS), [name.removeprefix(_NGRAMS + ".") for name in tensors if name != _HEADS]
    numbers = sorted(int(length) for length in lengths if length.isdecimal())
    tables = [tensors[f"{_NGRAMS}.{length}"] for length in numbers if f"{_NGRAMS}.{length}" in tensors]
    fits = heads is not None and heads.dim() == 3 and heads.shape[1:] == (FIRST_SYMBOL, width)
    fits = fits and len(tables) == len(lengths) and all(table.shape == (len(tables[0]), width) for table in tables)
    if heads is None or not fits:
        said = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
        raise InputError(
            f"its {BYTE_HEADS} has {said}, not {_HEADS} [heads, {FIRST_SYMBOL}, {width}] and as many tables "
            f"{_NGRAMS}.LENGTH [rows, {width}] as it reads n-grams"
        )
    return _ByteHeads(heads.float(), tuple(numbers), [table.float() for table in tables])
