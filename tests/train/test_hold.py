"""Whose a folder is, and what happens where it goes away."""

import shutil
from contextlib import suppress
from dataclasses import replace

import pytest

from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.model_config import ModelConfig
from byteproxy.train.memory import ensure_fits, ensure_plannable, min_parameters
from byteproxy.train.metrics import read
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer, model_of, stream_of

CONFIG = TrainConfig(
    stop="12 steps",
    compile=False,
    model=ModelConfig(width=32, layers=1, heads=2, ffn=64),
    mixture=BYTES,
    shape=Shape(2, 256, 100),
    log_every=1,
)


@pytest.mark.parametrize("how", ["removed", "moved", "replaced"])
@pytest.mark.parametrize("log_every", [1, 100])
def test_a_run_whose_folder_goes_away_stops_and_makes_no_other(store, tmp_path, how, log_every):
    """At its next line, or its next checkpoint where none is written."""
    run, seen = tmp_path / "run", []

    def goes_away(done, total, note):
        seen.append(done)
        if done == 3 and how == "removed":
            shutil.rmtree(run)
        elif done == 3:
            run.rename(tmp_path / "elsewhere")
            if how == "replaced":
                run.mkdir()

    trainer = Trainer(replace(CONFIG, log_every=log_every), store, run)
    with pytest.raises(InputError, match="run was moved or removed while the run was going on"):
        trainer.run(progress=goes_away)
    assert seen[-1] == (4 if log_every == 1 else 12)
    assert not run.exists() or list(run.iterdir()) == []
    if how != "removed":
        assert len(read(tmp_path / "elsewhere/metrics.jsonl")) == (3 if log_every == 1 else 0)


def test_a_log_that_can_not_be_written_stops_the_run_and_resumes(store, tmp_path, monkeypatch):
    def full(file, content):
        if len(read(tmp_path / "run/metrics.jsonl")) == 5:
            raise OSError(28, "No space left on device")
        return write(file, content)

    from byteproxy.train import metrics

    write = metrics.os.write
    with monkeypatch.context() as patch:
        patch.setattr(metrics.os, "write", full)
        with pytest.raises(InputError, match=r"cannot write .*metrics.jsonl \(No space left on device\)"):
            Trainer(CONFIG, store, tmp_path / "run").run()
    Trainer(CONFIG, store, tmp_path / "run").run()
    Trainer(CONFIG, store, tmp_path / "whole").run()
    lines = [read(tmp_path / name / "metrics.jsonl") for name in ("run", "whole")]
    assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]


def test_two_runs_made_before_either_began_do_not_mix(store, tmp_path):
    first, second = (Trainer(replace(CONFIG, seed=seed), store, tmp_path / "run") for seed in (1, 2))
    first.run()
    content = (tmp_path / "run/config.toml").read_bytes()
    with pytest.raises(InputError, match="got a run meanwhile"):
        second.run()
    assert (tmp_path / "run/config.toml").read_bytes() == content


def test_parameters_are_counted_from_below_and_nearly(store):
    for model in (
        CONFIG.model,
        replace(CONFIG.model, byte_heads=3, byte_head_ngrams=(2, 3), ngrams=(2,), value_embeddings=True),
        replace(CONFIG.model, inputs="mean", hashed_rows=500, qk_norm=True),
    ):
        config = replace(CONFIG, model=model, views=("bpe-300",))
        stream = stream_of(config, store)
        exact = sum(parameter.numel() for parameter in model_of(config, stream.vocab.size).parameters())
        assert 0.8 * exact < min_parameters(config, stream.vocab.size) <= exact


def test_what_no_machine_holds_is_refused_before_it_is_made(store, tmp_path):
    large = replace(CONFIG, model=ModelConfig(width=1 << 20, heads=1, layers=4096, ffn=1 << 22))
    with pytest.raises(InputError, match=r"the run needs about [\d.,]+ (TB|PB).*this machine has"):
        Trainer(large, store, tmp_path / "run")
    long = replace(CONFIG, shape=Shape(1 << 24, 1 << 24, 100))
    for check in (lambda: ensure_fits(long, store.manifest), lambda: ensure_plannable(long)):
        with pytest.raises(InputError, match=r"shape.sequences_per_step"):
            check()
    ensure_fits(CONFIG, store.manifest)
    with suppress(FileNotFoundError):
        assert list((tmp_path / "run").iterdir()) == []
