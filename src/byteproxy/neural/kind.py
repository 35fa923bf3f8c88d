"""`neural` as a kind of view: train a predictor on the text, expand it, and keep both in one file.

It stands here and not with the other kinds because it needs the trainer; the entry point names it all the same. What
is heavy to import is imported when something is trained or cut.

Making one costs the minutes of training that are asked for, and expanding (`neural_tree`). Opening a file costs a
second or two.
"""

import functools
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from byteproxy.errors import InputError
from byteproxy.progress import Progress, Stage, silent
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.views.coder import LONGEST, Code
from byteproxy.views.neural_tree import Tree, expanded, pruned
from byteproxy.views.neural_view import MAX_NODES, WIDEST_SYMBOL, Compiled, NeuralView
from byteproxy.views.segments import Criterion, thresholds

if TYPE_CHECKING:
    from byteproxy.neural.predictor import ModelPredictor

SAMPLE_BYTES, CONTEXT_BYTES = 1_000_000, 100_000
"""Text from which thresholds are found: by a walk, and by a pass of the model, which costs far more."""


@dataclass(frozen=True)
class NeuralOptions:
    """How a neural view is made.

    bits: W, of a window.
    size: millions of matrix parameters of the predictor.
    minutes: that it is trained. steps: of the optimizer, in place of minutes; 0: minutes.
    parts: symbols that a window is written as; bits / parts is at most 20.
    precision: P, bits of a count.
    segments: where windows end early; see `neural_view`.
    criterion, quantile: for segments; see `segments`. A walk looks at strings, so that one with a rise continues its
        own prefix.
    raw: bytes from which on a window is never left raw; 0: none is. See `raw_stretches`.
    seed: of the predictor and its windows.
    """

    bits: int = 16
    size: Literal["1m", "2m", "6m", "40m"] = "1m"
    minutes: float = ranged(10.0, 0.0, 1e6, above=True)
    steps: int = ranged(0, 0, 2**62 - 1)
    parts: int = 1
    precision: int = 16
    segments: Literal["none", "walk", "context"] = "none"
    criterion: Criterion = "global"
    quantile: float = ranged(0.9, 0.0, 1.0, above=True, below=True)
    raw: int = ranged(0, 2, LONGEST, or_zero=True)
    seed: int = ranged(0, 0, 2**63 - 1)

    def __post_init__(self) -> None:
        _ = self.code
        if not (1 <= self.parts <= 4 and self.bits % self.parts == 0 and self.bits // self.parts <= WIDEST_SYMBOL):
            raise InputError(
                f"neural option parts is {self.parts}: give 1 to 4 that divides bits ({self.bits}) into "
                f"symbols of at most {WIDEST_SYMBOL} bits"
            )
        ensure_in_range(self, "neural option ")

    @property
    def code(self) -> Code:
        """The code of its windows; InputError where there can't be one."""
        return Code(self.bits, self.precision)

    @property
    def stop(self) -> str:
        """How long training is, as `TrainConfig` has it."""
        return f"{self.steps} steps" if self.steps else f"{self.minutes:g} minutes"

    @property
    def label(self) -> str:
        """What of them a view's name tells beyond its own parts, where it isn't the default."""
        usual = NeuralOptions()
        parts: list[str] = [self.size] if self.size != usual.size else []
        parts += [self.criterion] if self.segments != "none" and self.criterion != usual.criterion else []
        parts += [f"quantile{self.quantile:g}"] if self.segments != "none" and self.quantile != usual.quantile else []
        parts += [f"seed{self.seed}"] if self.seed else []
        return "-".join(parts)


class NeuralKind(NeuralView):
    """A neural view that can be made from text, and cut text by a pass of its own predictor."""

    Options: ClassVar = NeuralOptions
    summary: ClassVar = "windows of equal information under a small model, compiled"
    trained: ClassVar = True
    slow: ClassVar = True
    resumes: ClassVar = True
    progress_unit: ClassVar = "steps"

    @classmethod
    def make(
        cls,
        options: NeuralOptions,
        texts: Iterable[bytes],
        progress: Progress = silent,
        unfinished: Path | None = None,
    ) -> "NeuralKind":
        """A view whose predictor is trained on `texts`. progress: optimizer steps.

        unfinished: folder of the training, where a stopped one goes on; None: one that is gone afterwards.
        Raises InputError where there is too little text, and where too many strings fit.
        """
        from byteproxy.neural.predictor_training import trained

        kept: list[bytes] = []
        reached = (0, 0)

        def steps(done: int, total: int, note: str = "") -> None:
            nonlocal reached
            reached = done, total
            progress(done, total, note)

        with nullcontext(unfinished) if unfinished else tempfile.TemporaryDirectory() as folder:
            given = _sampled(texts, kept)
            predictor = trained(
                given, Path(folder), options.size, options.stop, options.seed, options.precision, _only_steps(steps)
            )
        if not kept:  # the training was there already, or its windows
            for _ in given:
                if sum(map(len, kept)) >= SAMPLE_BYTES:
                    break
        return cls.compiled(
            predictor, options, kept, lambda done, _, note="": progress(*reached, f"{done:,} {note or 'strings found'}")
        )

    @classmethod
    def compiled(
        cls, predictor: "ModelPredictor", options: NeuralOptions, sample: Sequence[bytes], progress: Progress = silent
    ) -> "NeuralKind":
        """The view of a predictor that is there. sample: text to find thresholds from.

        progress: strings found, the total being 0; then bytes that are read for thresholds in context.
        """
        begin = time.perf_counter()
        tree = expanded(predictor, options.code, progress, MAX_NODES)
        seconds = time.perf_counter() - begin
        if tree is None:
            raise InputError(
                f"more than {MAX_NODES:,} strings fit into windows of {options.bits} bits: "
                "give fewer, with neural:bits=N"
            )
        context = None
        if options.segments == "walk":
            tree = _cut_by_walk(tree, options, sample)
        elif options.segments == "context":
            bits = _in_context(predictor, _first(sample), lambda done, total, _="": progress(done, total, "bytes read"))
            context = thresholds(bits, options.criterion, options.quantile)
        how = options.parts, options.segments, context, options.raw, options.label
        view = cls._ready(tree, Compiled(options.code, predictor.fingerprint, *how), predictor.to_bytes())
        view.compile_seconds = seconds
        return view

    @classmethod
    def load(cls, path: Path) -> "NeuralKind":
        """What `save` wrote; InputError where it can't be read, is damaged, of another version or of another model."""
        tree, about, weights = cls.opened(path)
        if about.segments == "context":
            _ensure_same_model(about.model, _predictor(weights), str(path))
        return cls._ready(tree, about, weights)

    @classmethod
    def _ready(cls, tree: Tree, about: Compiled, weights: bytes) -> "NeuralKind":
        view = cls(tree, about, weights)
        if about.context is not None:
            view.predict_entropies = _entropy_function(weights)
        return view

    @property
    def predictor(self) -> "ModelPredictor":
        """The model that it was compiled from; InputError if the one in its file is another."""
        predictor = _predictor(self.weights)
        _ensure_same_model(self.about.model, predictor, self.name)
        return predictor


def _sampled(texts: Iterable[bytes], kept: list[bytes]) -> Iterable[bytes]:
    """The texts, the first of which are kept."""
    size = 0
    for text in texts:
        if size < SAMPLE_BYTES:
            kept.append(text)
            size += len(text)
        yield text


def _first(sample: Sequence[bytes]) -> list[bytes]:
    """Texts until CONTEXT_BYTES are together, the last one cut."""
    found, left = [], CONTEXT_BYTES
    for text in sample:
        if left > 0:
            found.append(text[:left])
            left -= len(text)
    return found


def _only_steps(progress: Progress) -> Stage:
    """A stage that reports what is counted in optimizer steps of training, and nothing else."""
    return lambda what, unit: nullcontext(progress if what == "train the predictor" else silent)


def _predictor(weights: bytes) -> "ModelPredictor":
    from byteproxy.neural.predictor import ModelPredictor

    return ModelPredictor.from_bytes(weights)


def _ensure_same_model(compiled: str, predictor: "ModelPredictor", where: str) -> None:
    """InputError unless a predictor is the one with this fingerprint, which a view was compiled from."""
    if predictor.fingerprint != compiled:
        raise InputError(
            f"{where} was compiled from the model {compiled[:12]}, and this one is {predictor.fingerprint[:12]}: "
            "give the model that it came from, or compile it anew"
        )


def _in_context(
    predictor: "ModelPredictor", documents: Sequence[bytes], progress: Progress = silent
) -> list[np.ndarray]:
    import torch

    from byteproxy.neural.entropies import entropies

    return entropies(predictor.model(torch.float32), documents, progress)


def _entropy_function(weights: bytes) -> "Callable[[Sequence[bytes], Progress], list[np.ndarray]]":
    """Entropies by a model that is read when it is first asked."""

    @functools.cache
    def predictor() -> "ModelPredictor":
        return _predictor(weights)

    return lambda documents, progress: _in_context(predictor(), documents, progress)


def _cut_by_walk(tree: Tree, options: NeuralOptions, sample: Sequence[bytes]) -> Tree:
    """The tree without what lies behind strings that are hard to go on from, as often as text meets them."""
    met = _visits(NeuralView(tree, Compiled(options.code, "")), sample)
    rise = tree.entropy - tree.entropy[tree.parent]
    rise[tree.parent < 0] = -np.inf  # the empty string says nothing of what is usual
    inner = tree.depth < tree.depth.max()
    level = _quantile(tree.entropy, met * inner, options.quantile)
    rises = _quantile(rise, met * inner * (tree.parent >= 0), options.quantile)
    high = np.zeros(len(met), dtype=np.bool_)
    if options.criterion != "monotonic":
        high |= tree.entropy > level
    if options.criterion != "global":
        high |= rise > rises
    behind = np.zeros(len(met), dtype=np.bool_)
    own = np.flatnonzero(tree.parent >= 0)
    behind[own] = high[tree.parent[own]]
    return pruned(tree, ~behind)


def _visits(view: NeuralView, sample: Sequence[bytes]) -> np.ndarray:
    """How often a walk over some texts passes each string: int64 [nodes]."""
    met = np.zeros(view.nodes, np.int64)
    for text in sample:
        met += np.bincount(view.windows(text)[:, 0], minlength=view.nodes)
    if not met.any():
        raise InputError("there is no text to find thresholds from: give a larger corpus")
    tree = view.tree
    for depth in range(int(tree.depth.max()), 1, -1):
        own = np.flatnonzero(tree.depth == depth)
        np.add.at(met, tree.parent[own], met[own])
    return met


def _quantile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The least value that at least this share of the weight lies at or below; infinity where nothing weighs."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    if not len(reached) or reached[-1] == 0:
        return float("inf")
    return float(values[order[np.searchsorted(reached, share * reached[-1])]])
