"""Runs that were stopped or killed, and their checkpoints: what goes on is the undisturbed run, or is refused."""

import json
import os
import signal
from dataclasses import replace

import pytest
from tests.train.resealed import reseal
from tests.train.toy_run import CONFIG, losses, same, weights

from byteproxy.errors import InputError
from byteproxy.train import checkpoint
from byteproxy.train.trainer import Trainer


def test_stopped_and_resumed_is_bit_for_bit_the_undisturbed_run(store, undisturbed, tmp_path):
    folder, trainer = undisturbed

    def stop_after_seven(done, total, note):
        if done == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="step 7"):
        Trainer(CONFIG, store, tmp_path).run(progress=stop_after_seven)
    resumed = Trainer(CONFIG, store, tmp_path)
    assert resumed.state.step == 7
    resumed.run()
    assert same(weights(resumed), weights(trainer))
    assert losses(tmp_path) == losses(folder)
    mine, theirs = vars(resumed.counters), vars(trainer.counters)
    assert {k: v for k, v in mine.items() if "seconds" not in k} == {
        k: v for k, v in theirs.items() if "seconds" not in k
    }


def test_lines_that_average_over_a_stop_are_the_undisturbed_ones(store, tmp_path):
    config = replace(CONFIG, log_every=5)
    Trainer(config, store, tmp_path / "whole").run()
    stopped = Trainer(config, store, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.run(progress=lambda done, total, note: os.kill(os.getpid(), signal.SIGINT) if done == 7 else None)
    Trainer(config, store, tmp_path / "stopped").run()
    assert len(losses(tmp_path / "whole")) == 3
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")


def test_a_wish_to_stop_in_the_last_step_is_heard(store, tmp_path):
    def stop_at_the_end(done, total, note):
        if done == total:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="step 12"):
        Trainer(CONFIG, store, tmp_path).run(progress=stop_at_the_end)
    assert Trainer(CONFIG, store, tmp_path).run().positions == 12 * 512


def test_killed_between_checkpoints_is_the_undisturbed_run_as_well(store, undisturbed, tmp_path):
    folder, trainer = undisturbed

    class KilledError(Exception):
        pass

    def die(done, total, note):
        if done == 8:
            raise KilledError

    config = replace(CONFIG, checkpoint_seconds=0.0)  # a checkpoint a step; the eighth is not reached
    with pytest.raises(KilledError):
        Trainer(config, store, tmp_path).run(progress=die)
    assert losses(tmp_path) == losses(folder)[:8]
    resumed = Trainer(config, store, tmp_path)
    assert resumed.state.step == 7
    resumed.run()
    assert losses(tmp_path) == losses(folder)
    assert same(weights(resumed), weights(trainer))


def test_a_half_written_checkpoint_is_not_taken_up(store, tmp_path):
    trainer = Trainer(CONFIG, store, tmp_path)
    for _ in range(2):
        trainer.step()
    trainer.save()
    trainer.step()
    trainer.save()
    newest = tmp_path / "checkpoints" / "step-000003"
    assert checkpoint.newest(tmp_path / "checkpoints") == newest
    newest.rename(tmp_path / "checkpoints" / ".step-000003")
    assert Trainer(CONFIG, store, tmp_path).state.step == 2


def test_a_damaged_checkpoint_is_refused(store, tmp_path):
    trainer = Trainer(CONFIG, store, tmp_path)
    trainer.step()
    trainer.save()
    (found,) = (tmp_path / "checkpoints" / "step-000001").glob("*.distcp")
    found.write_bytes(found.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        Trainer(CONFIG, store, tmp_path)


def test_another_configuration_or_corpus_is_not_mixed_in(store, tmp_path):
    trainer = Trainer(CONFIG, store, tmp_path)
    trainer.step()
    trainer.save()
    with pytest.raises(InputError, match="another config"):
        Trainer(replace(CONFIG, seed=5), store, tmp_path)
    state = tmp_path / "checkpoints" / "step-000001" / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "corpus": "0" * 64}))
    reseal(state.parent)
    with pytest.raises(InputError, match="another corpus"):
        Trainer(CONFIG, store, tmp_path)


def test_another_width_is_refused_by_its_name_before_a_tensor_is_read(store, undisturbed):
    other = replace(CONFIG, model=replace(CONFIG.model, width=64))
    with pytest.raises(InputError, match=r"another configuration \(model.width is 32 there and 64 here\)"):
        Trainer(other, store, undisturbed[0])


def test_old_checkpoints_go(store, tmp_path):
    trainer = Trainer(CONFIG, store, tmp_path)
    for _ in range(4):
        trainer.step()
        trainer.save()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000003", "step-000004"]


def test_a_full_disk_is_said_and_leaves_no_half_checkpoint(store, tmp_path, monkeypatch):
    """Writing any tensor fails as on a full disk."""
    trainer = Trainer(CONFIG, store, tmp_path)
    trainer.step()
    trainer.save()
    trainer.step()

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.distributed.checkpoint.filesystem._write_item", full)
    with pytest.raises(InputError, match=r"No space left on device; .* MB are free"):
        trainer.save()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000001"]
    assert Trainer(CONFIG, store, tmp_path).state.step == 1
