"""What a conversion is: a model, sources of text, and the recipe of the joint phase."""

import math
from dataclasses import dataclass, field, replace

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.ranges import ensure_in_range, ranged
from byteproxy.train.train_config import TrainConfig

STDLIB = "stdlib"
MIN_STEPS_APART = 4
"""Steps between two evaluations, at least."""


@dataclass(frozen=True)
class Cut:
    """A prompt that ends inside a word, and the rest of that word."""

    prompt: str
    rest: str

    def __post_init__(self) -> None:
        if not self.rest:
            raise InputError(f"samples.cuts has no rest of the word after {self.prompt!r:.60}: give some of it")


@dataclass(frozen=True)
class Samples:
    """What the model writes before and after, on the same prompts.

    prompts: what it continues. max_bytes: how many it writes after each, at most. temperature: 0 takes the most
        probable byte, or token, each time.
    cuts: prompts that are cut inside a word, which it goes on with greedily, too.
    drawn_cuts: how many more of these the seed draws from the validation text; see `cut_prompts`.
    """

    prompts: tuple[str, ...] = ()
    max_bytes: int = ranged(200, 1, 1 << 30)
    temperature: float = ranged(0.0, 0.0, 1e6)
    cuts: tuple[Cut, ...] = ()
    drawn_cuts: int = ranged(0, 0, 1 << 20)

    def __post_init__(self) -> None:
        ensure_in_range(self, "samples.")


@dataclass(frozen=True)
class ConvertRecipe:
    """How a model learns bytes; other recipes than `convert` may come from a file.

    run: the joint phase, as `byteproxy train` takes it. Its model, views, start and corpus follow from the model and
        the sources that are converted.
    split: which text is held out.
    samples: what the model writes before and after.
    evaluations: measurements while it trains, the last at its end; one before the first step comes on top.
    speed: measure how fast it writes, which takes half a minute.
    """

    run: TrainConfig = field(default_factory=lambda: TrainConfig(mixture=Mixture(phases=(Phase(rate=0.5),))))
    split: SplitOptions = field(default_factory=SplitOptions)
    samples: Samples = field(default_factory=Samples)
    evaluations: int = ranged(6, 1, 1 << 40)
    speed: bool = True

    def __post_init__(self) -> None:
        ensure_in_range(self)
        for name, given in (("corpus", self.run.corpus), ("views", self.run.views), ("start", self.run.start.path)):
            if given:
                raise InputError(f"run.{name} is {given!r}: leave it out, as the model that is converted decides it")
        if not self.run.mixture.needs_view:
            raise InputError(
                "run.mixture shows no compressed text: the model would forget what it knows of its tokens; give a "
                "phase a rate above 0"
            )
        if self.run.scaffolding.hints.stay:
            raise InputError(
                "run.scaffolding.hints stay, and a model that reads them can't be exported: let "
                "run.scaffolding.hints.scale.until say where they are gone, or train it by `byteproxy train --from`"
            )
        if not self.run.validation.bytes:
            raise InputError("run.validation.bytes is 0: give some, as a conversion is judged by its validation text")


@dataclass(frozen=True)
class Conversion:
    """A conversion as it is asked for.

    model: a folder, a GGUF file, or the name of one on the Hub ("hf:ORG/NAME"). sources: of text, as `byteproxy
    prepare` takes them.
    """

    model: str
    sources: tuple[str, ...]
    recipe: ConvertRecipe

    def __post_init__(self) -> None:
        if not self.sources:
            raise InputError("no source of text is named: name one, or let the standard library be read")


def sources_of(named: tuple[str, ...], stdlib: bool) -> tuple[str, ...]:
    """The sources to read: the standard library, unless it is left out, and those that are named, each once."""
    return tuple(dict.fromkeys((STDLIB, *named) if stdlib else named))


def with_length(recipe: ConvertRecipe, minutes: float | None, positions: int | None) -> ConvertRecipe:
    """The same recipe with a length, if one is given; InputError for two lengths, or for one that is none."""
    if minutes is not None and positions is not None:
        raise InputError("both minutes and positions are given: give one of them")
    if minutes is not None:
        if not (minutes > 0 and math.isfinite(minutes)):
            raise InputError(f"minutes is {minutes}: give a positive number")
        return replace(recipe, run=replace(recipe.run, stop=f"{minutes:.17g} minutes"))
    if positions is not None:
        if positions < 1:
            raise InputError(f"positions is {positions}: give at least 1")
        return replace(recipe, run=replace(recipe.run, stop=f"{positions} positions"))
    return recipe


def steps_between_evaluations(recipe: ConvertRecipe, steps: int) -> int:
    """After how many optimizer steps the model is measured, in a run of so many."""
    return max(MIN_STEPS_APART, -(-steps // recipe.evaluations))
