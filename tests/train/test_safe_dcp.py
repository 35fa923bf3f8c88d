"""What a checkpoint's list of tensors may ask for, and what it may not."""

import os
import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp
from tests.train.resealed import reseal
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from byteproxy.errors import InputError
from byteproxy.train import checkpoint
from byteproxy.train.safe_dcp import Reader


class Bad:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def saved(tmp_path):
    model = torch.nn.Linear(3, 5)
    checkpoint.save(tmp_path, 1, model, [], {"told": 1})
    return tmp_path / "step-000001", model


def rewritten(folder, metadata):
    filled(folder, pickle.dumps(metadata))


def filled(folder, content):
    (folder / ".metadata").write_bytes(content)
    reseal(folder)


def test_it_reads_what_torchs_own_reader_reads(saved):
    folder, _ = saved
    theirs, ours = dcp.FileSystemReader(folder).read_metadata(), Reader(folder).read_metadata()
    assert ours.state_dict_metadata == theirs.state_dict_metadata
    assert ours.storage_data == theirs.storage_data
    assert checkpoint.load(folder, torch.nn.Linear(3, 5), []) == {"told": 1}
    assert checkpoint.rows(folder, "weight") == 5
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.rows(folder, "other")


def test_code_in_the_list_is_not_run(saved, tmp_path):
    folder, model = saved
    metadata = dcp.FileSystemReader(folder).read_metadata()
    metadata.planner_data = Bad(tmp_path / "made")
    rewritten(folder, metadata)
    for read in (lambda: checkpoint.load(folder, model, []), lambda: checkpoint.rows(folder, "weight")):
        with pytest.raises(InputError, match=r"asks for posix\.mkdir"):
            read()
    assert not (tmp_path / "made").exists()
    dcp.FileSystemReader(folder).read_metadata()  # torch's own would have run it
    assert (tmp_path / "made").exists()


def test_a_pickle_in_a_tensors_place_is_not_run(saved, tmp_path):
    """torch would read it without asking: the list says that the weight is an object of any kind."""
    folder, model = saved
    metadata = dcp.FileSystemReader(folder).read_metadata()
    (index,) = [index for index in metadata.storage_data if index.fqn == "model.weight"]
    place = metadata.storage_data.pop(index)
    metadata.storage_data[type(index)("model.weight")] = place
    metadata.state_dict_metadata["model.weight"] = BytesStorageMetadata()
    file = folder / place.relative_path
    place.offset = file.stat().st_size
    with file.open("ab") as opened:
        torch.save(Bad(tmp_path / "made"), opened)
    place.length = file.stat().st_size - place.offset
    rewritten(folder, metadata)
    with pytest.raises(InputError, match=r"no tensor model\.weight"):
        checkpoint.load(folder, model, [])
    assert not (tmp_path / "made").exists()


def bomb(depth):
    """A pickle of a dictionary whose key holds 2^depth numbers: each tuple has the one before it twice."""
    tuples = b"".join(b"h" + bytes([one]) + b"\x86\x94" for one in range(depth))
    return b"\x80\x04}K\x01\x94" + tuples + b"K\x02s."


def nested(depth):
    return b"\x80\x04" + b"K\x01" + b"\x85" * depth + b"."


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bomb(200), "holds large things twice"),
        (nested(10**6), "nested deeper"),
        (b"\x80\x04]\x94h\x00a.", "holds itself"),
        (b"\x80\x04K\x01r\xff\xff\xff\x7f.", "damaged"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "damaged"),
        (b"\x80\x04\x8b\xff\xff\xff\x7fabc.", "damaged"),
        (b"", "damaged"),
        (b"\x80\x04a.", "damaged"),
        (b"\x80\x04K\x01.", "is no list of tensors"),
    ],
    ids=["doubled", "nested", "in itself", "far memo", "long text", "long number", "empty", "no stack", "a number"],
)
def test_a_list_that_would_build_without_end_is_refused_at_once(content, why, saved):
    folder, model = saved
    filled(folder, content)
    for read in (lambda: checkpoint.load(folder, model, []), lambda: checkpoint.rows(folder, "weight")):
        with pytest.raises(InputError, match=why):
            read()


def test_a_list_may_name_only_what_is_there(saved, tmp_path):
    """A file elsewhere, a device, a part behind a file's end, and tensors that no file could hold."""
    folder, model = saved
    good = (folder / ".metadata").read_bytes()
    (tmp_path / "elsewhere.distcp").write_bytes(bytes(10_000))
    (folder / "zero.distcp").symlink_to("/dev/zero")
    for name in ("../elsewhere.distcp", str(tmp_path / "elsewhere.distcp"), "zero.distcp", "gone.distcp", "a\0b", 3):
        metadata = pickle.loads(good)
        for place in metadata.storage_data.values():
            place.relative_path = name
        rewritten(folder, metadata)
        with pytest.raises(InputError, match=r"not in its folder|link out of|No such file"):
            checkpoint.load(folder, model, [])
    for change in ({"offset": 1 << 40}, {"length": 1 << 40}, {"offset": -1}):
        metadata = pickle.loads(good)
        for place in metadata.storage_data.values():
            vars(place).update(change)
        rewritten(folder, metadata)
        with pytest.raises(InputError, match="longer than it is"):
            checkpoint.load(folder, model, [])
    metadata = pickle.loads(good)
    metadata.state_dict_metadata["model.weight"].size = torch.Size([1 << 40, 3])
    rewritten(folder, metadata)
    with pytest.raises(InputError, match="larger than its files"):
        checkpoint.rows(folder, "weight")


def test_any_flipped_bit_of_a_list_is_refused_or_changes_nothing(saved):
    """Whatever comes of it is one error, soon."""
    folder, model = saved
    good = (folder / ".metadata").read_bytes()
    wanted = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    refused = []
    for place in range(0, len(good), 3):
        content = bytearray(good)
        content[place] ^= 1 << place % 8
        filled(folder, content)
        try:
            checkpoint.load(folder, model, [])
        except InputError as error:
            refused.append(str(error))
    assert len(refused) > len(good) // 6
    assert not any("\n" in said for said in refused)
    filled(folder, good)
    checkpoint.load(folder, model, [])
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in wanted.items())


def test_the_checksum_is_compared_before_the_list_is_read(tmp_path):
    checkpoint.save(tmp_path, 1, torch.nn.Linear(3, 5), [], {})
    (tmp_path / "step-000001" / ".metadata").write_bytes(bomb(5))
    with pytest.raises(InputError, match=r"\.metadata was altered"):
        checkpoint.rows(tmp_path / "step-000001", "weight")


def test_an_altered_checkpoint_is_refused(tmp_path):
    model = torch.nn.Linear(3, 5)
    checkpoint.save(tmp_path, 1, model, [], {})
    (tmp_path / "step-000001" / "state.json").write_text('{"told": 2}')
    with pytest.raises(InputError, match=r"state\.json was altered"):
        checkpoint.load(tmp_path / "step-000001", model, [])
