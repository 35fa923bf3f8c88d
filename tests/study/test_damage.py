"""A study whose files are damaged: it says so, makes again what it can, and never shows other figures."""

import json
import os
import random
import shutil

import pytest
from tests.study.test_study import LAST, figures
from tests.study.toys import ran, recipe

from byteproxy.checksummed import DamagedError, read_checksummed, write_checksummed
from byteproxy.errors import InputError
from byteproxy.study.run_files import BEGUN, RESULT, scores_file
from byteproxy.study.study import Limits, report_study

PLACES = ("runs/trial-proxy-small-lr1e-02-rows1/*", "runs/final-proxy-small-1.6e+08-seed0/*", ".cache/*", "*")
AS_A_FILE = {"corpus": {"sources": ["stdlib"]}}  # a report looks for the corpus in the study's folder


@pytest.fixture
def copied(copied):
    (copied / "report.html").unlink()  # nobody reads it
    return copied


def flipped(path, rng):
    """One bit of a file, anywhere."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def again(out, **options):
    """What a study comes to when it is run again: its figures, or the line that refuses."""
    said = []
    try:
        results = ran(out, say=said.append, **options)
    except InputError as error:
        return None, [*said, str(error)]
    return results, said


def all_figures(results):
    cells = [{name: value for name, value in cell.items() if name != "seconds"} for cell in results["cells"]]
    return *figures(results), results["compressors"], results["curve_text"], results["verdict"], cells


@pytest.mark.parametrize("place", PLACES)
def test_a_flipped_bit_changes_no_figure(finished, copied, place):
    _, results = finished
    rng = random.Random(place)
    paths = [path for path in sorted(copied.glob(place)) if path.is_file() and path.stat().st_size]
    assert paths
    for path in paths:
        before = path.read_bytes()
        flipped(path, rng)
        told = []
        try:
            reported = report_study(recipe(copied.parent, **AS_A_FILE), "toy", copied, say=told.append)
            assert any(path.name in line for line in told) or all_figures(reported) == all_figures(results), path
        except InputError as error:
            told.append(str(error))
        found, said = again(copied)
        if found is None:
            assert path.name in said[-1], path
        else:
            assert all_figures(found) == all_figures(results), path
        if path.exists() and path.suffix in (".jsonl", ".toml"):
            path.write_bytes(before)
        if path.suffix == ".json" and path.name != "results.json":
            assert any(path.name in line for line in (*told, *said)) or path.read_bytes() != before, path


def test_scores_of_another_run_are_scored_again(finished, copied):
    """Whole files in the wrong place: as after a careless copy."""
    one, other = (copied / "runs" / f"final-{arm}-small-1.6e+08-seed0" for arm in ("bytes", "proxy"))
    for split in ("validation", "test"):
        shutil.copy(one / scores_file(split), other / scores_file(split))
    assert all_figures(ran(copied)) == all_figures(finished[1])


def test_a_run_that_was_stopped_goes_on_though_nothing_says_what_it_was_begun_with(finished, copied):
    for name in (BEGUN, RESULT, scores_file("validation")):
        (copied / "runs" / LAST / name).unlink()
    checkpoint = next((copied / "runs" / LAST / "checkpoints").iterdir())
    before = checkpoint.stat().st_ino
    assert all_figures(ran(copied)) == all_figures(finished[1])
    assert checkpoint.stat().st_ino == before, "it was not trained again"


def test_a_damaged_log_of_openings_refuses_until_it_is_reopened(finished, copied):
    path = copied / "opened.jsonl"
    path.write_text(path.read_text().replace("it helps", "it HELPS"))
    for _ in range(2):
        found, said = again(copied)
        assert found is None
        assert "line 1 of" in said[-1]
        assert "--reopen" in said[-1]
    results, _ = again(copied, limits=Limits(reopen=True))
    assert [one.get("reopened", False) for one in results["opened"]] == [False, True]
    assert "damaged" in results["opened"][0]["claim"]
    assert (copied / "opened.jsonl.damaged").exists()
    assert figures(ran(copied)) == figures(finished[1])


@pytest.mark.parametrize("is_there", [True, False])
def test_a_log_of_openings_that_lost_its_lines_is_damaged(finished, copied, is_there):
    path = copied / "opened.jsonl"
    path.unlink()
    if is_there:
        path.touch()
    found, said = again(copied)
    assert found is None
    assert "says nothing, though runs have scores of the test split" in said[-1]
    results, _ = again(copied, limits=Limits(reopen=True))
    assert [one.get("reopened", False) for one in results["opened"]] == [False, True]
    assert figures(ran(copied)) == figures(finished[1])


def test_a_file_that_cannot_be_read_is_said(finished, copied):
    path = copied / "runs" / LAST / RESULT
    path.unlink()
    path.mkdir()
    found, said = again(copied)
    assert found is None
    assert str(path) in said[-1]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b'{"checksum": 3}', b"\xff", b"[" * 100_000])
def test_what_is_no_sealed_object_is_damaged(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.json is damaged"):
        read_checksummed(tmp_path / "a.json")


def test_sealed_values_come_back_and_their_spelling_is_free(tmp_path):
    values = {"a": [1, 0.1, None, "\u00e9"], "b": {"2": 1e300}}
    write_checksummed(tmp_path / "a.json", values)
    assert read_checksummed(tmp_path / "a.json") == values
    found = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(found, sort_keys=True, ensure_ascii=False))
    assert read_checksummed(tmp_path / "a.json") == values
    assert read_checksummed(tmp_path / "b.json") is None


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 8])
def test_killed_at_any_write_it_goes_on_to_the_same_figures(finished, copied, monkeypatch, after):
    """A run that is lost and scores that are damaged are made again, and every so many writes the process is gone."""
    shutil.rmtree(copied / "runs" / LAST)
    flipped(copied / "runs" / "final-bytes-small-1.6e+08-seed0" / scores_file("validation"), random.Random(after))
    replace, left = os.replace, [after]

    def killed(source, target):
        if not left[0]:
            raise SystemExit("killed")
        left[0] -= 1
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(SystemExit):
            ran(copied)
    assert all_figures(ran(copied)) == all_figures(finished[1])


def test_a_pipe_in_place_of_a_file_is_refused_and_waited_for_by_nobody(tmp_path):
    os.mkfifo(tmp_path / RESULT)
    with pytest.raises(InputError, match="no regular file"):
        read_checksummed(tmp_path / RESULT)
