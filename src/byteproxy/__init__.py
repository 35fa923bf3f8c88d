"""Train language models on compressed text, run them on raw bytes.

What `__all__` names is the Python API, documented in docs/api.md and kept stable. It is imported when it is first asked
for, so `import byteproxy` costs nothing. The folders, read from top to bottom, are the pipeline; data flows one way and
so do the imports: `vocab`, `corpus`, `views`, `store`, `mixture`, `model`, `train`, `generate`, `interop`, `evaluate`,
`study`, `report`, `demo`, `recipes`, `cli`. The idea is proxy compression (Zheng et al., arXiv 2602.04289).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byteproxy.api import evaluate, open_corpus, prepare, stream, view

__version__ = "0.1.0"
__all__ = ["evaluate", "open_corpus", "prepare", "stream", "view"]

HOMES = {
    "prepare": "byteproxy.api",
    "open_corpus": "byteproxy.api",
    "view": "byteproxy.api",
    "stream": "byteproxy.api",
    "evaluate": "byteproxy.api",
}
"""The module of each name of the API, in the order of the pipeline."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
