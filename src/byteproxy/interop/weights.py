"""Weights of a stock model in files: looked over before any is read, then copied into a model tensor by tensor.

The names, shapes and types stand in the files' headers, so a model that doesn't fit its config, or this machine's
memory, is refused before memory is taken for it. Copying costs the model's memory in float32 and that of the largest
tensor; the files are mapped.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open

from byteproxy.errors import InputError
from byteproxy.files import inside, open_inside
from byteproxy.interop.export_folder import CONFIG, SHARDS, WEIGHTS
from byteproxy.interop.stock import Stock
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.parsing import read_json
from byteproxy.train.memory import amount, machine_bytes

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_MAX_PER_BYTE = 8  # a parameter takes far more than an eighth of a byte; which tensors lack is said later, by name
_FLOATS = ("F64", "F32", "F16", "BF16")
_LEFT_BEHIND = ("embed_tokens.place_scales", "embed_tokens.hashed", "byte_heads.", "head_ngram_bias.", "symbol_heads.")


class Stored(NamedTuple):
    """A tensor in a file. read: gives it in any type of floating point."""

    shape: tuple[int, ...]
    read: Callable[[], torch.Tensor]


def stock_names(model: Transformer) -> dict[str, torch.Tensor]:
    """A model's tensors that stock models have too, by the names that these give them; the memory is the model's."""
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(_LEFT_BEHIND)}
    return {name if name == HEAD else f"model.{name}": tensor for name, tensor in kept.items()}


def ensure_modest(stock: Stock, stored_bytes: int, said_by: str = CONFIG) -> None:
    """InputError where a model can't be what its files hold, or is larger than this machine's memory.

    said_by: what describes the model, for the error.
    """
    parameters = stock.parameters - (stock.rows * stock.shape.width if stock.tied else 0)
    if parameters > _MAX_PER_BYTE * stored_bytes + (1 << 20):
        raise InputError(
            f"its {said_by} has {parameters:,} parameters, and its weights have {stored_bytes:,} bytes: they differ"
        )
    needed, there = 4 * stock.parameters, machine_bytes()
    if needed > there:
        raise InputError(
            f"its {stock.parameters:,} parameters take {amount(needed)} in float32, and this machine has "
            f"{amount(there)}: take a smaller model, or a larger machine"
        )


@torch.no_grad()
def model_with(stock: Stock, stored: Mapping[str, Stored], heads: ModelConfig, said_by: str = CONFIG) -> Transformer:
    """A model in float32 with the weights of files, under the stock names; of a tied table it has two.

    heads: the shape with byte heads, whose tensors are left as they come: they are for the caller to fill.
    Raises InputError naming tensors that are missing, too many or of another shape, before any is read.
    """
    with torch.device("meta"):
        model = Transformer(heads, stock.rows, torch.float32)
    shapes = {name: tuple(tensor.shape) for name, tensor in stock_names(model).items()}
    stored = dict(stored)
    if stock.tied and EMBEDDING in stored:
        if HEAD not in stored:
            stored[HEAD] = stored[EMBEDDING]
        elif not torch.equal(stored[HEAD].read(), stored[EMBEDDING].read()):
            raise InputError(f"tie_word_embeddings is true, but {HEAD} is not {EMBEDDING}: say false, or leave one out")
    wrong = [f"{name} is missing" for name in shapes.keys() - stored.keys()]
    for name, tensor in stored.items():
        if name not in shapes:
            wrong.append(f"{name} has no place in the model")
        elif tensor.shape != shapes[name]:
            wrong.append(f"{name} is {list(tensor.shape)}, not {list(shapes[name])}")
    refuse(wrong, said_by)
    model.to_empty(device="cpu")
    for name, into in stock_names(model).items():
        into.copy_(stored[name].read())
    return model


def refuse(wrong: list[str], said_by: str = CONFIG) -> None:
    """InputError with the first of what is wrong with weights, if anything is."""
    if wrong:
        more = f"; and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise InputError(f"its weights are not those of its {said_by}: {'; '.join(sorted(wrong)[:5])}{more}")


def weight_files(folder: Path) -> list[str]:
    """Where the weights are: one file, or the shards that an index lists."""
    if (folder / WEIGHTS).exists() or not (folder / SHARDS).exists():
        return [WEIGHTS]
    names = sorted(set(read_json(folder / SHARDS)["weight_map"].values()))
    return [inside(folder, name, folder / SHARDS).name for name in names]


def stored_in(folder: Path, names: list[str]) -> dict[str, Stored]:
    """The tensors of safetensors files of a folder, of which nothing but the headers is read yet.

    Raises InputError or OSError where a file is no plain one in the folder, InputError naming tensors that are not of
    floating point.
    """
    stored: dict[str, Stored] = {}
    wrong = []
    for name in names:
        path = inside(folder, name, folder / SHARDS)
        open_inside(path).close()
        file = safe_open(path, "pt")
        for key in file.keys():  # noqa: SIM118 -- it is no mapping
            if key.endswith(".rotary_emb.inv_freq"):
                continue  # old files keep the frequencies of the rotation, which follow from rope_theta
            header = file.get_slice(key)
            if header.get_dtype() not in _FLOATS:
                wrong.append(f"{key} is {header.get_dtype()}, not floating point of 16 bits or more")
            stored[key] = Stored(tuple(header.get_shape()), lambda file=file, key=key: file.get_tensor(key))  # type: ignore[misc]
    refuse(wrong)
    return stored
