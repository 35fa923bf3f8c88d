import json
import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from byteproxy.corpus.records import Rules
from byteproxy.corpus.split import SplitGroup, SplitOptions
from byteproxy.errors import InputError
from byteproxy.store import format
from byteproxy.store.format import FileInfo
from byteproxy.store.manifest import (
    Manifest,
    ShardInfo,
    SourceInfo,
    SplitInfo,
    ViewInfo,
    read_manifest,
    write_manifest,
)

SHARD = ShardInfo(FileInfo("shard-00000.arrow", 10, "ab"), "train", 2, 8)
FIRST = ViewInfo("first", "f1", 256, True, 4, 3, 2.0, (FileInfo("shard-00000.first.arrow", 3, "cd"),))
OPAQUE = replace(FIRST, name="opaque", fingerprint="f2", aligned=False)
SECOND = replace(FIRST, name="second", fingerprint="f3", artefact=FileInfo("view-second.x", 5, "ij"), spec="second:3")
MANIFEST = Manifest(
    split=SplitOptions(0.1, 0.2, "salt"),
    shard_bytes=100,
    sources={"toy": SourceInfo(3, 9, "ef", 0.5), "a later one": SourceInfo(0, 0, "")},
    rules=Rules(2, 3, "repair"),
    near_duplicates="train",
    records=3,
    splits={"train": SplitInfo(2, 8, 1)},
    rejected={"exact duplicate": 1},
    rejected_file=FileInfo("rejected.jsonl", 4, "gh"),
    shards=(SHARD,),
    views=(OPAQUE, FIRST, SECOND),
)


def test_manifest_comes_back(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST
    content = json.loads((tmp_path / "manifest.json").read_text())
    assert (content["format"], content["version"]) == ("byteproxy-store", 3)
    assert content["fingerprint"] == MANIFEST.fingerprint
    assert (tmp_path / "manifest.json").read_text() == json.dumps(content, indent=2) + "\n"
    assert list(read_manifest(tmp_path).sources) == ["toy", "a later one"]
    plain = replace(MANIFEST, rejected_file=None)
    write_manifest(tmp_path, plain)
    assert read_manifest(tmp_path) == plain


@pytest.mark.parametrize("name", ["../shard-00000.arrow", "/dev/zero", "", "..", "a\0b", "x" * 256, 5, None])
def test_a_name_that_leads_out_of_the_folder_is_refused(name: object, tmp_path: Path) -> None:
    """Also with a fingerprint that fits."""
    for manifest in (
        replace(MANIFEST, shards=(replace(SHARD, file=replace(SHARD.file, name=name)),)),
        replace(MANIFEST, rejected_file=replace(SHARD.file, name=name)),
        replace(MANIFEST, views=(replace(FIRST, files=(replace(SHARD.file, name=name),)),)),
        replace(MANIFEST, views=(replace(FIRST, artefact=replace(SHARD.file, name=name)),)),
    ):
        write_manifest(tmp_path, manifest)
        with pytest.raises(InputError, match=r"manifest\.json names .* not in its folder"):
            read_manifest(tmp_path)


def test_a_manifest_or_a_shard_that_never_ends_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="no regular file"):
        read_manifest(tmp_path)
    os.mkfifo(tmp_path / "shard-00000.arrow")
    (tmp_path / "shard-00001.arrow").symlink_to("/dev/zero")
    for number in (0, 1):
        with pytest.raises(InputError, match=r"no regular file|link out"):
            format.read_batch(tmp_path / format.shard_name(number))


@pytest.mark.parametrize(
    "content", ["[" * 10**6, '{"format": ' + "1" * 5000 + "}", "{}", "[]", "3", "null", '{"a":' * 9999]
)
def test_a_manifest_of_anything_else_is_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json is damaged") as error:
        read_manifest(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("before", "after"),
    [('"documents": 2', '"documents": 3'), ('"fingerprint"', '"footprint"'), ('"shards": [', '"shards": 5, "x": [')],
)
def test_altered_manifest_is_refused(before: str, after: str, tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 200, -3])
def test_truncated_manifest_is_refused(length: int, tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"manifest\.json is damaged"):
        read_manifest(tmp_path)


def test_other_versions_and_no_corpus_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished corpus"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, MANIFEST)
    written = (tmp_path / "manifest.json").read_text()
    for older in (1, 2):
        (tmp_path / "manifest.json").write_text(written.replace('"version": 3', f'"version": {older}'))
        with pytest.raises(
            InputError,
            match=f"version {older}, but .* reads byteproxy-store versions 3 and 4: prepare the corpus again",
        ):
            read_manifest(tmp_path)


def test_files_are_all_beside_the_manifest() -> None:
    names = ["shard-00000.arrow", *["shard-00000.first.arrow"] * 3, "view-second.x", "rejected.jsonl"]
    assert [file.name for file in MANIFEST.files] == names
    assert replace(MANIFEST, views=(), rejected_file=None).files == [SHARD.file]


def test_fingerprint_follows_what_a_run_reads() -> None:
    assert replace(MANIFEST, views=()).fingerprint != MANIFEST.fingerprint
    assert replace(MANIFEST, shards=(replace(SHARD, split="test"),)).fingerprint != MANIFEST.fingerprint
    fewer = replace(MANIFEST, views=(OPAQUE, FIRST))
    assert fewer.fingerprint_for(("first",)) == MANIFEST.fingerprint_for(("first",))
    assert MANIFEST.fingerprint_for(("second",)) != MANIFEST.fingerprint_for(("first",))
    # Raw text is cut at the first aligned view's anchors, so its passages depend on that view and on no other.
    assert MANIFEST.fingerprint_for(()) == fewer.fingerprint_for(()) == fewer.fingerprint_for(("first",))
    assert MANIFEST.fingerprint_for(()) != replace(MANIFEST, views=(SECOND, FIRST)).fingerprint_for(())


def test_view_by_name() -> None:
    assert MANIFEST.view("second") is SECOND
    with pytest.raises(InputError, match=r"no view 'third' .*opaque, first, second"):
        MANIFEST.view("third")


def test_a_manifest_of_format_3_is_read_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    """Its splits are what they were, and runs that were trained on it go on; the hash is of what was written then."""
    older = replace(MANIFEST, groups=())
    write_manifest(tmp_path, older)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written["version"] == 3
    assert written.keys() == {
        *("format", "version", "fingerprint", "split", "shard_bytes", "rules", "near_duplicates", "records", "sources"),
        *("sides", "rejected", "rejected_file", "shards", "views"),
    }
    assert written["split"].keys() == {"validation", "test", "salt"}
    content = {key: value for key, value in written.items() if key not in ("format", "version", "fingerprint")}
    assert written["fingerprint"] == sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    assert read_manifest(tmp_path) == older
    group = SplitGroup("a", None, 2, 5, 90, 3, "file", "project", 5, 10)
    newer = replace(older, groups=(group,), split=replace(older.split, hold_out=("validation:p",)))
    write_manifest(tmp_path, newer)
    assert json.loads((tmp_path / "manifest.json").read_text())["version"] == 4
    assert read_manifest(tmp_path) == newer
    assert len({one.fingerprint for one in (older, newer, replace(newer, groups=(replace(group, test="file"),)))}) == 3
