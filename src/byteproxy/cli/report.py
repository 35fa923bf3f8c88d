"""`byteproxy report`: the page of what a folder holds, from its files alone."""

from pathlib import Path
from typing import Annotated

import tyro

from byteproxy.cli.output import Json, console, end


def report(
    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PATH [PATH ...]")],
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
    json: Json = False,
) -> None:
    """Make the page of a run, a study, a demo, a conversion or a corpus, or of several runs side by side.

    The files in the folder are enough: a run may be going on, stopped, killed or finished, and its corpus may be
    elsewhere. The page of a run that goes on renews itself while it is open and the run writes it.

    Args:
        paths: Folder of a run, a study, a demo, a conversion or a corpus; or the folders of several runs.
        out: Page to write; unless given it is report.html in the folder, or a page in runs/pages for a corpus and for
            several runs.
    """
    from byteproxy.errors import InputError
    from byteproxy.report.folder_kind import kind_of

    if not paths:
        raise InputError("no folder is named: give that of a run, a study, a demo, a conversion or a corpus")
    for path in paths:
        kind_of(path)  # what leads nowhere is refused before torch is imported
    from byteproxy.report.build_page import build_page

    built = build_page(paths, out)
    console(json).say(f"Page: {built.path}")
    end(json, {"kind": built.kind, "figures": built.figures, "page": str(built.path)})
