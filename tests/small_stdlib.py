"""A small standard library, for commands that read all of it: they take minutes on 30 MB, and seconds on half a MB."""

import os
import sysconfig
from pathlib import Path

FILE_BYTES = 4000
"""Of each module at the top level; there are more of these than the fewest that byteproxy takes for a library."""

_STARTUP = """
import sysconfig

_all = sysconfig.get_path
sysconfig.get_path = lambda name, *more, **options: {folder!r} if name == "stdlib" else _all(name, *more, **options)
"""


def small_stdlib(folder: Path) -> dict[str, str]:
    """The environment in which commands find a small standard library, which is written to a folder that this makes."""
    library, startup = folder / "library", folder / "startup"
    library.mkdir(parents=True)
    startup.mkdir()
    for path in Path(sysconfig.get_path("stdlib")).glob("*.py"):
        (library / path.name).write_bytes(path.read_bytes()[:FILE_BYTES])
    (startup / "sitecustomize.py").write_text(_STARTUP.format(folder=str(library)))
    return {**os.environ, "PYTHONPATH": str(startup)}
