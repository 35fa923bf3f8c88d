"""The Python API: what the commands do, as functions. `import byteproxy` gives them all.

Each function imports what it needs when it is called, as torch takes seconds. All of them take folders as text or
`Path`, raise `byteproxy.errors.InputError` (a `ValueError`) for what the caller can mend, and take `stage`, which shows
progress: `byteproxy.cli.progress.stage` draws bars on stderr, and the default shows nothing.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from byteproxy.progress import Stage, quietly
from byteproxy.ranges import checked

if TYPE_CHECKING:
    from byteproxy.convert.conversion import ConvertRecipe
    from byteproxy.mixture.batches import Batches
    from byteproxy.mixture.planner import State
    from byteproxy.mixture.schedule import Mixture
    from byteproxy.store.store import Store
    from byteproxy.train.train_config import TrainConfig
    from byteproxy.views.base import View

Folder: TypeAlias = str | Path


def _several(given: Folder | Iterable[Folder]) -> list[str]:
    """What was named, where one or several may be."""
    return [str(one) for one in ([given] if isinstance(given, str | Path) else given)]


@checked
def prepare(
    sources: Folder | Iterable[Folder],
    out: Folder,
    *,
    views: Folder | Iterable[Folder] = (),
    validation: float = 0.05,
    test: float = 0.10,
    salt: str = "",
    hold_out: str | Iterable[str] = (),
    min_bytes: int = 1,
    max_bytes: int = 64 << 20,
    invalid: Literal["keep", "drop", "repair"] = "keep",
    near_duplicates: Literal["held_out", "train", "keep"] = "held_out",
    max_faulty: float = 0.01,
    workers: int | None = None,
    stage: Stage = quietly,
) -> "Store":
    """Make a corpus out of sources: documents split by project, without copies, and encoded by views.

    Stopped at any moment, the same call goes on from there; called again, it does what is missing. It costs a
    pass over the sources, which the workers share, and meanwhile twice their text on disk.

    Args:
        sources: What to read, one or several: "stdlib", "installed", or the path of a file or folder, with options
            behind a colon, as `byteproxy prepare --help` explains them.
        out: Folder of the corpus: new, empty, or the same corpus from before.
        views: Views to encode the text with, one or several, such as "bpe:4096", "gzip", or the file of a trained view.
        validation: Share of the text held out for choosing between settings.
        test: Share of the text held out for what is reported.
        salt: Any text; each text draws a split of its own.
        hold_out: Projects to put in the test split: "PROJECT" or "SOURCE/PROJECT", with "validation:" before those that
            belong there.
        min_bytes: Bytes that a document has at least.
        max_bytes: Bytes that a document has at most; 0: no limit.
        invalid: What becomes of text that is not UTF-8: its bytes are kept, the document is dropped, or it is repaired
            with U+FFFD.
        near_duplicates: The split that loses a document if a training and a held-out document are much alike; "keep"
            drops none.
        max_faulty: Share of all records that may be damaged.
        workers: Processes that read; None: one for each core that this process may use.
        stage: Shows progress.

    Returns:
        The corpus, as `open_corpus` gives it.

    Raises:
        InputError: A source or view can't be used, too many records are damaged, `out` holds another corpus, or the
            disk is full.
    """
    from byteproxy.corpus.records import Rules
    from byteproxy.corpus.split import SplitOptions
    from byteproxy.store.build import build_corpus
    from byteproxy.store.prepare import Preparation

    preparation = Preparation(
        split=SplitOptions(validation, test, salt, tuple(_several(hold_out))),
        rules=Rules(min_bytes, max_bytes, invalid),
        near_duplicates=near_duplicates,
        max_faulty=max_faulty,
    )
    return build_corpus(_several(sources), _several(views), Path(out), preparation, workers, stage).store


@checked
def open_corpus(folder: Folder) -> "Store":
    """Open a prepared corpus.

    Costs a look at the size of each file: files are mapped into memory when they are first read, and checked then.

    Args:
        folder: Folder that `prepare` (or `byteproxy prepare`) filled.

    Returns:
        The corpus. `documents("train")` (or "validation", "test") iterates over documents with their `text` (bytes),
        `id`, `source`, `project` and `language`; `view(name)` gives a view that the corpus was encoded by; `manifest`
        has all counts; `verify()` compares every file with its checksum.

    Raises:
        InputError: The folder holds no corpus, or a file is missing, of another size or of another version.
    """
    from byteproxy.store.store import Store

    return Store.open(Path(folder))


@checked
def view(
    spec: str,
    corpus: "Store | Folder | None" = None,
    *,
    texts: Iterable[bytes] | None = None,
    stage: Stage = quietly,
) -> "View":
    """Make, train or load a view, which turns bytes into symbols.

    Training costs from a second (`bpe`, `codebook`, on some 20 MB) to minutes (`neural`). A view that is trained on a
    corpus is kept in the corpus's folder, so the second call loads it.

    Args:
        spec: A kind with options ("bpe", "bpe:4096", "codebook:bits=12,parse=greedy"; `byteproxy views list` has all of
            them), the file of a trained view, a tokenizer.json or its folder, or the name of one of the corpus's own
            views ("bpe-4096").
        corpus: Corpus whose train split the view is trained on, or its folder.
        texts: Texts to train on, in place of a corpus; such a view is kept nowhere until you `save(path)` it.
        stage: Shows progress.

    Returns:
        The view. `encode(document)` gives `symbols` (uint16 or uint32 [n]) and `span_bytes` (uint32 [n]: bytes of the
        document that each symbol covers); `decode(symbols)` gives bytes; `encode_batch(documents)` uses all cores.

    Raises:
        InputError: The spec names no view, or one that needs training where nothing to train on is given.
    """
    from byteproxy.errors import InputError
    from byteproxy.store.store import Store
    from byteproxy.store.trained_views import trained_for
    from byteproxy.views import registry

    store = corpus if corpus is None or isinstance(corpus, Store) else open_corpus(corpus)
    if store is not None and any(spec == known.name for known in store.manifest.views):
        return store.view(spec)
    if not registry.needs_training(spec):
        return registry.build(spec, lambda: ()).view
    if texts is not None:
        with stage(f"train {spec}", registry.training_unit(spec)) as progress:
            return registry.build(spec, lambda: texts, progress).view
    if store is None:
        raise InputError(f"view {spec} has to be trained: give a corpus, or texts to train it on")
    return trained_for(store, spec, stage).view


@checked
def stream(
    corpus: "Store | Folder",
    recipe: "Folder | Mixture" = "paper",
    *,
    arm: str | None = None,
    views: str | Sequence[str] = (),
    steps: int | None = None,
    seed: int | None = None,
    sequences_per_step: int | None = None,
    sequence_length: int | None = None,
    context_bytes: int | None = None,
    rank: int = 0,
    ranks: int = 1,
    micro_sequences: int | None = None,
    state: "State | None" = None,
    stage: Stage = quietly,
) -> "Batches":
    """Give the training stream of a corpus as batches, for a trainer of your own.

    The stream is a pure function of corpus, mixture and seed: the same rows for any number of ranks, micro-batches and
    loader processes. Costs a table of all passages the first time that a corpus is used with these views (seconds a
    gigabyte), and then a copy of the symbols that are shown.

    Args:
        corpus: The corpus, or its folder.
        recipe: What is shown when: a preset ("paper", "coarse_first", "bytes", "symbols"), a recipe that comes with
            byteproxy ("3m"), a TOML file of a run, a study or a mixture, or a `Mixture`.
        arm: Which arm, where the recipe is a study.
        views: Names of views, one or several, that the corpus holds, representations 1 and up; empty: the recipe's
            own, or, where the mixture needs one, the first aligned one.
        steps: Optimizer steps of the whole run, of which the mixture's phases are shares; None: the recipe's, or 1000.
        seed: Of all draws; None: the recipe's, or 0.
        sequences_per_step: Rows of one optimizer step, over all ranks.
        sequence_length: Positions of a row.
        context_bytes: Bytes of the longest passage.
        rank: Number of this process.
        ranks: How many processes share each step.
        micro_sequences: Rows of a batch at most; None: all rows that a rank has of a step.
        state: State to go on from: `following` of the last batch that was used; None: the beginning.
        stage: Shows progress.

    Returns:
        Batches to iterate over, each of numpy arrays `symbols`, `targets` (int64 [rows, positions]; targets are -1
        where there is none), `representations`, `documents` and `positions`. `vocab_size` is what an embedding needs.
        `byteproxy.mixture.batches.BatchDataset(batches)` gives tensors for `torch.utils.data.DataLoader`.

    Raises:
        InputError: The recipe, the corpus and the numbers don't fit together.
    """
    from byteproxy.mixture.batches import Batches, Part
    from byteproxy.recipes.named import Recipe, recipe_of

    store = open_corpus(corpus) if isinstance(corpus, str | Path) else corpus
    asked = recipe_of(str(recipe), arm) if isinstance(recipe, str | Path) else Recipe(recipe)
    shape = {
        "sequences_per_step": sequences_per_step,
        "sequence_length": sequence_length,
        "context_bytes": context_bytes,
    }
    given = {name: value for name, value in shape.items() if value is not None}
    asked = asked._replace(
        shape=replace(asked.shape, **given),
        steps=asked.steps if steps is None else steps,
        seed=asked.seed if seed is None else seed,
    )
    with stage("find passages", "passages") as progress:
        found = asked.stream(store, tuple(_several(views)), progress)
    return Batches(found, Part(rank, ranks, micro_sequences), state)


@checked
def train(
    recipe: "str | Path | TrainConfig | None",
    out: Folder,
    changes: Mapping[str, Any] | None = None,
    *,
    resume: Literal["no", "if_exists", "yes"] = "no",
    stage: Stage = quietly,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Train a run to its last step, on this process or on those that torchrun started.

    Stopped or killed at any moment, it goes on from its newest checkpoint to the same weights. Costs what the run
    costs (`byteproxy train --plan` says so before), and for each checkpoint up to three times the model's float32
    weights on disk.

    Args:
        recipe: What to train: a recipe that comes with byteproxy ("3m"), a TOML file, or a `TrainConfig`
            (`byteproxy.train.train_config`). With resume="yes": None, for the configuration in the run's folder.
        out: Folder of the run; afterwards it holds `config.toml`, `lineage.json`, `metrics.jsonl`, `checkpoints/` and
            the page `report.html`.
        changes: Values in place of the recipe's, nested as there: `{"corpus": "runs/corpus", "stop": "10 minutes",
            "model": {"width": 320}}`. A corpus has to be named here or in the recipe. `{"start": {"path": PATH}}`
            begins with the published model there, in place of random weights.
        resume: "no": a new run in a new or empty folder. "if_exists": go on where the folder holds this very run.
            "yes": go on with the run in the folder; `changes` may name fields that decide no weight, and a longer
            `stop`.
        stage: Shows progress.
        say: Takes sentences for people, on rank 0.

    Returns:
        The figures of the run: `raw_bpb` (bits per byte of validation text), `flops`, `text_bytes`, `page` and more;
        nothing on ranks other than 0.

    Raises:
        InputError: Recipe, corpus, start and folder don't fit together, naming the field; or nothing can be written.
        KeyboardInterrupt: The run was stopped; what it did is saved.
    """
    from byteproxy.recipes.named import changed, run_named
    from byteproxy.train.run_config import read_run_config
    from byteproxy.train.train_config import TrainConfig
    from byteproxy.training import train as train_run

    if recipe is None:
        config = read_run_config(Path(out))
    else:
        config = recipe if isinstance(recipe, TrainConfig) else run_named(str(recipe))
    return train_run(changed(config, changes or {}), out, resume=resume, stage=stage, tell=say)


@checked
def convert(
    model: Folder,
    out: Folder,
    sources: Folder | Iterable[Folder] = (),
    *,
    minutes: float | None = None,
    positions: int | None = None,
    stdlib: bool = True,
    recipe: "str | Path | ConvertRecipe" = "convert",
    changes: Mapping[str, Any] | None = None,
    gguf: bool = False,
    stage: Stage = quietly,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Let a model of tokens learn to read and write raw bytes, and export it as a stock model of bytes.

    Its tokenizer becomes a view of the text, and a short joint phase shows it half of the passages as tokens and half
    as bytes. Stopped or killed at any moment, the same call goes on. Costs the training time that is asked for, some
    minutes of evaluations, memory for four times the weights in float32, and on disk up to six times
    (`byteproxy convert --plan` says so before).

    Args:
        model: Folder of a published model with its tokenizer.json, a GGUF file (needs `byteproxy[gguf]`), or
            "hf:ORG/NAME" or "hf:ORG/NAME/FILE.gguf" (needs `byteproxy[hub]`).
        out: Folder of the conversion: new, empty, or this very conversion. Afterwards it holds `model/`, the byte
            model, `run/`, the joint phase, `results.json` and the page `report.html`.
        sources: Text to learn from beside the standard library, one source or several, as `prepare` takes them.
        minutes: Training time, about. None, and no positions: as the recipe says, 10.
        positions: Length of the training in positions, in place of a time.
        stdlib: Whether the standard library of this Python is read, too.
        recipe: "convert", a TOML file with the same fields, or a `ConvertRecipe` (`byteproxy.convert.conversion`).
        changes: What is to differ from the recipe, nested as there: `{"run": {"optim": {"learning_rate": 1e-4}}}`.
        gguf: Export `model.gguf` for llama.cpp, too (needs `byteproxy[gguf]`).
        stage: Shows progress.
        say: Is told sentences for people.

    Returns:
        All figures, as `results.json` has them: bits per byte of held-out text, raw and through its own tokenizer,
        under `["before"]` and `["after"]`; what it cost under `["cost"]`; the byte model's folder in
        `["export"]["folder"]`.

    Raises:
        InputError: The model can't be converted, which says why; it doesn't fit into this machine; `out` holds
            something else, or a conversion that was asked for otherwise, naming the field; or nothing can be written.
        KeyboardInterrupt: It was stopped; what it did is saved.
    """
    from byteproxy.convert.conversion import Conversion, ConvertRecipe, sources_of, with_length
    from byteproxy.convert.run_conversion import run_conversion
    from byteproxy.recipes.named import changed, convert_recipe
    from byteproxy.runs.source_model import named

    known = recipe if isinstance(recipe, ConvertRecipe) else convert_recipe(str(recipe))
    known = with_length(changed(known, changes or {}), minutes, positions)
    conversion = Conversion(named(str(model)), sources_of(tuple(_several(sources)), stdlib), known)
    return run_conversion(conversion, Path(out), gguf, stage, say)


@checked
def evaluate(
    runs: "Folder | Sequence[Folder]",
    measure: Literal["bpb", "transfer"] = "bpb",
    *,
    corpus: Folder | None = None,
    split: Literal["validation", "test"] = "validation",
    max_bytes: int = 200_000,
    document_bytes: int = 20_000,
    stride: int | None = None,
    passages: int = 200,
    stage: Stage = quietly,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure runs on held-out text of their corpus.

    Costs what reading the text costs: with a stride of half a window, a forward pass over twice the text for the raw
    bytes, and about as much for each view. Opening the test split adds a line to `opened.jsonl` in each run's folder.

    Args:
        runs: Folder of a run, or of several, which are scored on the same text and compared.
        measure: "bpb": bits per byte, raw and in each view, beside PPMd, xz and zstd on the same text. "transfer":
            translation, transfer gap and retrieval between raw bytes and compressed text.
        corpus: Where the corpus is now; None: where each run found it.
        split: Which held-out split of the corpus.
        max_bytes: For "bpb": bytes of text to score, spread over sources, languages and projects.
        document_bytes: For "bpb": the most that one document gives.
        stride: For "bpb": bytes by which windows move on; None: half a window.
        passages: For "transfer": how many passages.
        stage: Shows progress.
        say: Takes a line for people when the test split is opened.

    Returns:
        All figures, as `byteproxy eval bpb --json` or `byteproxy eval transfer --json` prints them: `["runs"][name]`
        has those of each run, bits per byte of text in `["raw_bpb"]`.

    Raises:
        InputError: A folder holds no run, the corpus is not the run's own, or the runs would read different texts.
    """
    from byteproxy.ranges import ensure_one_of
    from byteproxy.train.run_config import read_run_config

    ensure_one_of("measure", measure, ("bpb", "transfer"))
    ensure_one_of("split", split, ("validation", "test"))
    folders = [Path(one) for one in _several(runs)]
    for folder in folders:
        read_run_config(folder)  # what holds no run is refused before torch is imported
    from byteproxy.evaluate.runs import bpb_of_runs, transfer_of_runs

    place = None if corpus is None else Path(corpus)
    if measure == "transfer":
        return transfer_of_runs(folders, place, split, passages, stage, say)
    return bpb_of_runs(folders, place, split, max_bytes, document_bytes, stride, stage, say)
