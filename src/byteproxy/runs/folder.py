"""The files in a folder before it is a run, and whether the run in it is the one that is asked for.

`asked.toml` is the configuration as it was asked for. `config.toml`, which makes the folder a run, is the resolved one:
steps counted, dtype measured, views and start found. The caller of these functions holds the folder.
"""

import re
import shlex
from dataclasses import replace
from pathlib import Path

from byteproxy.config import from_toml, to_toml
from byteproxy.errors import InputError
from byteproxy.files import write_aside
from byteproxy.lock import LOCK
from byteproxy.runs.lineage import LINEAGE
from byteproxy.runs.run_chat import CHAT
from byteproxy.train.identity import Difference, differences, request, taking
from byteproxy.train.run_config import CONFIG, read_run_config
from byteproxy.train.train_config import TrainConfig

ASKED = "asked.toml"
_BEFORE = (ASKED, LINEAGE, CHAT)
_PARTIAL = rf"\.(?:{'|'.join(map(re.escape, (*_BEFORE, CONFIG)))})\.\d+\.partial"
_OURS = re.compile(rf"{'|'.join(map(re.escape, (LOCK, *_BEFORE)))}|{_PARTIAL}")
"""What a run that was killed before it began may leave."""


def ensure_free(folder: Path) -> None:
    """InputError where a new run can't begin in a folder."""
    if (folder / CONFIG).exists():
        raise InputError(
            f"{folder} holds a run already: go on with it by `byteproxy train --resume {shlex.quote(str(folder))}` (or "
            "let the same command do so, with --resume-if-exists), delete it, or give another --out"
        )
    if any(not _OURS.fullmatch(path.name) for path in folder.iterdir()):
        raise InputError(f"{folder} is neither empty nor a run of byteproxy: give another --out")


def remember_asked(folder: Path, asked: TrainConfig) -> None:
    """Leave what was asked for in the folder; InputError where that can't be written."""
    write_aside(folder / ASKED, to_toml(asked).encode())


def asked_again(folder: Path, asked: TrainConfig) -> TrainConfig:
    """The configuration with which the run in a folder goes on where the same run is asked for again.

    What may change is as it is asked for now, and so is the length if another one is asked for than before.
    Raises InputError, naming a field, where the run was begun with another configuration.
    """
    known = read_run_config(folder)
    if (folder / ASKED).exists():
        found = differences(request(from_toml(folder / ASKED, TrainConfig)), request(asked))
    else:
        found = differences(request(known), request(asked))
        found = [one for one in found if not _was_found(one, asked)]
    if others := [one for one in found if one.field != "stop"]:
        raise InputError(
            f"{folder} holds a run of another configuration ({others[0]}): give another --out, or go on with that one "
            f"by `byteproxy train --resume {shlex.quote(str(folder))}`"
        )
    return taking(replace(known, stop=asked.stop) if found else known, asked)


def _was_found(one: Difference, asked: TrainConfig) -> bool:
    """Whether a run's configuration may say more than was asked for, in a field."""
    top = one.field.partition(".")[0]
    by_start = bool(asked.start.path) and top in ("start", "model", "views")
    counted = top == "stop" and asked.length[1] != "steps"
    return by_start or counted or (top == "dtype" and asked.dtype == "auto") or (top == "views" and not asked.views)
