"""The programs in examples/, run as they stand in a folder of their own."""

import re
import runpy
import shutil
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from tests.views.contract import ODD_DOCUMENTS, check_documents, check_kind

import byteproxy

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
MODEL, NEEDS_MODEL = EXAMPLES / "train_and_generate.py", "score_texts"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where they run, one after the other, as somebody would who tries them all."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_it_runs(program, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    if program.stem == NEEDS_MODEL and not (folder / "runs/examples/run").exists():
        runpy.run_path(str(MODEL), run_name="__main__")
        capsys.readouterr()
    runpy.run_path(str(program), run_name="__main__")
    printed = capsys.readouterr().out
    assert printed
    if program.stem == "another_trainer":
        losses = [float(value) for value in re.findall(r"step \d+: ([\d.]+)", printed)]
        assert len(losses) == 20
        assert losses[-1] < losses[0] - 0.5


def test_they_are_short():
    for path in EXAMPLES.rglob("*.py"):
        assert len(path.read_text().splitlines()) < 40, path


def test_a_package_adds_its_view(tmp_path, monkeypatch):
    """As an installed package: its module, and beside it the entry points of its pyproject.toml."""
    package = EXAMPLES / "own_view"
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    for module in package.glob("*.py"):
        shutil.copy(module, tmp_path)
    told = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    (told / "entry_points.txt").write_text(
        "[byteproxy.views]\n"
        + "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["byteproxy.views"].items())
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "indents" in {entry.name for entry in entry_points(group="byteproxy.views")}
    view = byteproxy.view("indents")
    check_kind(type(view))
    check_documents(view, ODD_DOCUMENTS)
    assert len(view.encode(b"    return x").symbols) == 9
