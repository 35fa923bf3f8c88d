"""A study of seconds: two arms of tiny models on a toy corpus, whose recipe tests change as they like."""

from pathlib import Path
from typing import Any

import tomli_w
from tests.toy_corpus import toy_store

from byteproxy.progress import quietly
from byteproxy.store.store import Store
from byteproxy.study.recipe import StudyRecipe, read_recipe
from byteproxy.study.study import ALL, run_study

VALUES: dict[str, Any] = {
    "about": "toys",
    "seeds": [0, 1],
    "flops": [1.6e8],
    "corpus": {"path": "beside the study"},
    "run": {
        "dtype": "float32",
        "compile": False,
        "model": {"width": 16, "layers": 1, "heads": 1, "ffn": 32},
        "shape": {"sequences_per_step": 1, "sequence_length": 64, "context_bytes": 50},
        "optim": {"optimizer": "adamw"},
    },
    "sizes": {"small": {}},
    "trials": {"learning_rates": [3e-3, 1e-2], "flops": 1.6e8},
    "scoring": {
        "validation_bytes": 600,
        "test_bytes": 800,
        "document_bytes": 300,
        "stride": 50,
        "curve": 3,
        "curve_bytes": 200,
        "viewer_documents": 1,
        "viewer_bytes": 60,
    },
    "arms": {
        "bytes": {"role": "bytes", "about": "raw only", "run": {"mixture": {"preset": "bytes"}}},
        "proxy": {"role": "proxy", "run": {"views": ["bpe-300"], "mixture": {"preset": "paper"}}},
    },
    "claims": [{"name": "it helps", "arms": ["bytes", "proxy"], "against": ["bytes"]}],
}


def changed(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Nested values with some replaced: run__model__width is the way to one; None takes it out."""
    copy = dict(values)
    for way, value in changes.items():
        name, _, rest = way.partition("__")
        if rest:
            copy[name] = changed(copy.get(name, {}), **{rest: value})
        elif value is None:
            copy.pop(name, None)
        else:
            copy[name] = value
    return copy


def recipe(folder: Path, **changes: Any) -> StudyRecipe:
    """The toy study with changes, through a file as users give it."""
    path = Path(folder) / "toy.toml"
    path.write_text(tomli_w.dumps(changed(VALUES, **changes)))
    return read_recipe(path)


def prepare(recipe: StudyRecipe, out: Path, stage: Any) -> Store:
    """The toy corpus in a study's folder."""
    folder = out / "corpus"
    return Store.open(folder) if folder.exists() else toy_store(folder)[0]


def ran(out, limits=ALL, stage=quietly, say=lambda line: None, page=None, **changes):
    """The results of the toy study with changes, run in a folder or gone on with."""
    return run_study(recipe(out.parent, **changes), "toy", out, prepare, limits, stage, say, page)
