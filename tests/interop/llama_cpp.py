"""llama.cpp's own library through its C interface, as far as the tests need it: tokenize, logits, text of tokens.

Parameters go by value in structures whose fields differ between versions. All are handed to C in memory and as the last
argument, so a structure larger than the real one does as well. The context's few fields that are set are those of the
version that `make llama` fetches, llama.cpp 0.5.0; another one with other fields is noticed.
"""

import ctypes
import os
from pathlib import Path

import numpy as np

FOLDER = os.environ.get("LLAMA_CPP")


class Parameters(ctypes.Structure):
    _fields_ = [("words", ctypes.c_uint32 * 128), ("align", ctypes.c_uint64 * 0)]


class _Batch(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32), ("pointers", ctypes.c_void_p * 6)]


def library():
    """The library of the folder that LLAMA_CPP names (`make llama` runs the tests with one)."""
    folder = Path(FOLDER).resolve()
    base = ctypes.CDLL(str(next(folder.glob("libggml.*"))), mode=ctypes.RTLD_GLOBAL)
    base.ggml_backend_load_all_from_path(str(folder).encode())
    found = ctypes.CDLL(str(next(folder.glob("libllama.*"))))
    pointers = "model_load_from_file init_from_model model_get_vocab get_memory get_logits_ith"
    for name in pointers.split():
        getattr(found, f"llama_{name}").restype = ctypes.c_void_p
    found.llama_model_default_params.restype = found.llama_context_default_params.restype = Parameters
    found.llama_batch_get_one.restype = _Batch
    found.llama_vocab_is_eog.restype = ctypes.c_bool
    return found


def loaded_model(lib, path):
    """A GGUF file's model."""
    loaded = ctypes.c_void_p(lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params()))
    assert loaded, f"llama.cpp refuses {path}"
    return loaded


def context_of(lib, model, positions, sequences=1, threads=1, exact=True):
    """A context of so many positions, all sequences together.

    exact: no flash attention, and keys and values in float32; else llama.cpp's defaults, which keep them in float16.
    """
    parameters = lib.llama_context_default_params()
    words = parameters.words
    assert (list(words[:4]), list(words[7:9]), list(words[26:28])) == ([512, 2048, 512, 1], [4, 4], [1, 1])
    words[:4] = [positions, positions, positions, sequences]
    words[7:9] = [threads, threads]
    if exact:
        words[13] = 0
        words[26:28] = [0, 0]
    context = ctypes.c_void_p(lib.llama_init_from_model(model, parameters))
    assert context
    return context


class Model:
    def __init__(self, path, context):
        self.lib = library()
        loaded = loaded_model(self.lib, path)
        self.vocab = ctypes.c_void_p(self.lib.llama_model_get_vocab(loaded))
        self.context = context_of(self.lib, loaded, context)

    def tokenize(self, text, add_special=True, parse_special=False):
        found = (ctypes.c_int32 * (len(text) + 8))()
        add, parse = ctypes.c_bool(add_special), ctypes.c_bool(parse_special)
        count = self.lib.llama_tokenize(self.vocab, text, len(text), found, len(found), add, parse)
        return list(found[:count])

    def text(self, ids):
        tokens, found = (ctypes.c_int32 * len(ids))(*ids), ctypes.create_string_buffer(8 * len(ids) + 64)
        no = ctypes.c_bool(False)
        count = self.lib.llama_detokenize(self.vocab, tokens, len(ids), found, len(found), no, no)
        return found.raw[:count]

    def ends(self):
        return [number for number in range(320) if self.lib.llama_vocab_is_eog(self.vocab, number)]

    def logits(self, ids, fresh=True):
        """Logits after the last of the ids, which follow what was read before unless `fresh`: float32 [320]."""
        if fresh:
            self.lib.llama_memory_clear(ctypes.c_void_p(self.lib.llama_get_memory(self.context)), ctypes.c_bool(True))
        tokens = (ctypes.c_int32 * len(ids))(*ids)
        assert self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(tokens, len(ids))) == 0
        at = self.lib.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(ctypes.cast(at, ctypes.POINTER(ctypes.c_float)), (320,)).copy()
