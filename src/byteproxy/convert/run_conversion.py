"""A conversion from a model to an exported byte model: take it, prepare text, train, score, write, export, report.

Every stage finds what is already there (`conversion_folder`), so one that was killed goes on where it was. The joint
phase is a run like any other, which `training` begins and goes on with. Once its first checkpoint is there, the model
that was converted isn't needed any more.
"""

import gc
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import byteproxy
from byteproxy.checksummed import known, read_checksummed, write_checksummed
from byteproxy.convert.before_and_after import Written, ensure_its_own, measured_before, written_as_bytes
from byteproxy.convert.conversion import Conversion, steps_between_evaluations
from byteproxy.convert.conversion_folder import (
    BEFORE,
    CORPUS,
    LENGTH,
    MODEL,
    PAGE,
    RESULTS,
    RUN,
    SAMPLES,
    SOURCE,
    SPEED,
    claimed,
)
from byteproxy.convert.conversion_plan import ensure_exportable, ensure_room, run_of
from byteproxy.convert.conversion_results import results_of
from byteproxy.convert.writing_speed import measured_speed
from byteproxy.errors import InputError
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.files import write_aside
from byteproxy.gguf_file import gguf_package
from byteproxy.interop.card import Origin
from byteproxy.interop.export_folder import ensure_unaltered
from byteproxy.interop.gguf import GGUF
from byteproxy.interop.published import published
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.model.network import Transformer
from byteproxy.parsing import read_json
from byteproxy.progress import Stage, quietly
from byteproxy.report.conversion_page import write_conversion_page
from byteproxy.runs.load import load
from byteproxy.runs.source_model import FoundModel, SourceModel, find, find_again
from byteproxy.runs.start import fitted_to_start, started_model
from byteproxy.store.build import build_corpus
from byteproxy.store.format import MANIFEST
from byteproxy.store.prepare import Preparation
from byteproxy.store.store import Store
from byteproxy.train.budget import resolved
from byteproxy.train.checkpoint import newest
from byteproxy.train.compiler import fastest_dtype
from byteproxy.train.run_config import CHECKPOINTS, CONFIG, read_run_config
from byteproxy.train.train_config import TrainConfig
from byteproxy.training import train
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import Vocab

Tell = Callable[[str], None]
Length = Callable[[TrainConfig, Store], str]
"""Where a run stops, as `TrainConfig.stop`: of the run as it begins, and of its corpus."""


def say_nothing(_: str) -> None: ...


def run_conversion(
    conversion: Conversion,
    out: Path,
    gguf: bool = False,
    stage: Stage = quietly,
    tell: Tell = say_nothing,
    length: Length | None = None,
) -> dict[str, Any]:
    """Convert a model, or go on with it; gives all figures, as `results.json` has them.

    gguf: export a `model.gguf`, too. length: decides where the run stops, in place of the recipe; it is asked once.
    Raises InputError for what a user can mend, KeyboardInterrupt after saving if asked to stop.
    """
    _ensure_one_process()
    if gguf:
        gguf_package()
    begun = known(out / SOURCE) is not None
    found = None if begun else _looked_at(conversion, out, gguf)
    with claimed(out, conversion):
        if (finished := _finished(out, gguf)) is not None:
            tell(f"{out} is finished.")
            return finished
        source, model = _remembered(conversion, out, found, stage)
        if gguf and begun:
            _ensure_exportable_still(source, out)
        if source.quantization:
            tell(f"The weights of {source.given} are stored as {source.quantization}: what that lost stays lost.")
        store = _prepared(conversion, out, stage)
        asked = replace(conversion.recipe.run, corpus=str(out / CORPUS))
        before = _before(conversion, asked, store, source, model, out, stage)
        del model
        gc.collect()  # before memory is taken for training
        config = _with_length(conversion, asked, store, source, before, length, out, stage)
        tell(f"Training: its curves are in {out / RUN / PAGE}")
        train(config, out / RUN, resume="if_exists", stage=stage, tell=tell)
        gc.collect()  # what was trained with is in cycles, and an export takes memory, too
        exported = _exported(source, out, gguf, stage)
        written = _written(conversion, before, out, stage)
        speed = _speed(store, config, out, stage) if conversion.recipe.speed else {}
        results = {
            "byteproxy": byteproxy.__version__,
            **results_of(conversion, source, store, out / RUN, before, written),
            "speed": speed,
            "export": exported,
            "report": str(out / PAGE),
        }
        write_conversion_page(results, out / PAGE)
        write_aside(out / RESULTS, json.dumps(results, indent=1).encode())
    return results


def _ensure_one_process() -> None:
    """InputError where torchrun started several: each of them would convert the model."""
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        raise InputError(
            "a conversion runs on one process: start it without torchrun, or let several train by "
            "`torchrun -m byteproxy.cli.main train convert --from MODEL --corpus DIR`"
        )


def _looked_at(conversion: Conversion, out: Path, gguf: bool) -> FoundModel:
    """The model of a new conversion, which fits into this machine; nothing of it is loaded."""
    found = find(conversion.model)
    ensure_room(conversion.recipe, found.described, conversion.sources, out, gguf)
    return found


def _ensure_exportable_still(source: SourceModel, out: Path) -> None:
    """InputError where llama.cpp, for which nothing was asked when the conversion began, lacks what its model has."""
    begun = (out / RUN / CONFIG).is_file()
    shape = read_run_config(out / RUN).model if begun else published(Path(find_again(source).path)).stock.shape
    ensure_exportable(Path(source.path), shape)


def _remembered(
    conversion: Conversion, out: Path, found: FoundModel | None, stage: Stage
) -> tuple[SourceModel, Transformer | None]:
    """The model that the conversion began with, as it is noted in its folder beside a copy of its tokenizer.

    A new one is loaded, to see that its tokenizer is its own, and given as training begins with it.
    """
    noted = read_checksummed(out / SOURCE)
    if noted is not None:
        return SourceModel(**noted), None
    assert found is not None, "nobody else writes into the folder"
    source, view = found.remembered(), found.described.view
    run = run_of(conversion.recipe, found.described)
    run = replace(run, start=replace(source.start, byte_rows=run.start.byte_rows))
    model = started_model(run, Vocab((view.alphabet_size,)), stage)
    ensure_its_own(model, view, source, conversion.sources, stage)
    view.save(out / TOKENIZER)
    write_checksummed(out / SOURCE, source.written())
    return source, model


def _prepared(conversion: Conversion, out: Path, stage: Stage) -> Store:
    """The corpus, with the tokenizer as a view of it; once it is there, nobody looks at its sources again."""
    view = BpeView.load(out / TOKENIZER)
    if (out / CORPUS / MANIFEST).is_file():
        store = Store.open(out / CORPUS)
        if any(one.fingerprint == view.fingerprint for one in store.manifest.views):
            return store
    preparation = Preparation(split=conversion.recipe.split)
    return build_corpus(conversion.sources, [str(out / TOKENIZER)], out / CORPUS, preparation, None, stage).store


def _before(
    conversion: Conversion,
    asked: TrainConfig,
    store: Store,
    source: SourceModel,
    model: Transformer | None,
    out: Path,
    stage: Stage,
) -> Mapping[str, Any]:
    """What the model can do when training begins, and the type that its products are made in.

    model: as training begins with it; None: it is loaded where it is needed.
    """
    noted = read_checksummed(out / BEFORE)
    if noted is None:
        there = find_again(source)
        config = fitted_to_start(asked, store, Path(there.path))
        config = replace(config, dtype=fastest_dtype(config.device) if config.dtype == "auto" else config.dtype)
        begin = time.perf_counter()
        if model is None:
            model = started_model(config, Vocab((store.view(config.views[0]).alphabet_size,)), stage)
        noted = measured_before(config, store, model, conversion.recipe.samples, stage)
        noted |= {"dtype": config.dtype, "seconds": round(time.perf_counter() - begin, 1)}
        write_checksummed(out / BEFORE, noted)
    return noted


def _with_length(
    conversion: Conversion,
    asked: TrainConfig,
    store: Store,
    source: SourceModel,
    before: Mapping[str, Any],
    length: Length | None,
    out: Path,
    stage: Stage,
) -> TrainConfig:
    """The run with its steps counted, the same each time that it is asked for."""
    asked = replace(asked, dtype=before["dtype"])
    noted = read_checksummed(out / LENGTH)
    if noted is None:
        there = find_again(source)
        config = fitted_to_start(asked, store, Path(there.path))
        config = config if length is None else replace(config, stop=length(config, store))
        config = resolved(config, store, stage)
        noted = {"stop": config.stop, "start": there.path}
        write_checksummed(out / LENGTH, noted)
    config = replace(asked, stop=noted["stop"])
    config = replace(config, validate_every=steps_between_evaluations(conversion.recipe, config.steps))
    started = newest(out / RUN / CHECKPOINTS) is not None
    place = noted["start"] if started else find_again(source).path
    return replace(config, start=replace(config.start, path=place))


def _exported(source: SourceModel, out: Path, gguf: bool, stage: Stage) -> dict[str, Any]:
    """The byte model in its folder: what is there and whole stays, what a stopped conversion left makes room."""
    folder = out / MODEL
    if not _is_whole(folder, gguf):
        shutil.rmtree(folder, ignore_errors=True)
        with stage("export", "models") as progress:
            origin = Origin(license=source.license, base_model=source.hub_name)
            load(out / RUN, device="cpu").export(folder, gguf, origin)
            progress(1, 1)
    return {
        "folder": str(folder),
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }


def _is_whole(folder: Path, gguf: bool) -> bool:
    """Whether an export is there, with all that is asked for."""
    if not folder.is_dir() or (gguf and not (folder / GGUF).is_file()):
        return False
    try:
        ensure_unaltered(folder)
    except InputError:
        return False
    return True


def _written(conversion: Conversion, before: Mapping[str, Any], out: Path, stage: Stage) -> Written:
    noted = read_checksummed(out / SAMPLES)
    if noted is None:
        noted = written_as_bytes(out / MODEL, conversion.recipe.samples, before["cuts"], stage)._asdict()
        write_checksummed(out / SAMPLES, noted)
    return Written(**noted)


def _speed(store: Store, config: TrainConfig, out: Path, stage: Stage) -> dict[str, Any]:
    """How fast it writes, measured once; config: of the run."""
    noted = read_checksummed(out / SPEED)
    if noted is None:
        asked = config.validation
        texts = held_out_texts(store, "validation", asked.bytes, asked.document_bytes)
        noted = measured_speed(out / RUN, out / MODEL, BpeView.load(out / TOKENIZER), texts, stage)
        write_checksummed(out / SPEED, noted)
    return noted


def _finished(out: Path, gguf: bool) -> dict[str, Any] | None:
    """The results of a conversion that is done, whose model is there as it was written."""
    if not (out / RESULTS).is_file() or not (out / PAGE).is_file() or not _is_whole(out / MODEL, gguf):
        return None
    try:
        found = read_json(out / RESULTS)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
