"""llama.cpp's library, writing several texts at once: the other side of `generate`'s `vs_llama_cpp`.

It is the library that `make llama` fetches, told as the tests of the export tell it.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests.interop.llama_cpp import FOLDER, Parameters, context_of, library, loaded_model

__all__ = ["FOLDER", "Writer", "as_bfloat16"]

_BFLOAT16 = 32  # LLAMA_FTYPE_MOSTLY_BF16
_quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)


class _Batch(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32)] + [
        (name, ctypes.c_void_p) for name in ("tokens", "embeddings", "places", "counts", "sequences", "wanted")
    ]


def _library() -> ctypes.CDLL:
    lib = library()
    lib.llama_log_set(_quiet, None)
    lib.llama_get_logits.restype = ctypes.c_void_p
    lib.llama_model_quantize_default_params.restype = Parameters
    return lib


def as_bfloat16(source: Path, target: Path) -> None:
    """Let llama.cpp write a float32 GGUF anew with its matrices in bfloat16."""
    lib = _library()
    parameters = lib.llama_model_quantize_default_params()
    parameters.words[1] = _BFLOAT16
    assert lib.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(parameters)) == 0


class Writer:
    """Greedy decoding of some sequences together, one pass a byte."""

    def __init__(self, path: Path, sequences: int, positions: int, threads: int, exact: bool) -> None:
        """positions: of each sequence. exact: see `context_of`."""
        self._lib = _library()
        model = loaded_model(self._lib, path)
        self._context = context_of(self._lib, model, sequences * positions, sequences, threads, exact)
        self._memory = ctypes.c_void_p(self._lib.llama_get_memory(self._context))

    def write(self, prompts: Sequence[Sequence[int]], most: int) -> np.ndarray:
        """The best of all 320 ids after each prompt, `most` times: int64 [prompts, most]."""
        self._lib.llama_memory_clear(self._memory, ctypes.c_bool(True))
        lengths = np.array([len(prompt) for prompt in prompts])
        places = np.concatenate([np.arange(length) for length in lengths])
        sequences = np.repeat(np.arange(len(prompts)), lengths)
        ids = np.concatenate([np.asarray(prompt) for prompt in prompts])
        best = self._best(ids, places, sequences, places == lengths[sequences] - 1)
        written, all_sequences, wanted = [best], np.arange(len(prompts)), np.ones(len(prompts), bool)
        for step in range(most - 1):
            written.append(self._best(written[-1], lengths + step, all_sequences, wanted))
        return np.stack(written, 1)

    def _best(self, ids: np.ndarray, places: np.ndarray, sequences: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Read ids at places of sequences; the best id after each that is wanted."""
        arrays = [one.astype(np.int32) for one in (ids, places, np.ones(len(ids)), sequences)]
        tokens, places_, counts, sequences_ = arrays
        pointers = (sequences_.ctypes.data + 4 * np.arange(len(ids))).astype(np.uint64)
        flags = wanted.astype(np.int8)
        told = (tokens, places_, counts, pointers, flags)
        at = [one.ctypes.data for one in told]
        batch = _Batch(len(ids), at[0], None, *at[1:])
        assert self._lib.llama_decode(self._context, batch) == 0
        logits = ctypes.cast(self._lib.llama_get_logits(self._context), ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(logits, (int(wanted.sum()), 320)).argmax(1)
