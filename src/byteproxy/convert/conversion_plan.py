"""What a conversion would take, before anything is loaded: steps, time, memory and disk, and whether they are there.

The model is known by its config and its tokenizer, the text by the sizes of its files. Costs a second or two, and of a
model on the Hub a look at its small files.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from byteproxy.convert.conversion import ConvertRecipe, steps_between_evaluations
from byteproxy.corpus.source import sources as read_sources
from byteproxy.errors import InputError
from byteproxy.evaluate.amounts import sized
from byteproxy.interop.gguf import ensure_known
from byteproxy.model.model_config import ModelConfig
from byteproxy.runs.source_model import Described
from byteproxy.runs.start import with_shape
from byteproxy.train.memory import min_parameters, short_of_memory
from byteproxy.train.run_plan import AssumedView, RunPlan, plan_run
from byteproxy.train.train_config import TrainConfig
from byteproxy.vocab import FIRST_SYMBOL

_CORPUS_SHARE = 4  # times its text, that a corpus takes while it is made: staged, written, symbols and spans
_SAMPLE = Path(__file__)  # text of the kind that is read, to see how long symbols are
_WEIGHT, _MOMENTS = 4, 2
_FORWARD = 1 / 3  # of a training step's FLOPs
_SPARE = 100 << 20


@dataclass(frozen=True)
class ConversionPlan:
    """Figures of a conversion.

    run: of the joint phase. corpus_bytes: of text that the sources hold, about. disk_bytes: that the folder takes at
    its largest. exported_bytes: of those, the byte model's weights and its heads. seconds: of training;
    evaluation_seconds: of all evaluations beside it. short: what this machine's memory lacks, in words; empty if
    nothing.
    """

    run: RunPlan
    corpus_bytes: int
    disk_bytes: int
    exported_bytes: int
    seconds: float
    evaluation_seconds: float
    short: str


def run_of(recipe: ConvertRecipe, model: Described) -> TrainConfig:
    """The joint phase with the model's shape, and its tokenizer as its view; without a corpus and a start yet."""
    return replace(with_shape(recipe.run, model.shape), views=(model.view.name,))


def plan_conversion(
    recipe: ConvertRecipe, model: Described, sources: Sequence[str], gguf: bool = False, rate: float | None = None
) -> ConversionPlan:
    """What a conversion would take.

    rate: FLOPs per second that training reaches; None measures this machine, as `plan_run` does.
    Raises InputError where a source can't be read, recipe and model don't fit together, or llama.cpp lacks what the
    model has and it is to be exported for it.
    """
    if gguf:
        ensure_exportable(model.path, model.shape)
    config = run_of(recipe, model)
    sample = _SAMPLE.read_bytes()
    view = AssumedView(model.view.alphabet_size, len(sample) / len(model.view.encode(sample).symbols))
    run = plan_run(config, None, rate, view)
    corpus_bytes = sum(unit.size for source in read_sources(sources) for unit in source.units())
    exported = _WEIGHT * (run.raw_parameters + config.model.byte_head_parameters)
    seen = recipe.run.validation
    stride = seen.stride or max(1, config.shape.context_bytes // 2)
    positions = seen.bytes * config.shape.context_bytes / stride * (1 + 1 / view.bytes_per_symbol)
    evaluation = positions * _FORWARD * run.step_flops / run.step_positions / run.rate
    symbols = FIRST_SYMBOL + view.alphabet
    evaluations = 1 + -(-run.steps // steps_between_evaluations(recipe, run.steps))
    return ConversionPlan(
        run=run,
        corpus_bytes=corpus_bytes,
        disk_bytes=_disk(config, min_parameters(config, symbols), exported, corpus_bytes, gguf),
        exported_bytes=exported,
        seconds=run.seconds,
        evaluation_seconds=evaluations * evaluation,
        short=short_of_memory(replace(config, dtype=run.dtype), symbols),
    )


def ensure_room(recipe: ConvertRecipe, model: Described, sources: Sequence[str], out: Path, gguf: bool) -> None:
    """InputError where a conversion needs more memory than this machine has, or more disk than is free at its folder.

    What the folder holds already counts as free. InputError, too, for what `plan_conversion` refuses.
    """
    if gguf:
        ensure_exportable(model.path, model.shape)
    config, symbols = run_of(recipe, model), FIRST_SYMBOL + model.view.alphabet_size
    if short := short_of_memory(config, symbols):
        raise InputError(
            f"converting {model.path} {short}: take a smaller model, a machine with more, or a smaller "
            "run.shape.sequences_per_step"
        )
    parameters = min_parameters(config, symbols)
    corpus_bytes = sum(unit.size for source in read_sources(sources) for unit in source.units())
    exported = _WEIGHT * (config.model.raw_parameters() + config.model.byte_head_parameters)
    needed = _disk(config, parameters, exported, corpus_bytes, gguf)
    place = next(path for path in (out, *out.absolute().parents) if path.is_dir())
    there = shutil.disk_usage(place).free + _size_of(out)
    if there < needed:
        raise InputError(
            f"{out} has {sized(there, 'B')} free, and the conversion needs about {sized(needed, 'B')} for its corpus, "
            "checkpoints and the exported model: free some, or give another --out"
        )


def ensure_exportable(path: Path, shape: ModelConfig) -> None:
    """InputError where llama.cpp, for which a byte model of this shape is to be exported, lacks something of it."""
    try:
        ensure_known(shape)
    except InputError as error:
        raise InputError(f"{path} can't be converted for llama.cpp: {error}") from error


def _disk(config: TrainConfig, parameters: int, exported: int, corpus_bytes: int, gguf: bool) -> int:
    """Bytes: checkpoints that are kept, and the one being written; the export, whose files are written aside."""
    trained = config.lora.trained_parameters(config.model, parameters)
    checkpoint = _WEIGHT * (parameters + _MOMENTS * trained)
    return _CORPUS_SHARE * corpus_bytes + (config.keep + 1) * checkpoint + (1 + gguf) * exported + _SPARE


def _size_of(folder: Path) -> int:
    """Bytes of all files in a folder; one that goes away meanwhile counts nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except OSError:
            continue
    return total
