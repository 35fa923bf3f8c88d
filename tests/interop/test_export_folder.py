"""A folder of files and their checksums: whole or not there, and altered files are seen."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.interop.export_folder import ensure_unaltered, write_folder

FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)), "README.md": b"# A card\n"}


@pytest.fixture
def folder(tmp_path):
    write_folder(tmp_path / "deep" / "out", FILES)
    return tmp_path / "deep" / "out"


def test_files_are_there_and_nothing_else_is(folder):
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "byteproxy.json"} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["out"]
    ensure_unaltered(folder)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(["config.json", "model.safetensors"]), data=st.data())
def test_any_other_content_is_refused(folder, name, data):
    other = data.draw(st.binary(max_size=300).filter(lambda found: found != FILES[name]))
    (folder / name).write_bytes(other)
    with pytest.raises(InputError, match=rf"{name} was altered.*export the run again"):
        ensure_unaltered(folder)
    (folder / name).write_bytes(FILES[name])
    ensure_unaltered(folder)


def test_a_missing_file_is_refused_and_an_edited_card_is_not(folder):
    (folder / "README.md").write_text("# Another card\n")
    (folder / ".gitattributes").write_text("")
    ensure_unaltered(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"config\.json can't be read"):
        ensure_unaltered(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": "byteproxy-export", "version": 1}', "is damaged"),
        ('{"format": "byteproxy-export", "version": 2, "files": {}}', "another version"),
        (
            json.dumps(
                {"format": "byteproxy-export", "version": 1, "files": {"../x": {"size": 1, "sha256": "0"}}},
            ),
            "not in its folder",
        ),
    ],
)
def test_a_damaged_list_is_refused(folder, content, said):
    (folder / "byteproxy.json").write_text(content)
    with pytest.raises(InputError, match=said):
        ensure_unaltered(folder)


def test_what_is_there_is_never_written_over(folder, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for taken in (folder, tmp_path / "file", tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(InputError, match="exists already"):
            write_folder(taken, FILES)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(InputError, match="cannot write"):
        write_folder(tmp_path / "file" / "out", FILES)


def test_a_failure_leaves_nothing_and_what_a_killed_one_left_goes(tmp_path, monkeypatch):
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "model.safetensors").write_text("half")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="No space left"):
            write_folder(tmp_path / "out", FILES)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="No space left"):
        write_folder(tmp_path / "out", {**FILES, "model.gguf": full})
    assert list(tmp_path.iterdir()) == []
    left.mkdir()
    write_folder(tmp_path / "out", FILES)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*FILES, "byteproxy.json"])


@pytest.mark.parametrize("size", [[], "5", None, True, {}])
def test_a_list_whose_sizes_are_no_numbers_is_damaged(folder, size):
    said = json.loads((folder / "byteproxy.json").read_text())
    said["files"]["config.json"]["size"] = size
    (folder / "byteproxy.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"byteproxy\.json is damaged"):
        ensure_unaltered(folder)
