import errno
import json
import os
import re
import shutil
from copy import deepcopy

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.train.killed_saves import CALLS, SAVES, holding, loaded, moments, rounds, save
from tests.train.ranks import on_ranks
from tests.train.resealed import reseal
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.logger import _dcp_logger
from torch.distributed.checkpoint.state_dict import get_state_dict

from byteproxy.errors import InputError
from byteproxy.train import checkpoint
from byteproxy.train.muon import Muon
from byteproxy.train.parallel import world


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def a_run(seed=0):
    """A model of which one part never has a gradient, and its two optimizers."""
    torch.manual_seed(seed)
    model = torch.nn.ModuleDict(
        {"layer": torch.nn.Linear(6, 4, bias=False), "bias": torch.nn.Linear(4, 4), "never": torch.nn.Linear(4, 3)}
    )
    rest = [parameter for name, parameter in model.named_parameters() if name != "layer.weight"]
    return model, [Muon([model["layer"].weight], lr=0.01), torch.optim.AdamW(rest, lr=0.01, fused=True)]


def train(model, optimizers, steps):
    for step in steps:
        x = torch.randn(5, 6, generator=torch.Generator().manual_seed(step))
        model["bias"](model["layer"](x)).square().mean().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)


def same(one, other):
    """Whether two runs hold the same, to the bit, optimizers included."""
    assert all(torch.equal(a, b) for a, b in zip(one[0].parameters(), other[0].parameters(), strict=True))
    for mine, theirs in zip(one[1], other[1], strict=True):
        mine, theirs = mine.state_dict()["state"], theirs.state_dict()["state"]
        assert mine.keys() == theirs.keys()
        for key in mine:
            assert mine[key].keys() == theirs[key].keys()
            assert all(torch.equal(mine[key][what], theirs[key][what]) for what in mine[key])
    return True


@pytest.mark.parametrize("before", [0, 1, 3])
def test_saved_and_loaded_goes_on_bit_for_bit(before, tmp_path):
    """Also before the first step, with nothing to remember, and into optimizers that remember something else."""
    run, undisturbed, again = a_run(), a_run(), a_run(seed=1)
    train(*again, range(90, 95))
    train(*undisturbed, range(before + 4))
    train(*run, range(before))
    kept = deepcopy(run)
    state = {"seen": [1, 2], "mean": 0.1 + 0.2}
    checkpoint.save(tmp_path, before, *run, state)
    assert same(run, kept)
    found = checkpoint.newest(tmp_path)
    assert checkpoint.load(found, *again) == state
    assert same(again, kept)
    for one in (run, again):
        train(*one, range(before, before + 4))
        assert same(one, undisturbed)


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_what_torchs_own_state_dicts_saved_can_be_read(tmp_path):
    model, optimizers = holding(3.0)
    weights, moments = get_state_dict(model, optimizers)
    dcp.save({"model": weights, "optimizers": moments}, checkpoint_id=tmp_path / "step-000003", no_dist=True)
    (tmp_path / "step-000003" / "state.json").write_text('{"format": 1, "number": 3.0}')
    reseal(tmp_path / "step-000003")
    assert loaded(tmp_path) == (3, 3.0)


@pytest.mark.parametrize("before", [None, 2])
def test_another_format_is_refused_with_the_way_out(tmp_path, before):
    save(tmp_path, 3, 3.0)
    path = tmp_path / "step-000003" / "state.json"
    state = {**json.loads(path.read_text()), "format": before}
    path.write_text(json.dumps({name: value for name, value in state.items() if value is not None}))
    (tmp_path / "step-000003" / "checksums.json").unlink()
    for read in (checkpoint.said, lambda folder: checkpoint.load(folder, *holding(0.0))):
        with pytest.raises(InputError, match=r"go on with the byteproxy that wrote it, or begin the run anew"):
            read(tmp_path / "step-000003")


def test_another_model_is_refused(tmp_path):
    save(tmp_path, 1, 1.0)
    narrow = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    for model in (narrow, torch.nn.Linear(8, 8), torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))):
        optimizers = [torch.optim.SGD(model.parameters(), momentum=0.9)]
        with pytest.raises(InputError, match=r"step-000001 cannot be read \(.+\): delete it"):
            checkpoint.load(tmp_path / "step-000001", model, optimizers)


def test_the_newest_is_the_highest_step_and_as_many_stay_as_asked(tmp_path):
    for step in (999_998, 999_999, 1_000_000, 1_000_001):
        save(tmp_path, step, float(step), keep=3)
    assert names(tmp_path) == ["step-1000000", "step-1000001", "step-999999"]
    assert loaded(tmp_path)[0] == 1_000_001


def test_no_variable_of_the_environment_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("BYTEPROXY_TEST_TOKEN", "hf_a_secret_of_mine")
    save(tmp_path, 1, 1.0)
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert b"hf_a_secret_of_mine" not in file.read_bytes()
        assert os.environ["PATH"].encode() not in file.read_bytes()


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What became of the killed saves: the folder, the moments of each kind, and the rounds."""
    folder = tmp_path_factory.mktemp("killed")
    return folder, moments(folder), rounds(folder)


def test_killed_at_any_moment_leaves_the_old_or_the_new_and_the_next_save_tidies(killed):
    """Before each call that changes the disk; also where a step is saved that is there already, as the only one."""
    place, counts, _ = killed
    assert min(counts.values()) > 10
    for name, (step, number, keep) in SAVES.items():
        seen = set()
        for moment in range(1, counts[name] + 1):
            folder = place / f"{name}-{moment}"
            found = loaded(folder)
            assert found in {(20, 20.0), (step, number)}
            seen.add(found)
            save(folder, 40, 40.0, keep)
            assert names(folder) == [*([f"step-{found[0]:06d}"] if keep == 2 else []), "step-000040"]
            assert loaded(folder) == (40, 40.0)
        assert len(seen) == 2


def test_killed_at_random_moments_while_saving_loses_at_most_the_save_it_was_in(killed):
    _, _, rounds = killed
    assert len(rounds) == 25
    for done, found in rounds:
        assert done <= found <= done + 1


def said(work, *arguments):
    try:
        return work(*arguments)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("name", SAVES)
def test_a_disk_that_fails_at_any_call_leaves_the_old_or_the_new(name, tmp_path):
    """The call fails that a kill would have come before; the run is told, or it was only about what is superfluous."""
    step, number, keep = SAVES[name]
    save(tmp_path / "start", 10, 10.0)
    save(tmp_path / "start", 20, 20.0)
    told = 0
    for moment in range(1, 1000):
        folder = tmp_path / str(moment)
        shutil.copytree(tmp_path / "start", folder)
        failing = Failing(moment)
        with failing:
            failure = said(save, folder, step, number, keep)
        if failure is not None:
            assert re.search(r"No space left on device; \d+ MB are free", failure)
            told += 1
        assert loaded(folder) in {(20, 20.0), (step, number)}
        save(folder, 40, 40.0, keep)
        assert [path for path in names(folder) if path.startswith(".")] == []
        if failing.left > 0:
            break
    assert moment > 10
    assert told > 5


class Failing:
    """While entered, the call of that number finds no space."""

    def __init__(self, number):
        self.left = number
        self.patch = pytest.MonkeyPatch()

    def __enter__(self):
        for name in CALLS:
            self.patch.setattr(os, name, self.counting(getattr(os, name)))

    def __exit__(self, *error):
        self.patch.undo()

    def counting(self, call):
        def counted(*arguments, **options):
            self.left -= 1
            if self.left == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return call(*arguments, **options)

        return counted


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write a checkpoint to .*MB are free"):
        save(tmp_path / "file" / "checkpoints", 1, 1.0)


def work(folder):
    """All that is asked of two processes, in one go: starting them takes seconds."""
    rank = world().rank
    own = folder / "shared" if rank == 0 else folder / "not_there"
    found = {
        "none": checkpoint.newest_of_rank_zero(own),
        "saved": said(save, own, 1, 1.0),
        "newest": checkpoint.newest_of_rank_zero(own),
    }
    model, optimizers = holding(0.0)
    found["loaded"] = (checkpoint.load(found["newest"], model, optimizers), float(model[0].weight.sum()))
    if rank == 0:
        (folder / "file").write_text("")
    found["unwritable"] = said(save, folder / "file" / "x" if rank == 0 else own, 2, 2.0)
    found["unreadable"] = said(checkpoint.load, found["newest"] if rank == 0 else own, *holding(0.0))
    found["after"] = checkpoint.newest_of_rank_zero(own)
    return found | {"there": own.exists()}


def test_ranks_save_once_and_agree_on_what_is_newest_and_what_failed(tmp_path):
    one, other = on_ranks(2, work, tmp_path)
    path = tmp_path / "shared" / "step-000001"
    for found in (one, other):
        assert found["none"] is found["saved"] is None
        assert found["newest"] == found["after"] == path
        assert found["loaded"] == ({"number": 1.0}, 64.0)
    assert (one["there"], other["there"]) == (True, False)
    assert one["unwritable"] == other["unwritable"]
    assert "cannot write a checkpoint to" in one["unwritable"]
    assert "cannot be read (by another process)" in one["unreadable"]
    assert "cannot be read ([Errno 2]" in other["unreadable"]


def failing_with(error):
    """A `dcp.save` that writes a part and fails as torch does, with the error of each rank wrapped."""

    def failed(_, checkpoint_id, **options):
        checkpoint_id.mkdir()
        (checkpoint_id / "__0_0.distcp").write_bytes(b"half")
        raise CheckpointException("write", {0: (error, None)})

    return failed


def test_a_full_disk_is_named_even_where_torch_lost_the_cause(tmp_path, monkeypatch):
    save(tmp_path, 10, 10.0)
    monkeypatch.setattr(dcp, "save", failing_with(RuntimeError("unexpected pos 704 vs 598")))
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 1 << 30, 100))
        with pytest.raises(InputError, match=r"\(No space left on device; 0 MB are free\): it takes 1 MB: free space"):
            save(tmp_path, 20, 20.0)
    with pytest.raises(InputError, match=r"\(unexpected pos 704 vs 598; \d+ MB are free\)"):  # there is enough
        save(tmp_path, 20, 20.0)
    assert names(tmp_path) == ["step-000010"]
    assert loaded(tmp_path) == (10, 10.0)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_save_that_is_stopped_leaves_nothing_partial(wrapped, tmp_path, monkeypatch):
    save(tmp_path, 10, 10.0)
    stopped = KeyboardInterrupt()
    with monkeypatch.context() as patched:
        if wrapped:
            patched.setattr(dcp, "save", failing_with(stopped))
        else:
            patched.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(stopped))
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 20, 20.0)
    assert names(tmp_path) == ["step-000010"]


@pytest.mark.parametrize("name", ["state.json", ".metadata", "__0_0.distcp"])
def test_a_checkpoint_that_lost_a_file_is_damaged_and_not_passed_over(tmp_path, name):
    save(tmp_path, 10, 10.0)
    save(tmp_path, 20, 20.0)
    (tmp_path / "step-000020" / name).unlink()
    (tmp_path / "step-000030").mkdir()
    found = checkpoint.newest(tmp_path)
    assert found == tmp_path / "step-000020"
    assert not checkpoint.is_gone(found)
    with pytest.raises(InputError, match="delete it to go on from the one before"):
        checkpoint.load(found, *holding(0.0))


@pytest.mark.parametrize("name", ["state.json", ".metadata", "__0_0.distcp"])
def test_without_its_checksum_no_file_is_read(tmp_path, name):
    save(tmp_path, 10, 10.0)
    path = tmp_path / "step-000010" / "checksums.json"
    listed = json.loads(path.read_text())
    others = [one for one in listed if one["name"] != name]
    assert len(others) == len(listed) - 1
    path.write_text(json.dumps(others))
    with pytest.raises(InputError, match=f"does not list {name}"):
        checkpoint.load(path.parent, *holding(0.0))
    path.unlink()
    for read in (checkpoint.said, lambda folder: checkpoint.rows(folder, "0.weight"), load_anew):
        with pytest.raises(InputError, match=r"its checksums\.json is missing\): delete it to go on"):
            read(path.parent)


def load_anew(folder):
    return checkpoint.load(folder, *holding(0.0))


def test_a_list_of_checksums_names_only_its_own_files(tmp_path):
    save(tmp_path, 10, 10.0)
    path = tmp_path / "step-000010" / "checksums.json"
    good = json.loads(path.read_text())
    for name in ("../x", "/dev/zero", "\0", 5, ""):
        path.write_text(json.dumps([{**good[0], "name": name}, *good[1:]]))
        with pytest.raises(InputError, match=r"not in its folder"):
            checkpoint.load(tmp_path / "step-000010", *holding(0.0))
    for content in ("[" * 10**5, "1" * 5000, '{"a": 1}', "[3]", "null"):
        path.write_text(content)
        with pytest.raises(InputError, match="cannot be read"):
            checkpoint.load(tmp_path / "step-000010", *holding(0.0))


def test_a_checkpoint_that_goes_while_it_is_read_is_told_in_the_error_alone(tmp_path, monkeypatch):
    """As beside a trainer, whose reader then takes a newer one: torch would log it with a traceback."""
    save(tmp_path, 1, 1.0)
    found = tmp_path / "step-000001"
    load = dcp.load

    def gone(*given, **named):
        shutil.rmtree(found)
        load(*given, **named)

    monkeypatch.setattr(dcp, "load", gone)
    logged: list[object] = []
    monkeypatch.setattr(_dcp_logger, "handle", logged.append)
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.load(found, *holding(0.0))
    assert logged == []
