"""The recipe of a demo: one corpus, one view, one model, several arms at equal training FLOPs."""

from dataclasses import dataclass, field

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

    minutes: training time of all arms together on this machine; sets the FLOPs that each arm gets.
    seed: of the weights, the mixture and the sample.
    alphabet: symbols of the BPE view.
    dtype: of activations and matrix products: "float32", "bfloat16", or "auto" for the faster one on this machine.
    arms: the mixture of each; all else is the same for all.
    """

    arms: dict[str, Mixture]
    sample: Sample
    minutes: float = ranged(6.0, 0.0, 1e7, above=True)
    seed: int = ranged(0, 0, MAX_SEED)
    alphabet: int = ranged(4096, 257, 1 << 20)
    dtype: str = "auto"
    split: SplitOptions = field(default_factory=SplitOptions)
    model: ModelConfig = field(default_factory=ModelConfig)
    shape: Shape = field(default_factory=Shape)
    optim: OptimConfig = field(default_factory=OptimConfig)
    scoring: Scoring = field(default_factory=Scoring)

    def __post_init__(self) -> None:
        ensure_in_range(self)
        if self.dtype not in ("auto", *DTYPES):
            raise InputError(f"dtype is {self.dtype!r}: give auto or one of {', '.join(DTYPES)}")
        if not self.arms:
            raise InputError("arms is empty: name at least one")
        if self.sample.arm not in self.arms:
            raise InputError(f"sample.arm is {self.sample.arm!r}: give one of {', '.join(self.arms)}")
        if not 1 <= self.scoring.stride <= self.shape.context_bytes:
            raise InputError(
                f"scoring.stride is {self.scoring.stride}: give 1 to shape.context_bytes ({self.shape.context_bytes})"
            )
