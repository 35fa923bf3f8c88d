"""Train language models on compressed text, run them on raw bytes.

What `__all__` names is the Python API, documented in docs/api.md and kept stable. It is imported when it is first asked
for, so `import byteproxy` costs nothing. The folders, read from top to bottom, are the pipeline; data flows one way and
so do the imports: `vocab`, `corpus`, `views`, `store`, `mixture`, `model`, `train`, `neural`, `generate`, `interop`,
`runs`, `evaluate`, `study`, `report`, `training`, `convert`, `demo`, `recipes`, `api`, `cli`. The idea is proxy
compression (Zheng et al., arXiv 2602.04289).
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from byteproxy.api import convert, evaluate, open_corpus, prepare, stream, train, view
    from byteproxy.runs.load import load

__version__ = "0.1.0"
__all__ = ["convert", "evaluate", "load", "open_corpus", "prepare", "stream", "train", "view"]

HOMES = {
    "prepare": "byteproxy.api",
    "open_corpus": "byteproxy.api",
    "view": "byteproxy.api",
    "stream": "byteproxy.api",
    "train": "byteproxy.api",
    "convert": "byteproxy.api",
    "load": "byteproxy.runs.load",
    "evaluate": "byteproxy.api",
}
"""The module of each name of the API, in the order of the pipeline."""
PACKAGES = ("convert", "evaluate", "train")
"""Names of the API that are packages as well: these can be called."""


class _CalledPackage(ModuleType):
    """A package that is called as the function of its name: `byteproxy.evaluate(...)` and `byteproxy.evaluate.bpb`."""

    @property
    def __wrapped__(self) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(HOMES[name]), name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self.__wrapped__(*arguments, **options)


class _Root(ModuleType):
    """This package; Python sets an attribute of it for each package inside, when that is imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PACKAGES and isinstance(value, ModuleType):
            value.__class__ = _CalledPackage
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Root


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"byteproxy.{name}") if name in PACKAGES else getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
