"""The objective: what a position predicts, and the weight of each prediction in the loss."""

from dataclasses import dataclass
from typing import Literal, get_args

from byteproxy.errors import InputError
from byteproxy.model.model_config import ModelConfig
from byteproxy.ranges import ensure_in_range, ranged

Reach = Literal["text", "symbol"]
DistillForm = Literal["segmented", "causal"]
DistillTeacher = Literal["own", "frozen"]
DISTILL_SOFTMAX = (
    "objective.distill takes what the softmax of symbols says, at positions that read symbols: let objective.symbols "
    'be above 0, model.inputs be "symbols" and model.softmax be "typed", or objective.distill 0'
)


@dataclass(frozen=True)
class Objective:
    """Targets and weights.

    A raw position predicts the next symbol through the byte head, and with `model.byte_heads` above 1 those after it.
    At compressed positions four kinds of targets may be mixed; a weight of 0 leaves one out:

    symbols: the next symbol (and `model.symbol_heads` - 1 after it) through the symbol softmax: the paper's.
    bag: the bytes of the next symbol, in any order, through the one byte head (token superposition).
    bytes: the bytes of the text that follows, in order, through the byte heads: head 1 the first of them.
    symbol_bytes: the bytes of the next symbol, in order, through the one byte head: each from the position's hidden
        state, scaled by its place in the symbol, and the n-gram of bytes before it (`model.ngram_outputs`).
    reach: how far `bytes` goes: "text" up to `model.byte_heads` bytes on, whatever symbol they are in (cross-view
        targets); "symbol" not beyond the next symbol.
    distill: weight, at raw positions, of what a model says about the next byte where it reads the passage as symbols
        (cross-view distillation, which needs a phase of mode "parallel"). The teacher gets no gradient.
    distill_teacher: "own": the model that learns teaches, too; "frozen": the model that the run begins with, as it was.
        That one is held beside the other and reads the passage's symbols by itself, so its passes come on top.
    distill_form: "segmented": the teacher is told where symbols ended so far, and is right on average; "causal": it
        weighs all ways in which they may have ended, with at most one symbol off the view's own way. That costs a
        reading of each symbol that may have stood there, 2 to 3 for each of the view's own.
    distill_threshold: "causal": a symbol off the way isn't read where it would tell no raw position more than this
        share of what the view's own way tells it. What it would tell counts as left out. 0: all are read.
    raw_weight: weight of everything that raw positions predict (the paper's code: 1).
    compressed_weight: weight of everything that compressed positions predict (the paper's code: 1/3).
    head_decay: each head beyond the first weighs this much of the one before it (the paper's code: 0.75).
    heads_weight: weight of all heads beyond the first, at the run's first step.
    heads_weight_end: their weight at its last step, reached in a straight line; None: `heads_weight` throughout.
    heads_detached: heads beyond the first, and the tables that only they read, learn from hidden states and don't
        change them: all else is trained as if they were not there, to the last bit.

    No head predicts past the segment that it stands in; its closing sentinel and eos are inside. Only the first one,
    the next symbol's, also names the sentinel that opens the next segment of its document.
    """

    symbols: float = ranged(1.0, 0.0, 1e6)
    bag: float = ranged(0.0, 0.0, 1e6)
    bytes: float = ranged(0.0, 0.0, 1e6)
    symbol_bytes: float = ranged(0.0, 0.0, 1e6)
    distill: float = ranged(0.0, 0.0, 1e6)
    distill_form: DistillForm = "segmented"
    distill_threshold: float = ranged(0.0, 0.0, 1.0)
    distill_teacher: DistillTeacher = "own"
    reach: Reach = "text"
    raw_weight: float = ranged(1.0, 0.0, 1e6)
    compressed_weight: float = ranged(1.0, 0.0, 1e6)
    head_decay: float = ranged(0.75, 0.0, 1e6)
    heads_weight: float = ranged(1.0, 0.0, 1e6)
    heads_weight_end: float | None = ranged(None, 0.0, 1e6)
    heads_detached: bool = False

    def __post_init__(self) -> None:
        ensure_in_range(self, "objective.")
        for name, kind in (("reach", Reach), ("distill_form", DistillForm), ("distill_teacher", DistillTeacher)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise InputError(f"objective.{name} is {value!r}: give one of {', '.join(get_args(kind))}")
        if not self.symbols + self.bag + self.bytes + self.symbol_bytes:
            raise InputError(
                "objective.symbols, objective.bag, objective.bytes and objective.symbol_bytes are all 0: compressed "
                "positions would predict nothing; give one of them a weight"
            )

    @property
    def frozen_teacher(self) -> bool:
        """Whether another model than the one that learns has to be held, which teaches it."""
        return self.distill > 0 and self.distill_teacher == "frozen"

    def needs_expansion(self, model: ModelConfig) -> bool:
        """Whether rows have to be expanded to bytes: which bytes stand behind each position, and which follow it."""
        return model.composed or model.byte_heads > 1 or self.bag + self.bytes + self.symbol_bytes + self.distill > 0

    def head_weight(self, head: int, progress: float) -> float:
        """The weight of head `head` (from 1) after a share of the run's steps."""
        if head == 1:
            return 1.0
        end = self.heads_weight if self.heads_weight_end is None else self.heads_weight_end
        return (self.heads_weight + (end - self.heads_weight) * progress) * self.head_decay ** (head - 1)


def check_fit(model: ModelConfig, objective: Objective) -> None:
    """InputError where an objective asks for what a model of this shape has not."""
    if model.symbol_heads > 1 and not objective.symbols:
        raise InputError("model.symbol_heads is above 1, but objective.symbols is 0: give it a weight, or one head")
    if model.softmax == "shared" and (model.composed or not objective.symbols):
        raise InputError(
            'model.softmax is "shared": all symbols have to be read and predicted as such; let model.inputs be '
            '"symbols" and objective.symbols be above 0, or model.softmax "typed"'
        )
    if objective.symbol_bytes and not model.ngram_outputs:
        raise InputError(
            "objective.symbol_bytes tells each byte of those before it by n-grams at the output: let "
            "model.ngram_outputs be true, or objective.symbol_bytes 0"
        )
    if objective.symbol_bytes and not model.composed:
        raise InputError(
            'objective.symbol_bytes needs bytes as inputs: let model.inputs be "mean", "positions" or "last"'
        )
    if model.softmax == "shared" and objective.bag + objective.bytes + objective.symbol_bytes:
        raise InputError(
            'model.softmax is "shared", but objective.bag, objective.bytes and objective.symbol_bytes go through a '
            'byte head of their own: let them be 0, or model.softmax "typed"'
        )
    if objective.distill and (not objective.symbols or model.composed or model.softmax == "shared"):
        raise InputError(DISTILL_SOFTMAX)
    reads_branches = objective.distill and objective.distill_form == "causal" and not objective.frozen_teacher
    if reads_branches and (model.ngrams or model.ngram_outputs):
        raise InputError(
            'objective.distill_form is "causal", which reads symbols that the text has not, and model.ngrams and '
            'model.ngram_outputs read what stands before them: leave these out, or take "segmented"'
        )
    if model.value_embeddings and model.composed:
        raise InputError('model.value_embeddings adds rows of symbols: let model.inputs be "symbols", or leave it out')
