"""The commands of the README are run, top to bottom, as a reader would.

Four things are changed: training is cut to a second or two, runs go to a folder of the test's own, the standard
library and the demo's model are small ones (`small_stdlib`; it gives no 65,536 symbols, so views that would have as
many get 4,096), and of the targets that would run the tests from within the tests, or work for minutes, only what make
would run is looked at.
"""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from tests.small_stdlib import small_stdlib
from tests.waiting import GUARD_SECONDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.partition("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]
PRINTED_ONLY = {"make demo": "byteproxy demo", "make test": "pytest", "make lint": "ruff check", "make bench": "run.py"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What each command printed, by command."""
    out = tmp_path_factory.mktemp("readme") / "run"
    # Compiling takes longer here than all training.
    environment = small_stdlib(out.with_name("stdlib")) | {"TORCH_COMPILE_DISABLE": "1"}
    printed = {}
    for command in COMMANDS:
        mine = re.sub(r"--minutes \S+(?= )", f"--minutes 0.02 --out {shlex.quote(str(out))}", command)
        mine = mine.replace("runs/demo", str(out)).replace("runs/corpus", str(out.with_name("corpus")))
        mine = mine.replace("runs/first", str(out.with_name("first")))
        if "train" in mine:
            corpus = shlex.quote(str(out.with_name("corpus")))
            mine = mine.replace("train 1m", f"train 1m --corpus {corpus} --validation.bytes 2000 --no-compile")
        mine = mine.replace(" bpe codebook", " bpe:4096 codebook").replace(" token_bytes", " token_bytes:alphabet=4096")
        if command in PRINTED_ONLY:
            mine = command.replace("make", "make -n")
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", mine],
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",  # a model writes any bytes
            timeout=GUARD_SECONDS,  # a guard, no measure: seconds on a free machine
            stdin=subprocess.DEVNULL,
            env=environment,
        )
        assert done.returncode == 0, f"{mine}\n{done.stderr}"
        printed[command] = done.stdout
    return printed


def test_every_command_runs_and_prints(ran):
    assert len(COMMANDS) >= 6
    for command, output in ran.items():
        assert output.strip(), command


def test_make_targets_do_what_their_names_say(ran):
    for command, part in PRINTED_ONLY.items():
        assert part in ran[command]


def test_the_json_line_holds_what_the_readme_says(ran):
    (output,) = [output for command, output in ran.items() if "--json" in command and "demo" in command]
    results = json.loads(output)
    for name in ("bytes", "proxy"):
        assert {"raw_bpb", "flops", "positions", "text_bytes_seen", "seconds"} <= results["arms"][name].keys()
    assert {"held_out_bytes", "xz_bpb", "ppmd_bpb", "sample", "report"} <= results.keys()
    assert Path(results["report"]).exists()


def test_every_file_that_the_readme_names_exists():
    linked = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert len(linked) >= 3
    for name in linked:
        assert (ROOT / name).exists(), name
