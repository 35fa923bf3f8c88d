"""A conversion's folder: one conversion at a time works in it, and none goes on with what another one left.

convert.toml    what was asked for                   run/          the joint phase, a run (`byteproxy report DIR/run`)
source.json     the model that it began with         model/        the byte model, as `byteproxy export` writes it
tokenizer.json  its tokenizer                        samples.json  what it writes
corpus/         the text, prepared, and its tokens   results.json  all figures
before.json     what the model could do before       report.html   the same for people
length.json     how many steps the run has           speed.json    how fast it writes

Each appears whole or not at all and is found again, so a conversion that was killed goes on where it was. What was
asked for may change until something is there that it decided: the sources until there is a corpus, for example.
"""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from byteproxy.config import from_toml, to_toml
from byteproxy.convert.conversion import Conversion
from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.parsing import parse_toml
from byteproxy.runs.model_folder import CONVERSION
from byteproxy.store.format import MANIFEST
from byteproxy.study.study_folder import held
from byteproxy.train.identity import MAY_CHANGE

SETTINGS, RESULTS, PAGE = CONVERSION, "results.json", "report.html"
SOURCE, BEFORE, LENGTH = "source.json", "before.json", "length.json"
SAMPLES, SPEED = "samples.json", "speed.json"
CORPUS, RUN, MODEL = "corpus", "run", "model"
_RECIPE, _RUN, _SPLIT = "recipe.", "run.", "recipe.split."
_FILES = (SETTINGS, SOURCE, TOKENIZER, LENGTH, BEFORE, SAMPLES, SPEED, RESULTS, PAGE)
_PARTIAL = re.compile(rf"\.(?:(?:{'|'.join(map(re.escape, _FILES))})\.\d+|{MODEL})\.partial")


@contextmanager
def claimed(out: Path, conversion: Conversion) -> Iterator[None]:
    """Hold a folder for a conversion, and leave there what was asked for.

    Raises InputError where the folder holds anything else, is in use, or holds a conversion that was asked for with
    other values of what decided something that is there, naming the first of them.
    """
    with held(out, SETTINGS):
        path, wanted = out / SETTINGS, to_toml(conversion)
        if path.exists():
            then = to_toml(from_toml(path, Conversion))  # a field that it hasn't, as it is older, has its default
            _ensure_same(out, _flat(parse_toml(then)), _flat(parse_toml(wanted)))
        _clear_partial(out)
        write_aside(path, wanted.encode())
        yield


def _clear_partial(out: Path) -> None:
    """Remove what a killed conversion was writing; a folder with our settings in it, that is held, is ours."""
    for path in out.iterdir():
        if _PARTIAL.fullmatch(path.name):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _ensure_same(out: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for field in {**then, **now}:
        name = field.removeprefix(_RECIPE)
        if then.get(field) == now.get(field) or name.removeprefix(_RUN).partition(".")[0] in MAY_CHANGE:
            continue
        if not _decided(out, field):
            continue
        raise InputError(
            f"{out} holds another conversion ({name} is {_told(then.get(field))} there and {_told(now.get(field))} "
            "here): give the same, or another --out"
        )


def _decided(out: Path, field: str) -> bool:
    """Whether something is there that a field decided."""
    if field == "model":
        return (out / SOURCE).is_file()
    if field == "sources" or field.startswith(_SPLIT):
        return (out / CORPUS / MANIFEST).is_file()
    return (out / BEFORE).is_file()


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their names on the way: "recipe.run.stop"."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _told(value: Any) -> str:
    return "absent" if value is None else repr(value)
