"""Views trained on the train split of a corpus, and remembered: a second call trains nothing.

A trained view is kept in the corpus's folder from the moment that it is trained, so a stop while the corpus is encoded
costs no training either; what takes minutes to train goes on after a stop as well (`unfinished`). Which spec it came
from is noted beside it, for this corpus only, since another text gives another view of the same name.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.files import inside, write_aside
from byteproxy.parsing import read_json
from byteproxy.progress import Stage, quietly
from byteproxy.store.format import MANIFEST, artefact_name
from byteproxy.store.manifest import Manifest, read_manifest
from byteproxy.store.store import Store
from byteproxy.views import registry
from byteproxy.views.base import View
from byteproxy.views.registry import Built

NOTE = ".byteproxy-trained.json"
SAMPLE_BYTES = 1_000_000
"""Training text that a freshly trained view is tried on."""


class TrainedView(NamedTuple):
    """A view in a file of its own. seconds: of training. bytes_per_symbol: on training text; None without any text."""

    view: View
    path: Path
    seconds: float
    bytes_per_symbol: float | None


def named(specs: Iterable[str]) -> dict[str, View | None]:
    """The views that need no training, and None for those that do; InputError for what can't become a view."""
    trained = {spec: registry.needs_training(spec) for spec in specs}
    return {spec: None if trained[spec] else registry.build(spec, lambda: ()).view for spec in trained}


def trained_for(store: Store, spec: str, stage: Stage = quietly) -> Built:
    """The view that a spec names, trained on the train split of a corpus unless that was done before."""
    notes = _notes(store)
    key = _key(spec)
    kept = _kept(store.path, notes["views"].get(key))
    if kept is not None:
        return Built(kept, None)
    if not store.manifest.splits["train"].bytes:
        raise InputError(
            f"the train split of {store.path} holds no text to train {spec} on: look at `byteproxy corpus stats`, and "
            "prepare it again with smaller shares held out"
        )
    begun = unfinished(store.path, spec, notes["corpus"])
    with stage(f"train {spec}", registry.training_unit(spec)) as progress:
        built = registry.build(spec, lambda: (document.text for document in store.documents("train")), progress, begun)
    view: Any = built.view
    file = artefact_name(view.name, view.suffix)
    entry = next((entry for entry in store.manifest.views if entry.name == view.name), None)
    if entry is not None and entry.fingerprint != view.fingerprint:
        return built  # the file of that name is another view's, and adding this one will be refused
    if entry is None:
        view.save(store.path / file)
    notes["views"][key] = {"file": file, "fingerprint": view.fingerprint}
    write_aside(store.path / NOTE, json.dumps(notes).encode())
    shutil.rmtree(begun, ignore_errors=True)
    return built


def train_view(
    spec: str,
    texts: Callable[[], Iterable[bytes]],
    texts_key: str,
    folder: Path,
    out: Path | None = None,
    stage: Stage = quietly,
) -> TrainedView:
    """Train a view by itself and save it in `out`, or in a file of the folder that has the view's name.

    texts: gives the text to train on, each time that it is called. texts_key: the text's `fingerprint_of`; a training
    of the same spec and text that was stopped goes on.
    Raises InputError where nothing has to be trained, or the file can't be written or is there and is no view.
    """
    if registry.is_artefact(spec):
        raise InputError(f"{spec} is a file and no kind of view to train: name one that `byteproxy views list` shows")
    if not registry.needs_training(spec):
        raise InputError(f"a view of kind {spec.partition(':')[0]!r} has nothing to train: use it by its name")
    if out is not None and out.is_file() and out.stat().st_size and not registry.is_view(out):
        raise InputError(f"{out} is there and is no view: name another file by --out, or remove it")
    place = folder if out is None else out.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"can't make the folder {place} ({error.strerror}): give another place with --out") from error
    begun = unfinished(place, spec, texts_key)
    with stage(f"train {spec}", registry.training_unit(spec)) as progress:
        built = registry.build(spec, texts, progress, begun)
    view: Any = built.view
    path = out or place / f"{view.name}{view.suffix}"
    view.save(path)
    shutil.rmtree(begun, ignore_errors=True)
    sample_bytes, symbols = 0, 0
    for text in texts():
        sample_bytes += len(text)
        symbols += len(view.encode(text).symbols)
        if sample_bytes >= SAMPLE_BYTES:
            break
    return TrainedView(view, path, built.train_seconds or 0.0, sample_bytes / symbols if symbols else None)


def unfinished(folder: Path, spec: str, texts: str) -> Path:
    """The folder, within another, of a training that may be stopped and gone on with.

    texts: a fingerprint of the text to train on.
    """
    return folder / f".training-{sha256(json.dumps([_key(spec), texts]).encode()).hexdigest()[:16]}"


def fingerprint_of(corpus: str) -> str:
    """The fingerprint of the text to train on, as `unfinished` takes it: of a prepared corpus, or of stdlib."""
    return _without_views(read_manifest(Path(corpus))) if (Path(corpus) / MANIFEST).is_file() else corpus + sys.version


def _notes(store: Store) -> dict[str, Any]:
    """What was trained for this corpus; nothing if the notes are another corpus's, or no notes."""
    of = _without_views(store.manifest)
    try:
        notes = read_json(store.path / NOTE)
        if notes["corpus"] == of and isinstance(notes["views"], dict):
            return notes
    except (OSError, ValueError, TypeError, KeyError):
        pass
    return {"corpus": of, "views": {}}


def _kept(folder: Path, note: Any) -> View | None:
    """The view that a note tells of, if its file still holds it."""
    try:
        view = registry.load(inside(folder, note["file"], folder / NOTE))
        return view if view.fingerprint == note["fingerprint"] else None
    except (InputError, TypeError, KeyError):
        return None


def _key(spec: str) -> str:
    """The same for all ways to write the same spec; it changes with a file that an option names."""
    name, _, given = spec.partition(":")
    options = asdict(registry.parse_options(registry.kind(name), given))
    given_files = [value for value in options.values() if isinstance(value, str) and value]
    named = [file for value in given_files for file in (value, os.path.join(value, registry.TOKENIZER))]
    changed = [os.stat(file).st_mtime_ns for file in named if os.path.isfile(file)]
    return json.dumps([name, options, changed])


def _without_views(manifest: Manifest) -> str:
    return replace(manifest, views=()).fingerprint
