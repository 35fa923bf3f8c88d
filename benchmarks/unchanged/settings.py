"""What is recorded, in the names of the oldest record, and what these are called since."""

import re
from typing import Any

OPTIONS = {
    "shape.rows": ("shape.sequences_per_step",),
    "shape.length": ("shape.sequence_length",),
    "shape.passage_bytes": ("shape.context_bytes",),
    "model.places": ("model.rope_positions",),
    "micro_rows": ("micro_sequences",),
    "optim.curve": ("optim.schedule",),
    "objective.spell": ("objective.symbol_bytes",),
}
"""Fields of a recipe by the names that the oldest record had: what else they may be called."""
FIGURES = {
    "sequences_per_step": ("rows",),
    "sequence_length": ("length",),
    "context_bytes": ("passage_bytes",),
    "rope_positions": ("places",),
    "micro_sequences": ("micro_rows",),
    "max_skips": ("most_skips",),
    "split": ("side",),
    "splits": ("sides",),
    "schedule": ("curve",),
    "symbol_bytes": ("spelled", "spell"),
}
"""Keys of figures that were renamed since the oldest record: new name, what it may be called there."""
WORDS = {"--bytes": "--max-bytes", "--most-bytes": "--max-bytes", "--side": "--split"}
"""Options of commands that were renamed since the oldest record: old name, new name."""
MODULES = {
    "from_toml": ("byteproxy.config",),
    "load_llama": ("byteproxy.interop.llama", "byteproxy.export.llama"),
    "ModelPredictor": ("byteproxy.neural.predictor",),
    "Store": ("byteproxy.store.store",),
    "Stream": ("byteproxy.mixture.loader",),
    "TrainConfig": ("byteproxy.train.config", "byteproxy.train.train_config"),
}
"""Where what needs Python finds its names: the first of these modules that is there."""
VOLATILE = re.compile(
    r"seconds|_s$|per_second|^rate$|machine|peak|memory_mb|^time|matmul|loading_share|path$|^corpus$|^page$|^out$|^folder$"
    r"|^when$|version|crc32|^after$"
)
"""Keys of figures that differ between two runs of the same program, or hold places."""
VARIES = ("corpus/tokens", "files/tokens", "plans/from", "curves/compiled", "trained/compiled")
"""Items that may move further: with rounding, what is multiplied in bfloat16: the compiled run, and the training
behind the neural view, whose symbols then differ. That view's file says how long it took, so no two are equal."""

FOLDERS = ("asyncio", "concurrent", "email", "html", "http", "json", "logging", "tomllib", "unittest", "urllib", "xml")
VIEWS = ("bpe:512", "codebook:bits=10", "chunks:size=4", "gzip")
TOKENS = ("neural:bits=12,size=1m,steps=6", "llama/tokenizer.json")
"""Views of a corpus of their own: the neural one's file differs from time to time, and so do hashes over it."""
PROMPTS = [
    *("def main(", "import os\n", "class ", "    return ", "for i in range(", "if __name__ == "),
    *("try:\n    ", "# ", "self.", '"""', "from typing import ", "raise ValueError(", "with open("),
    *("lambda x: ", "    def __init__(self", "assert ", "\u00e9t\u00e9 ", "<html>", ""),
    "while True:\n        data = self.read(1024)\n        if not data:\n",
]

BASE: dict[str, Any] = {
    "stop": "20 steps",
    "corpus": "corpus",
    "dtype": "float32",
    "device": "cpu",
    "compile": False,
    "log_every": 1,
    "checkpoint_seconds": 1e6,
    "model": {"width": 96, "layers": 3, "heads": 3, "ffn": 256},
    "shape": {"rows": 4, "length": 512, "passage_bytes": 256},
    "optim": {"optimizer": "muon", "learning_rate": 4e-3},
    "validation": {"bytes": 6000, "document_bytes": 2000},
}
_SPELLED = {
    "views": ["codebook-1024"],
    "model": {"ngrams": [2, 3, 4], "ngram_rows": 2048, "ngram_outputs": True, "inputs": "last", "places": "bytes"},
    "objective": {"symbols": 0.0, "spell": 1.0},
    "mixture": {"phases": [{"share": 0.6, "rate": 1.0}, {"share": 0.4, "rate": 0.0}]},
}
RUNS: dict[str, dict[str, Any]] = {
    "bytes": {"mixture": {"preset": "bytes"}, "micro_rows": 1},
    "paper": {
        "views": ["bpe-512"],
        "model": {"softmax": "shared"},
        "mixture": {"preset": "paper"},
        "objective": {"compressed_weight": 0.5},
        "optim": {"optimizer": "adamw", "curve": "cosine", "final_share": 0.1, "learning_rate": 2e-3},
    },
    "pairs": {
        "views": ["codebook-1024", "bpe-512"],
        "model": {"key_value_heads": 1, "qk_norm": True, "symbol_heads": 2},
        "mixture": {"phases": [{"mode": "pairs", "rate": 0.5}], "view_weights": {"bpe-512": 2.0}},
        "micro_rows": 3,
    },
    "switch": {
        "views": ["codebook-1024"],
        "model": {"soft_cap": 20.0, "value_embeddings": True},
        "mixture": {"phases": [{"mode": "switch", "rate": 0.5}], "count": "bytes", "packing": "whole", "passages": 2},
        "shape": {"length": 1024, "rows": 2},
    },
    "spelled": _SPELLED,
    "heads": {"mixture": {"preset": "bytes"}, "model": {"byte_heads": 8, "byte_head_ngrams": [2, 3, 4]}},
    "chunks": {
        "views": ["chunks-4"],
        "model": {"inputs": "mean", "hashed_rows": 512, "byte_heads": 4},
        "objective": {"symbols": 0.0, "bag": 0.5, "bytes": 1.0, "heads_weight_end": 0.5},
        "mixture": {"phases": [{"mode": "parallel", "rate": 0.3, "rate_end": 0.8}], "count": "positions"},
        "attention": "sdpa",
    },
    "compiled": {**_SPELLED, "compile": True, "dtype": "bfloat16"},
    "from": {"corpus": "tokens", "mixture": {"preset": "paper"}},
    "writer": {
        "stop": "150 steps",
        "log_every": 10,
        "mixture": {"preset": "bytes"},
        "model": {"byte_heads": 8, "byte_head_ngrams": [2, 3, 4], "ngrams": [2, 3, 4, 5], "ngram_outputs": True},
        "shape": {"rows": 8, "length": 256},
    },
}
"""Six configurations that all is held to, and more for what these leave out; `writer` learns some text."""
SCORED = ("bytes", "paper", "pairs", "switch", "spelled", "heads", "chunks", "from")
WRITERS = ("writer", "writer", "writer", "heads", "pairs")
WAYS = {
    "utf8": ["runs/heads", "--utf8", "--temperature", "1.0"],
    "top_p": ["runs/heads", "--top-p", "0.8", "--temperature", "1.0"],
    "min_p": ["runs/spelled", "--min-p", "0.05", "--temperature", "1.0", "--seed", "3"],
    "stop": ["runs/bytes", "--stop", "e", "--temperature", "0.7"],
    "past the context": ["runs/heads", "--most-bytes", "400", "--temperature", "0.7"],
    "bfloat16": ["runs/heads", "--dtype", "bfloat16", "--temperature", "0"],
    "export": ["out/heads", "--temperature", "0.7"],
    "export with norms": ["out/pairs", "--temperature", "0.7"],
    "translate": ["runs/pairs", "--view", "codebook-1024", "--most-bytes", "40", "--temperature", "0"],
    "continue": ["runs/pairs", "--view", "bpe-512", "--task", "continue", "--most-bytes", "40"],
    "switched": ["runs/switch", "--view", "codebook-1024", "--most-bytes", "40", "--temperature", "0.7"],
}
"""Words after `generate`, by each option once."""
EXPORTED = ("bytes", "pairs", "heads")
PLANS = ("1m", "3m", "3m-head-start", "3m-paper", "20m", "100m", "0.5b", "1.5b", "4b", "7b", "14b", "writer")
