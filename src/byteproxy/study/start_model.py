"""The model that arms of a study begin with: found, noted in the study's folder, and made part of its recipe.

A recipe names the model and which arms begin with it. What follows from it (shape, tokenizer, checksums) is filled in
here, so that all else in a study works with a recipe like any other. `model.json` remembers it, with a copy of its
tokenizer beside, so that results are written again without the model.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from byteproxy.checksummed import known, write_checksummed
from byteproxy.config import from_values, to_toml
from byteproxy.errors import InputError
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.model.model_config import SHAPE_FIELDS
from byteproxy.parsing import parse_toml
from byteproxy.runs.source_model import FoundModel, SourceModel, find, find_again, named
from byteproxy.store.store import Store
from byteproxy.study.recipe import Arm, StudyRecipe, merged

NOTED = "model.json"


@dataclass(frozen=True)
class KnownModel:
    """The model of a study. view, view_fingerprint: of its tokenizer as a view. shape: the fields that it decides."""

    source: SourceModel
    view: str
    view_fingerprint: str
    shape: dict[str, Any]

    def written(self) -> dict[str, Any]:
        """What `model.json` says."""
        return asdict(self)


def known_model(out: Path) -> KnownModel | None:
    """The model that is noted in a study's folder; None where none is, or the note is damaged."""
    values = known(out / NOTED)
    return None if values is None else from_values(values, KnownModel, out / NOTED)


def taken(recipe: StudyRecipe, out: Path) -> KnownModel | None:
    """The study's model: the one that is noted, or one that is found and noted now; None where the recipe has none.

    The caller holds the folder. One that was moved is taken where it is now.
    Raises InputError where none is named, it can't be found or used, or it isn't the one that is noted.
    """
    if recipe.model is None:
        return None
    _ensure_without_shape(recipe)
    given, noted = recipe.model.path and named(recipe.model.path), known_model(out)
    if noted is None:
        if not given:
            raise InputError(
                "the study begins with a model, and none is named: say where it is by --model PATH (its folder, a GGUF "
                "file, or hf:ORG/NAME)"
            )
        return _noted(find(given), out)
    if given and given != noted.source.given:
        there = find(given).remembered()
        if _hashes(there) != _hashes(noted.source):
            raise InputError(f"{out} holds a study of another model than {given}: give that one, or another --out")
        return replace(noted, source=there)
    if not Path(noted.source.path).exists() and not noted.source.hub_name:
        return noted  # enough for what is trained already
    return replace(noted, source=find_again(noted.source))


def _ensure_without_shape(recipe: StudyRecipe) -> None:
    parts = {"run": recipe.run, **{f"sizes.{name}": own for name, own in recipe.sizes.items()}}
    parts |= {f"arms.{name}.run": arm.run for name, arm in recipe.arms.items() if arm.start}
    for where, own in parts.items():
        given = next((name for name in SHAPE_FIELDS if name in own.get("model", {})), None)
        if given is not None:
            raise InputError(f"{where}.model.{given}: the study's model decides that, so leave it out")


def _noted(found: FoundModel, out: Path) -> KnownModel:
    view, shape = found.described.view, parse_toml(to_toml(found.described.shape))
    shape = {name: shape[name] for name in SHAPE_FIELDS if name in shape}
    model = KnownModel(found.remembered(), view.name, view.fingerprint, shape)
    view.save(out / TOKENIZER)
    write_checksummed(out / NOTED, model.written())
    return model


def _hashes(source: SourceModel) -> tuple[str, str, str]:
    return source.weights, source.tokenizer, source.chat


def bound(recipe: StudyRecipe, model: KnownModel | None, out: Path) -> StudyRecipe:
    """A recipe with all that its model decides; the same where it has none.

    Every arm gets the model's shape, but for one from scratch that says a field of its own. Those that begin with it
    get its checksums, and its tokenizer as their first view; others get it as their view where they need one and name
    none.
    """
    if model is None:
        return recipe
    start = asdict(model.source.start)
    del start["byte_rows"]
    arms = {name: _bound(recipe, name, arm, model, start) for name, arm in recipe.arms.items()}
    corpus = recipe.corpus
    if not corpus.path:
        corpus = replace(corpus, views=(*corpus.views, str(out / TOKENIZER)))
    return replace(recipe, corpus=corpus, arms=arms)


def _bound(recipe: StudyRecipe, name: str, arm: Arm, model: KnownModel, start: Mapping[str, Any]) -> Arm:
    config, view = recipe.config(name, recipe.sizes_of(name)[0]), model.view
    own: dict[str, Any] = {}
    if arm.start:
        own = {"start": start, "views": [view, *(one for one in config.views if one != view)]}
    elif config.mixture.needs_view and not config.views:
        own = {"views": [view]}
    if not any(field in arm.run.get("model", {}) for field in SHAPE_FIELDS):
        own["model"] = model.shape
    return replace(arm, run=merged(arm.run, own))


def ensure_encoded(store: Store, model: KnownModel | None) -> None:
    """InputError where a corpus has no view that is the tokenizer of the study's model."""
    if model is None:
        return
    if (model.view, model.view_fingerprint) not in [(one.name, one.fingerprint) for one in store.manifest.views]:
        raise InputError(
            f"{store.path} has no view that is the tokenizer of {model.source.given}: prepare the corpus with --view "
            f"{model.source.path}"
        )


def as_noted(recipe: StudyRecipe, out: Path) -> StudyRecipe:
    """A recipe with what its model decides as its folder has it; InputError where that isn't known there yet."""
    if recipe.model is None:
        return recipe
    model = known_model(out)
    if model is None:
        raise InputError(f"{out} holds no study of a model yet: run it first, or name its folder with --out")
    return bound(recipe, model, out)
