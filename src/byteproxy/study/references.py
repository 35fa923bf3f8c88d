"""What the study's model costs before anything trains it: references, which stand beside the arms and are none.

tokens     held-out text as its own tokens: the ceiling; so, too, the text that curves are of
raw        the same text as raw bytes, from the rows that bytes begin with
marginals  a stretch of validation text as bytes, summed over all tokens that it may be written in, with what the
           tokenizer's own tokens cost there (`evaluate.byte_marginals`)
robust     validation text with typing errors, and after prompts cut inside a token, in both forms

All of it is measured with the typed softmax, in the windows and the dtype that runs are scored in, once, and kept in
`references.json`. The test text is scored when a claim was opened. Without the model, what isn't known is left out.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from byteproxy.checksummed import known, write_checksummed
from byteproxy.evaluate.bpb import view_bpb
from byteproxy.evaluate.byte_marginals import Beam, TokenModel, marginal_bits
from byteproxy.evaluate.held_out import RULE, held_out_texts
from byteproxy.evaluate.robustness import raw_cost, token_cost
from byteproxy.generate.score import Scored, score
from byteproxy.model.network import Transformer
from byteproxy.progress import Stage
from byteproxy.runs.start import started_model
from byteproxy.store.store import Store
from byteproxy.study.queue import Queue
from byteproxy.study.robust_runs import robustness, rule
from byteproxy.study.run_files import HeldOut
from byteproxy.study.split_texts import curve_texts, split_texts
from byteproxy.train.compiler import TORCH_DTYPES
from byteproxy.train.train_config import TrainConfig
from byteproxy.vocab import Vocab

REFERENCES = "references.json"
_TOKENS = 1
"""The representation that the model's tokenizer is."""
_MARGINALS, _ROBUST, _CURVE = "marginals", "robust", "curve"


class References:
    """The references of a study whose recipe has a model; empty of another one."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._path = queue.out / REFERENCES
        self._noted: dict[str, Any] = known(self._path) or {} if queue.recipe.model is not None else {}
        self._config = None if queue.recipe.model is None else queue.untrained()

    def measure(self, splits: Iterable[HeldOut], stage: Stage) -> None:
        """Measure what isn't known yet, if the model is there; InputError where it is another one by now."""
        config = self._config
        if config is None or not Path(config.start.path).exists():
            return
        missing = [name for name in self._wanted(splits) if self._get(name) is None]
        if not missing:
            return
        store = self._queue.store
        vocab = Vocab((store.view(config.views[0]).alphabet_size,))
        model = started_model(config, vocab, stage)
        model.dtype = TORCH_DTYPES[config.dtype]
        for name in missing:
            others = {_MARGINALS: self._marginals, _ROBUST: self._robust, _CURVE: self._curve}
            found = others.get(name, partial(self._split, name))(model, vocab, stage)
            self._noted[name] = {**found, "made_with": self._key(name)}
            write_checksummed(self._path, self._noted)

    def _wanted(self, splits: Iterable[HeldOut]) -> Iterator[str]:
        yield from splits
        yield _CURVE
        assert self._queue.recipe.model is not None, "asked only of studies with one"
        if self._queue.recipe.model.marginal_bytes:
            yield _MARGINALS
        if self._queue.recipe.scoring.robust_bytes:
            yield _ROBUST

    def _key(self, name: str) -> str:
        """A hash of all that decides a reference."""
        config, scoring, store = self._config, self._queue.recipe.scoring, self._queue.store
        assert config is not None, "asked only of studies with a model"
        assert self._queue.recipe.model is not None, "the same"
        what = [
            *(config.start.weights, config.start.tokenizer, store.manifest.fingerprint_for(config.views[:1])),
            *(config.dtype, config.shape.context_bytes, scoring.document_bytes, scoring.stride, RULE),
            self._queue.recipe.model.marginal_bytes if name == _MARGINALS else getattr(scoring, f"{name}_bytes"),
            *([rule(scoring)] if name == _ROBUST else []),
        ]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]

    def _get(self, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._noted.get(name)
        return found if found is not None and found["made_with"] == self._key(name) else None

    def _windows(self) -> tuple[TrainConfig, int, int]:
        assert self._config is not None, "asked only of studies with a model"
        return self._config, self._config.shape.context_bytes, self._queue.recipe.scoring.stride

    def _split(self, split: Any, model: Transformer, vocab: Vocab, stage: Stage) -> dict[str, Any]:
        config, window, stride = self._windows()
        store: Store = self._queue.store
        texts = split_texts(store, self._queue.recipe.scoring, split)
        with stage(f"score the model's own tokens, {split}", "symbols") as progress:
            tokens = view_bpb(model, vocab, _TOKENS, store.view(config.views[0]), texts, window, stride, progress)
        with stage(f"score the model's raw bytes, {split}", "B") as progress:
            raw = score(model, texts, window, stride, progress=progress)
        return {"bytes": raw.bytes.tolist(), "tokens": tokens.bits.tolist(), "raw": raw.bits.tolist()}

    def _marginals(self, model: Transformer, vocab: Vocab, stage: Stage) -> dict[str, Any]:
        config, window, stride = self._windows()
        asked, scoring, store = self._queue.recipe.model, self._queue.recipe.scoring, self._queue.store
        assert asked is not None, "asked only of studies with one"
        texts = held_out_texts(store, "validation", asked.marginal_bytes, scoring.document_bytes)
        tokens = TokenModel.of_run(model, vocab, _TOKENS, store.view(config.views[0]))
        with stage("add up the model's byte marginals", "B") as progress:
            found = marginal_bits(tokens, texts, window, stride, progress=progress)
        return {**found.bpb(), "total_bytes": int(found.bytes.sum()), "documents": len(texts), "beam": asdict(Beam())}

    def _curve(self, model: Transformer, vocab: Vocab, stage: Stage) -> dict[str, Any]:
        config, window, stride = self._windows()
        store = self._queue.store
        texts = curve_texts(store, self._queue.recipe.scoring)
        with stage("score the model's own tokens, text of curves", "symbols") as progress:
            found = view_bpb(model, vocab, _TOKENS, store.view(config.views[0]), texts, window, stride, progress)
        return {"tokens": found.bpb}

    def on_curves(self) -> float | None:
        """Bits per byte of the text that curves are of, as the model's own tokens; None where that isn't known."""
        found = None if self._config is None else self._get(_CURVE)
        return None if found is None else float(found["tokens"])

    def _robust(self, model: Transformer, vocab: Vocab, stage: Stage) -> dict[str, Any]:
        config, window, stride = self._windows()
        store, view = self._queue.store, config.views[0]
        tokens = token_cost(model, vocab, _TOKENS, store.view(view), window, stride)
        with stage("score the model on typing errors and cut prompts", "forms") as progress:
            costs = {"raw": raw_cost(model, window, stride), "tokens": tokens}
            found = robustness(costs, store, self._queue.recipe.scoring, view, window)
            progress(1, 1)
        return found

    def robust(self) -> dict[str, Any] | None:
        """What typing errors and cut prompts cost; None where that isn't known."""
        return None if self._config is None else self._get(_ROBUST)

    def ceiling(self, split: HeldOut) -> Scored | None:
        """What the documents of a split cost the model as its own tokens; None where that isn't known."""
        found = None if self._config is None else self._get(split)
        return None if found is None else Scored(np.array(found["tokens"]), np.array(found["bytes"], np.int64))

    def lines(self, splits: Iterable[HeldOut]) -> list[dict[str, Any]]:
        """Each reference that is known: name, split, bits per byte, and of how much text."""
        if self._config is None:
            return []
        lines = []
        for split in splits:
            found = self._get(split)
            if found is not None:
                total = sum(found["bytes"])
                text = {"split": split, "bytes": total, "documents": len(found["bytes"])}
                lines += [{"name": name, "bpb": sum(found[name]) / total, **text} for name in ("tokens", "raw")]
        found = self._get(_MARGINALS)
        if found is not None:
            kept = ("most", "least", "dropped", "tokens", "specials", "documents", "beam")
            text = {"split": "validation", "bytes": found["total_bytes"], **{name: found[name] for name in kept}}
            lines.append({"name": _MARGINALS, "bpb": found["bits"], **text})
        return lines
