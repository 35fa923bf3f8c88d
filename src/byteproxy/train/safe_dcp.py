"""Reading a `torch.distributed.checkpoint` without running what it says.

torch reads the tensors of a checkpoint as plain data, but its `.metadata` is a pickle, and a pickle may name any
function to be called. A list of tensors takes a dozen classes of torch's own and no more, so only these are let
through (the way that Python's documentation of `pickle` shows).

A pickle is a program even so: few bytes can build tuples in tuples, each twice in the next, whose hash takes for ever.
So it is gone through first, without building anything, and refused where what it says would be larger than the file
(`_ensure_modest`). Then names of files, offsets and sizes are compared with what there is: nothing outside of the
folder is opened, and no tensor is asked for that its files can't hold.
"""

import io
import pickle
import pickletools
from math import prod
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata

from byteproxy.files import inside, open_inside, read_bytes

METADATA = ".metadata"
_MAX_BYTES = 1 << 25  # some 100,000 tensors
_MAX_SHARED = 64
_DEEPEST = 16

_KNOWN = {
    "torch": {"Size", *(name for name, value in vars(torch).items() if isinstance(value, torch.dtype))},
    "torch.serialization": {"_get_layout"},
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "pathlib": {"Path", "PosixPath", "WindowsPath"},
    "pathlib._local": {"Path", "PosixPath", "WindowsPath"},  # as Python 3.13 calls it
}


class Reader(dcp.FileSystemReader):
    """torch's reader, with a list of tensors that can be no more than that."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """What tensors there are and where.

        pickle.UnpicklingError for a list that asks for anything else, InputError for one that names other files.
        """
        path = Path(self.path) / METADATA
        content = read_bytes(path, _MAX_BYTES)
        _ensure_modest(content)
        metadata = _Unpickler(io.BytesIO(content)).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError("its .metadata is no list of tensors")
        _ensure_there(path, metadata)
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _KNOWN.get(module, ()):
            raise pickle.UnpicklingError(f"its .metadata asks for {module}.{name}, which no list of tensors needs")
        return super().find_class(module, name)


def _ensure_there(path: Path, metadata: Metadata) -> None:
    """Compare files, offsets and sizes with what lies beside the list."""
    sizes: dict[str, int] = {}
    for place in (metadata.storage_data or {}).values():
        name = place.relative_path
        if name not in sizes:
            with open_inside(inside(path.parent, name, path)) as file:
                sizes[name] = file.seek(0, io.SEEK_END)
        if place.offset < 0 or not 0 <= place.length <= sizes[name] - place.offset:
            raise pickle.UnpicklingError(f"its .metadata says that {name} is longer than it is")
    stored = 0
    for key, kind in metadata.state_dict_metadata.items():
        if isinstance(kind, TensorStorageMetadata):
            if not all(isinstance(size, int) and size >= 0 for size in kind.size):
                raise pickle.UnpicklingError(f"its .metadata says that {key} is of shape {tuple(kind.size)}")
            stored += prod(kind.size) * kind.properties.dtype.itemsize
    if stored > sum(sizes.values()):
        raise pickle.UnpicklingError("its .metadata says that its tensors are larger than its files")


class _Sketch:
    """What an object of a pickle would be: how much, written out, and how deep."""

    __slots__ = ("depth", "held", "size")

    def __init__(self) -> None:
        self.size, self.depth, self.held = 1, 0, False

    def take(self, others: list["_Sketch"]) -> None:
        """Hold some others; only what nothing holds yet may grow, so that sizes are final where they are counted."""
        if self.held or self in others:
            raise pickle.UnpicklingError("its .metadata holds itself")
        for other in others:
            other.held = True
            self.size += other.size
            self.depth = max(self.depth, 1 + other.depth)


_ATOMS = {
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "GLOBAL"),
    *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"),
}
_TAKES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "NEWOBJ": 2, "REDUCE": 2, "STACK_GLOBAL": 2}
_INTO = {"APPEND": 1, "BUILD": 1, "SETITEM": 2}


def _ensure_modest(content: bytes) -> None:
    """UnpicklingError where a pickle would build more than its bytes spell out, or more deeply than a list needs to.

    Each operation is done on sizes instead of objects, by those that pickle writes for plain data and no others.
    """
    mark = _Sketch()
    stack: list[_Sketch] = []
    memo: dict[int, _Sketch] = {}

    def taken(count: int) -> list[_Sketch]:
        found = stack[len(stack) - count :]
        if len(found) < count or mark in found:
            raise pickle.UnpicklingError("its .metadata is damaged")
        del stack[len(stack) - count :]
        return found

    def since_mark() -> list[_Sketch]:
        place = next((place for place in reversed(range(len(stack))) if stack[place] is mark), None)
        if place is None:
            raise pickle.UnpicklingError("its .metadata is damaged")
        found = stack[place + 1 :]
        del stack[place:]
        return found

    try:
        for operation, argument, _ in pickletools.genops(content):
            name = operation.name
            if name in _ATOMS:
                stack.append(_Sketch())
            elif name == "MARK":
                stack.append(mark)
            elif name in _TAKES or name == "TUPLE":
                made = _Sketch()
                made.take(since_mark() if name == "TUPLE" else taken(_TAKES[name]))
                stack.append(made)
            elif name in _INTO or name in ("APPENDS", "SETITEMS"):
                own = taken(_INTO[name]) if name in _INTO else since_mark()
                (into,) = taken(1)
                into.take(own)
                stack.append(into)
            elif name in ("MEMOIZE", "BINPUT", "LONG_BINPUT"):
                place = len(memo) if name == "MEMOIZE" else int(str(argument))
                if place > len(memo):
                    raise pickle.UnpicklingError("its .metadata is damaged")
                (memo[place],) = stack[-1:]
            elif name in ("BINGET", "LONG_BINGET"):
                found = memo[int(str(argument))]
                if found.size > _MAX_SHARED:
                    raise pickle.UnpicklingError("its .metadata holds large things twice")
                stack.append(found)
            elif name not in ("PROTO", "FRAME", "STOP"):
                raise pickle.UnpicklingError(f"its .metadata asks for {name}, which no list of tensors needs")
            if stack and stack[-1].depth > _DEEPEST:
                raise pickle.UnpicklingError(f"its .metadata is nested deeper than {_DEEPEST} levels")
    except (ValueError, KeyError, IndexError) as error:  # cut off, or no pickle
        raise pickle.UnpicklingError(f"its .metadata is damaged ({error})") from error
