"""Reading a `torch.distributed.checkpoint` without running what it says.

torch reads the tensors of a checkpoint as plain data, but its `.metadata` is a pickle, and a pickle may name any
function to be called. A list of tensors takes a dozen classes of torch's own and no more, so only these are let
through (the way that Python's documentation of `pickle` shows).
"""

import pickle
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta

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
        """What tensors there are and where; pickle.UnpicklingError for a list that asks for anything else."""
        with (Path(self.path) / ".metadata").open("rb") as file:
            metadata = _Unpickler(file).load()
        if not isinstance(metadata, Metadata):
            raise pickle.UnpicklingError("its .metadata is no list of tensors")
        if metadata.storage_meta is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _KNOWN.get(module, ()):
            raise pickle.UnpicklingError(f"its .metadata asks for {module}.{name}, which no list of tensors needs")
        return super().find_class(module, name)
