"""GGUF files as others write them: another's vocabulary, weights of few bits."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

KINDS = gguf.GGUFValueType


def kind_of(value: Any) -> tuple[Any, Any]:
    """What GGUF calls a value, and what is in it."""
    if isinstance(value, list):
        return KINDS.ARRAY, kind_of(value[0])[0] if value else KINDS.STRING
    known = ((bool, KINDS.BOOL), (int, KINDS.UINT32), (float, KINDS.FLOAT32), (str, KINDS.STRING))
    return next(kind for of, kind in known if isinstance(value, of)), None


def copied(source: Path, out: Path, quantization: str = "", drop: tuple[str, ...] = (), **fields: Any) -> Path:
    """A GGUF file with other fields (`__` for a dot) and matrices; drop: beginnings of names to leave out."""
    reader = gguf.GGUFReader(source)
    said = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    said |= {name.replace("__", "."): value for name, value in fields.items()}
    writer = gguf.GGUFWriter(out, said.pop("general.architecture"))
    for name, value in said.items():
        if value != [] and not name.startswith(drop or "-"):
            kind, inner = kind_of(value)
            writer.add_key_value(name, value, kind, inner)
    for tensor in reader.tensors:
        if tensor.name.startswith(drop or "-"):
            continue
        data = np.array(tensor.data)
        if quantization and data.ndim == 2:
            chosen = gguf.GGMLQuantizationType[quantization]
            writer.add_tensor(tensor.name, gguf.quants.quantize(data, chosen), raw_dtype=chosen)
        else:
            writer.add_tensor(tensor.name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out
