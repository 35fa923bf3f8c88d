"""A small standard library and a small demo, for commands that read all of it: 30 MB take minutes, half one seconds."""

import importlib.resources
import os
import re
import shutil
import sysconfig
from pathlib import Path

import byteproxy
from byteproxy.recipes import named

FILE_BYTES = 4000
"""Of each module at the top level; there are more of these than the fewest that byteproxy takes for a library."""
SMALLER = {
    "dtype": '"float32"',
    "alphabet": 1024,
    "width": 64,
    "layers": 1,
    "heads": 1,
    "ffn": 128,
    "sequence_length": 1024,
    "validation_bytes": 3000,
    "test_bytes": 20_000,
    "document_bytes": 5000,
    "max_bytes": 60,
}
"""Of the demo, whose own model trains and scores for a minute where it does next to nothing."""

_STARTUP = """
import importlib.resources, pathlib, sysconfig

_path, _files = sysconfig.get_path, importlib.resources.files
sysconfig.get_path = lambda name, *more, **options: {library!r} if name == "stdlib" else _path(name, *more, **options)
importlib.resources.files = lambda name: pathlib.Path({package!r}) if name == "byteproxy" else _files(name)
"""


def small_stdlib(folder: Path) -> dict[str, str]:
    """The environment in which commands find both, which are written to a folder that this makes."""
    library, package, startup = folder / "library", folder / "package", folder / "startup"
    library.mkdir(parents=True)
    startup.mkdir()
    for path in Path(sysconfig.get_path("stdlib")).glob("*.py"):
        (library / path.name).write_bytes(path.read_bytes()[:FILE_BYTES])
    package.mkdir()
    whole = Path(byteproxy.__file__).parent
    for path in whole.iterdir():
        if path.name != "recipes":
            (package / path.name).symlink_to(path)
    recipe = shutil.copytree(whole / "recipes", package / "recipes") / "demo.toml"
    told, table, model = recipe.read_text().partition("\n[convert]")  # what a model learns by is left as it is
    for name, value in SMALLER.items():
        told, found = re.subn(rf"(?m)^{name} = \S+", f"{name} = {value}", told)
        assert found == 1, name
    recipe.write_text(told + table + model)
    (startup / "sitecustomize.py").write_text(_STARTUP.format(library=str(library), package=str(package)))
    # The package that is tested, which need not be the installed one.
    places = [str(startup), str(whole.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(places)}


def found_here_too(folder: Path) -> None:
    """Let commands of this process find both in the folder that `small_stdlib` made."""
    exec((folder / "startup" / "sitecustomize.py").read_text(), {})
    named.files = importlib.resources.files
