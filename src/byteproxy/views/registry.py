"""Build a view from its name.

    bpe                          a kind with its defaults
    bpe:65536                    the first option without its name
    codebook:bits=12,parse=greedy
    runs/code.codebook           a trained view's file
    models/llama                 a folder with a tokenizer.json, as models are published

Kinds come from the entry-point group `byteproxy.views`, so an installed package adds its own without a change here. A
kind's module is imported when the kind is first asked for.
"""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args, get_origin, get_type_hints

from byteproxy.errors import InputError, did_you_mean
from byteproxy.progress import Progress, silent
from byteproxy.views.base import ResumingKind, TrainedKind, View, ViewKind

GROUP = "byteproxy.views"
TOKENIZER = "tokenizer.json"
"""What a folder of a published model holds."""
MAX_LISTED = 8


class Built(NamedTuple):
    """A view, and the seconds that training took; None for one that was loaded or needs no training."""

    view: View
    train_seconds: float | None


def kinds() -> dict[str, type[ViewKind]]:
    """All kinds of views by name, sorted; imports every one of them."""
    return {name: _loaded(entry) for name, entry in sorted(_entries().items())}


def kind(name: str) -> type[ViewKind]:
    """The kind of that name; InputError naming those that there are."""
    entry = _entries().get(name)
    if entry is None:
        raise InputError(
            f"there is no view {name!r}: name one of {', '.join(sorted(_entries()))}, or the file of a trained one"
            f"{did_you_mean(name, _entries())}"
        )
    return _loaded(entry)


def kinds_told() -> dict[str, dict[str, Any]]:
    """Describe each kind: summary, whether it is trained, options with defaults and choices."""
    found = {}
    for name, known in kinds().items():
        types = get_type_hints(known.Options)
        found[name] = {
            "summary": known.summary,
            "trained": known.trained,
            "options": {field.name: field.default for field in dataclasses.fields(known.Options)},
            "choices": {option: list(get_args(of)) for option, of in types.items() if get_origin(of) is Literal},
        }
    return found


def quick_kinds() -> tuple[str, ...]:
    """The kinds of views, less those that take minutes to train and so have to be named."""
    return tuple(name for name, known in kinds().items() if not getattr(known, "slow", False))


def needs_training(spec: str) -> bool:
    """Whether the view that a spec names has to be trained; InputError for what is neither a kind nor a file."""
    if is_artefact(spec):
        return False
    name, _, options = spec.partition(":")
    chosen = kind(name)
    parse_options(chosen, options)
    return chosen.trained


def training_unit(spec: str) -> str:
    """What the progress of training the view of a spec counts: "B", or a noun."""
    return "B" if is_artefact(spec) else getattr(kind(spec.partition(":")[0]), "progress_unit", "B")


def build(
    spec: str, texts: Callable[[], Iterable[bytes]], progress: Progress = silent, unfinished: Path | None = None
) -> Built:
    """The view that `spec` asks for, as in the module's examples.

    texts: called for the text to train on, once, and only if the kind needs training.
    unfinished: folder in which a kind that `resumes` leaves what a later call with the same spec and text goes on from.
        Whoever gives it removes it when the view is safe.
    Raises InputError for what can't be built, naming the option.
    """
    if is_artefact(spec):
        return Built(load(Path(spec)), None)
    name, _, given = spec.partition(":")
    chosen = kind(name)
    options = parse_options(chosen, given)
    begin = time.perf_counter()
    read = texts() if chosen.trained else ()
    if getattr(chosen, "resumes", False):
        view = cast(type[ResumingKind], chosen).make(options, read, progress, unfinished)
    else:
        view = chosen.make(options, read, progress)
    return Built(view, time.perf_counter() - begin if chosen.trained else None)


def is_artefact(spec: str) -> bool:
    """Whether a spec is the path of a file or folder and not the name of a kind."""
    return spec.partition(":")[0] not in _entries() and ("/" in spec or os.path.exists(spec))


def is_view(path: Path) -> bool:
    """Whether a file is the artefact of any kind."""
    return _kind_that_knows(path) is not None


def _kind_that_knows(path: Path) -> type[TrainedKind] | None:
    trained = (cast(type[TrainedKind], known) for known in kinds().values() if known.trained)
    return next((known for known in trained if known.recognises(path)), None)


def load(path: Path) -> View:
    """The view in an artefact of any kind, or in a folder's tokenizer.json; InputError where no kind knows the file."""
    path = artefact_in(Path(path))
    if not os.path.isfile(path):  # unlike Path's, this one takes names that are too long
        raise InputError(f"there is no file {path}: train one with `byteproxy views train`, or name a view")
    if (known := _kind_that_knows(path)) is not None:
        return known.load(path)
    raise InputError(f"{path} is no view that byteproxy knows: name a tokenizer.json or what `views train` wrote")


def artefact_in(path: Path) -> Path:
    """The file that a path means: itself, or a folder's tokenizer.json; InputError for a folder without one."""
    if not os.path.isdir(path):
        return path
    if (path / TOKENIZER).is_file():
        return path / TOKENIZER
    try:
        names = sorted(entry.name for entry in path.iterdir())
    except OSError as error:
        raise InputError(f"cannot read the folder {path}: {error.strerror}") from error
    listed = ", ".join(names[:MAX_LISTED]) + (f" and {len(names) - MAX_LISTED} more" * (len(names) > MAX_LISTED))
    raise InputError(
        f"the folder {path} holds no {TOKENIZER}, but {listed or 'nothing'}: name a folder with one, or a view's file"
    )


def parse_options(chosen: type[ViewKind], given: str) -> Any:
    """The options of a kind from "4096,words=false": names may be left out for the first one only."""
    fields = [field.name for field in dataclasses.fields(chosen.Options)]
    types = get_type_hints(chosen.Options)
    values: dict[str, Any] = {}
    for place, part in enumerate(filter(None, given.split(","))):
        name, equals, value = part.partition("=")
        if not equals and place == 0 and fields:
            name, value = fields[0], part
        elif name not in fields:
            there = ", ".join(fields) or "none"
            near = did_you_mean(name, fields) or "; write name=value, separated by commas"
            raise InputError(f"{part!r} is no option here (there are: {there}){near}")
        values[name] = _converted(name, value, types[name])
    return chosen.Options(**values)


def _converted(name: str, value: str, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise InputError(f"option {name} is {value!r}: give one of {', '.join(get_args(kind))}")
    if kind is bool:
        if value in ("true", "false"):
            return value == "true"
        raise InputError(f"option {name} is {value!r}: give true or false")
    try:
        return kind(value)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InputError(f"option {name} is {value!r}: give {what}") from None


def _entries() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _loaded(entry: EntryPoint) -> type[ViewKind]:
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        reason = f"view {entry.name!r} ({entry.value}) can't be imported: {error}; reinstall its package"
        raise InputError(reason) from error
