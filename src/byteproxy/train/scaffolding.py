"""Scaffolding: what helps a model while it trains, as a configuration. Imports no torch."""

from dataclasses import dataclass, field, replace

from byteproxy.errors import InputError
from byteproxy.mixture.fading import Fading
from byteproxy.mixture.hints import Hints
from byteproxy.model.model_config import ModelConfig


@dataclass(frozen=True)
class Scaffolding:
    """What helps a model while it trains. Where it goes away before the end, the finished model is as any other.

    hints: rows of tokens that raw positions read, too.
    ngrams: what the tables of `model.ngrams`, and those of `model.ngram_outputs`, are multiplied by. Where that falls
        to 0 the finished model has none of them, and can be exported.
    """

    hints: Hints = field(default_factory=Hints)
    ngrams: Fading = field(default_factory=Fading)

    def ensure_fits(self, model: ModelConfig) -> None:
        """InputError where a model of this shape has nothing that could help so."""
        if self.hints.share and model.composed:
            raise InputError(
                "scaffolding.hints are rows of symbols, which a model of composed inputs has not: let model.inputs be "
                '"symbols", or scaffolding.hints.share 0'
            )
        if self.ngrams != Fading() and not model.ngrams:
            raise InputError(
                "scaffolding.ngrams scales the tables of model.ngrams, which is empty: give lengths, such as "
                "[2, 3, 4], or leave scaffolding.ngrams out"
            )

    def falls(self, progress: float) -> bool:
        """Whether any of it falls after a share of the run's steps, and isn't gone yet."""
        scales = [(self.ngrams.start, self.ngrams.at(progress))]
        scales += [(self.hints.scale.start, self.hints.scale_at(progress))]
        return any(0 < scale < start for start, scale in scales)

    def finished(self, model: ModelConfig) -> ModelConfig:
        """The shape of a model after its run, without what has gone away by then."""
        return model if self.ngrams.until is None else replace(model, ngrams=(), ngram_outputs=False)
