"""A run that starts from a model, interrupted at every step of its start: it never trains from other weights."""

import errno
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.toy_corpus import toy_store
from tests.train.killed_saves import CALLS

from byteproxy import training
from byteproxy.errors import InputError
from byteproxy.interop.llama import export_llama
from byteproxy.mixture.loader import Shape
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.runs.folder import ensure_free
from byteproxy.runs.start import fitted_to_start, start_from
from byteproxy.train import checkpoint, trainer
from byteproxy.train.run_config import CONFIG, read_run_config
from byteproxy.train.train_config import Start, TrainConfig, Validation
from byteproxy.train.trainer import Trainer, model_of
from byteproxy.training import train

SAID: dict[type[BaseException], type[BaseException]] = {KeyboardInterrupt: KeyboardInterrupt, OSError: InputError}
"""What a start that a fault ends is ended by."""


class _BegunError(Exception):
    """The start is over: the first step would be next."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus, a configuration, and the weights that its run has to begin with."""
    folder = tmp_path_factory.mktemp("starts")
    store, view = toy_store(folder / "c")
    torch.manual_seed(7)
    export_llama(Transformer(ModelConfig(width=32, layers=1, heads=2, ffn=64), 300), 200, folder / "llama", rows=None)
    view.save(folder / "llama/tokenizer.json")
    config = TrainConfig(
        stop="1 steps",
        corpus=str(folder / "c"),
        compile=False,
        shape=Shape(2, 256, 100),
        validation=Validation(0),
        start=Start(str(folder / "llama")),
    )
    fitted = fitted_to_start(config, store, folder / "llama")
    given = Trainer(fitted, store, folder / "never", start_from=start_from).model.state_dict()
    return store, config, given


def interrupted(patch, at, fault, config, out):
    """Whether a start came to its end, as it does if it has fewer than `at` moments, stages' ends among them."""
    left = at

    def passes():
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(errno.ENOSPC, "no space left") if fault is OSError else KeyboardInterrupt

    def counting(call):
        def counted(*arguments, **options):
            passes()
            return call(*arguments, **options)

        return counted

    @contextmanager
    def stage(what, unit):
        if fault is KeyboardInterrupt:
            passes()
        yield lambda *_: None
        if fault is KeyboardInterrupt:
            passes()

    def begun(*_, **__):
        raise _BegunError

    patch.setattr(trainer, "matmul_rate", begun)  # the first that is done after the start
    for name in CALLS:
        patch.setattr(os, name, counting(getattr(os, name)))
    try:
        train(config, out, stage=stage)
    except _BegunError:
        return left > 0
    except SAID[fault]:
        return False
    raise AssertionError("it trained")


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("fault", SAID)
def test_it_goes_on_from_the_given_weights_or_begins_anew(made, tmp_path, monkeypatch, fault):
    store, config, given = made
    kinds: dict[frozenset[str], Path] = {}
    for at in range(1, 200):
        out = tmp_path / str(at)
        with monkeypatch.context() as patch:
            over = interrupted(patch, at, fault, config, out)
        if (out / CONFIG).exists():
            known = read_run_config(out)
            if checkpoint.newest(out / "checkpoints") is None:
                with pytest.raises(InputError, match="only `byteproxy train` begins with a model"):
                    Trainer(known, store, out)
            going_on = Trainer(known, store, out, start_from=start_from)
            assert going_on.state.step == 0
            assert same(going_on.model.state_dict(), given)
        elif out.exists():
            assert checkpoint.newest(out / "checkpoints") is None
            ensure_free(out)
        names = (
            frozenset(path.name.partition(".partial")[0] for path in out.rglob("*")) if out.exists() else frozenset()
        )
        kinds.setdefault(names, out)
        if over:
            break
    assert over
    assert len(kinds) >= 4
    monkeypatch.setattr(training, "write_run_page", lambda folder: folder)
    monkeypatch.setattr(training, "keeping_page", lambda *given: given[-1])
    for out in kinds.values():
        train(config, out, resume="if_exists")
        first = out / "checkpoints/step-000000"
        model = model_of(read_run_config(out), 300 + 320)
        assert checkpoint.load(first, model, [])["state"]["step"] == 0
        assert same(model.state_dict(), given)
        assert checkpoint.newest(out / "checkpoints").name == "step-000001"


def test_another_model_in_its_place_is_refused(made, tmp_path, monkeypatch):
    """At any moment before the weights are saved."""
    _, config, _ = made
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_write_own", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run")
    known = read_run_config(tmp_path / "run")
    torch.manual_seed(8)
    other = Transformer(ModelConfig(width=32, layers=1, heads=2, ffn=64), 300)
    export_llama(other, 200, tmp_path / "other", rows=None)
    (tmp_path / "other/tokenizer.json").write_bytes((Path(config.start.path) / "tokenizer.json").read_bytes())
    moved = replace(known, start=replace(known.start, path=str(tmp_path / "other")))
    with pytest.raises(InputError, match="is not the one that the run was begun with"):
        train(moved, tmp_path / "run", resume="yes")
    assert checkpoint.newest(tmp_path / "run/checkpoints") is None
