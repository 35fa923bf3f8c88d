"""Evaluation while a run trains: bits per byte of held-out text, as raw bytes and in each compressed view.

`transfer_gap` is defined here: the bits per byte of raw text above the mean of those of the views. It says how far
reading raw bytes lags behind what the model knows from compressed text, and closes as the two align. It is no exact
distance: a view's figure is a bound of its own (see `bpb`), which is why a model that reads bytes well gets below zero.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from byteproxy.evaluate.bpb import view_bpb
from byteproxy.evaluate.compressors import compressors_bpb
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.generate.score import score
from byteproxy.model.network import Transformer
from byteproxy.store.store import Store
from byteproxy.train.train_config import TrainConfig
from byteproxy.vocab import Vocab


def shown_views(config: TrainConfig) -> dict[str, int]:
    """The compressed views that a run's mixture shows, and the representation that each is."""
    weights = config.mixture.view_weights
    phases = [
        phase for phase in config.mixture.schedule if phase.share > 0 and max(phase.rate, phase.rate_end or 0) > 0
    ]
    return {
        name: number
        for number, name in enumerate(config.views, start=1)
        if any(phase.view == name or (not phase.view and weights.get(name, 1.0) > 0) for phase in phases)
    }


def validate_with(config: TrainConfig, store: Store) -> Callable[[Transformer], dict[str, Any]] | None:
    """What `Trainer.run` calls now and then, with the text chosen; None where the configuration wants nothing measured.

    It gives `raw_bpb`; where the model predicts symbols of views also `view_bpb`, a figure for each by name, and
    `transfer_gap`, all in bits per byte of text; and `validation_text`: how much text that is, and what compressors
    make of it.
    Raises InputError if the validation split holds no text, or a view can't be had from the store.
    """
    asked = config.validation
    if asked.bytes == 0:
        return None
    texts = held_out_texts(store, "validation", asked.bytes, asked.document_bytes)
    vocab = Vocab(tuple(store.manifest.view(name).alphabet_size for name in config.views))
    views = {}
    if config.objective.symbols:
        views = {name: (number, store.view(name)) for name, number in shown_views(config).items()}
    window = config.shape.context_bytes
    stride = asked.stride or max(1, window // 2)

    @cache
    def about() -> dict[str, Any]:
        size = {"bytes": sum(map(len, texts)), "documents": len(texts)}
        return {**size, "compressors": compressors_bpb(texts)}

    def validate(model: Transformer) -> dict[str, Any]:
        raw = score(model, texts, window, stride).bpb
        figures: dict[str, Any] = {"raw_bpb": raw}
        if views:
            compressed = {
                name: view_bpb(model, vocab, representation, view, texts, window, stride).bpb
                for name, (representation, view) in views.items()
            }
            figures |= {"view_bpb": compressed, "transfer_gap": raw - sum(compressed.values()) / len(compressed)}
        return {**figures, "validation_text": about()}

    return validate
