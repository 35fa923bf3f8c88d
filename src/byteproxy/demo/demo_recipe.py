"""The recipe of a demo: a model that learns bytes beside one from scratch, or several arms from scratch.

From scratch they share a corpus, a view, a shape and their training FLOPs.
"""

from dataclasses import dataclass, field

from byteproxy.convert.conversion import ConvertRecipe
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.model_config import ModelConfig
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import DTYPES, MAX_SEED


@dataclass(frozen=True)
class Sample:
    """The continuation that is shown at the end.

    arm: whose model writes. prompt: what it continues. max_bytes: how many it writes at most.
    """

    arm: str
    prompt: str = "def "
    max_bytes: int = ranged(300, 1, 1 << 30)
    temperature: float = ranged(0.6, 0.0, 1e6)

    def __post_init__(self) -> None:
        ensure_in_range(self, "sample.")


@dataclass(frozen=True)
class Scoring:
    """What is measured on text that no arm has seen.

    validation_bytes, test_bytes: of text from each split, taken from documents in a keyed order.
    document_bytes: the most that one document gives, from its start, so that no long one dominates.
    evaluations: measurements during training, the last at its end.
    stride: bytes by which windows move on; a window is as long as a passage.
    """

    validation_bytes: int = ranged(40_000, 1, 1 << 50)
    test_bytes: int = ranged(500_000, 1, 1 << 50)
    document_bytes: int = ranged(20_000, 1, 1 << 50)
    evaluations: int = ranged(8, 1, 1 << 40)
    stride: int = ranged(256, 1, 1 << 30)

    def __post_init__(self) -> None:
        ensure_in_range(self, "scoring.")


@dataclass(frozen=True)
class DemoRecipe:
    """A recipe.

    minutes: training time of all together on this machine; sets the FLOPs that each gets.
    scratch_minutes: the same of a demo without a model, unless it is asked for otherwise.
    seed: of the weights, the mixture and the sample.
    alphabet: symbols of the BPE view.
    dtype: of activations and matrix products: "float32", "bfloat16", or "auto" for the faster one on this machine.
    arms: the mixture of each that begins from scratch; all else is the same for all.
    beside: the arm that is trained beside a model that learns bytes, on its text and with as many FLOPs.
    convert: how a model learns bytes. Where it stops follows from the minutes.
    held_out: what the text is, in words, on which both are measured.
    """

    arms: dict[str, Mixture]
    sample: Sample
    minutes: float = ranged(6.0, 0.0, 1e7, above=True)
    scratch_minutes: float = ranged(3.0, 0.0, 1e7, above=True)
    beside: str = "bytes"
    held_out: str = "text that neither was shown"
    seed: int = ranged(0, 0, MAX_SEED)
    alphabet: int = ranged(4096, 257, 1 << 20)
    dtype: str = "auto"
    split: SplitOptions = field(default_factory=SplitOptions)
    model: ModelConfig = field(default_factory=ModelConfig)
    shape: Shape = field(default_factory=Shape)
    optim: OptimConfig = field(default_factory=OptimConfig)
    scoring: Scoring = field(default_factory=Scoring)
    convert: ConvertRecipe = field(default_factory=ConvertRecipe)

    def __post_init__(self) -> None:
        ensure_in_range(self)
        if self.dtype not in ("auto", *DTYPES):
            raise InputError(f"dtype is {self.dtype!r}: give auto or one of {', '.join(DTYPES)}")
        if not self.arms:
            raise InputError("arms is empty: name at least one")
        for name, arm in (("sample.arm", self.sample.arm), ("beside", self.beside)):
            if arm not in self.arms:
                raise InputError(f"{name} is {arm!r}: give one of {', '.join(self.arms)}")
        if self.arms[self.beside].needs_view:
            raise InputError(f"beside is {self.beside!r}, which shows compressed text: give an arm of raw bytes alone")
        if not 1 <= self.scoring.stride <= self.shape.context_bytes:
            raise InputError(
                f"scoring.stride is {self.scoring.stride}: give 1 to shape.context_bytes ({self.shape.context_bytes})"
            )


@dataclass(frozen=True)
class Demo:
    """A demo as it is asked for.

    model: the one that learns bytes; empty: all begin from scratch. sources: of its text, as `byteproxy convert` takes
    them.
    """

    recipe: DemoRecipe
    model: str = ""
    sources: tuple[str, ...] = ()
