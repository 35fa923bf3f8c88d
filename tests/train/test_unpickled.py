"""What a checkpoint's list of tensors may ask for, and what it may not."""

import os
import pickle

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from byteproxy.errors import InputError
from byteproxy.train import checkpoint
from byteproxy.train.unpickled import Reader


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
    (tmp_path / "step-000001" / "checksums.json").unlink()  # whoever alters a file can alter its checksum, too
    return tmp_path / "step-000001", model


def rewritten(folder, metadata):
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


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


def test_an_altered_checkpoint_is_refused(tmp_path):
    model = torch.nn.Linear(3, 5)
    checkpoint.save(tmp_path, 1, model, [], {})
    (tmp_path / "step-000001" / "state.json").write_text('{"told": 2}')
    with pytest.raises(InputError, match=r"state\.json was altered"):
        checkpoint.load(tmp_path / "step-000001", model, [])
