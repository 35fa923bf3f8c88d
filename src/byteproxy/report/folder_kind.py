"""What a folder holds that a page is made of, by the names in it: told before torch is imported."""

from pathlib import Path

from byteproxy.errors import InputError
from byteproxy.runs.model_folder import CONVERSION
from byteproxy.store.format import MANIFEST
from byteproxy.study.study_folder import SETTINGS
from byteproxy.train.run_config import CONFIG

_DEMO = "demo.toml"


def kind_of(folder: Path) -> str:
    """What a folder holds: "study", "demo", "conversion", "run" or "corpus"; InputError where it is none of them."""
    marks = {"study": SETTINGS, "demo": _DEMO, "conversion": CONVERSION, "run": CONFIG, "corpus": MANIFEST}
    found = next((kind for kind, name in marks.items() if (folder / name).is_file()), None)
    if found is None:
        why = "is no folder" if not folder.is_dir() else "holds no run, study, demo, conversion or corpus"
        raise InputError(f"{folder} {why}: name what `byteproxy train`, `study`, `demo`, `convert` or `prepare` wrote")
    return found
