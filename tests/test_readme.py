"""The commands of the README and of the pages for users are run, top to bottom, as a reader would.

Five things are changed: training is cut to a second or two, runs go to a folder of the test's own, the standard
library and the demo's model are small ones (`small_stdlib`; it gives no 65,536 symbols, so views that would have as
many get 4,096), and make only says what it would run, which is run where it does not take minutes, and without the
model that it would fetch.

A command in which the shell does nothing but split words runs in a fork of this process: to import byteproxy takes
longer than most commands.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.fuzz import server
from tests.small_stdlib import found_here_too, small_stdlib
from tests.waiting import GUARD_SECONDS

ROOT = Path(__file__).parents[1]
# The README goes on with the model that the demo of the first page leaves.
PAGES = [ROOT / name for name in ("docs/training.md", "docs/generation.md", "docs/views.md", "README.md")]
COMMANDS = [
    line.partition("  #")[0].strip()
    for page in PAGES
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.strip() and not line.startswith("#")
]
PRINTED_ONLY = {"make demo": "byteproxy demo"}
PROGRAMS = ".venv/bin/"


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder of the demo; corpus and first run lie beside it."""
    return tmp_path_factory.mktemp("readme") / "run"


def shortened(command, out):
    """A command that takes a second or two, and leaves what it makes in the test's own folder."""
    mine = re.sub(r"--minutes \S+(?= )", f"--minutes 0.02 --out {shlex.quote(str(out))}", command)
    mine = mine.replace("runs/demo", str(out)).replace("runs/corpus", str(out.with_name("corpus")))
    for run in ("first", "paper"):
        mine = mine.replace(f"runs/{run}", str(out.with_name(run)))
    if "train" in mine:
        corpus = shlex.quote(str(out.with_name("corpus")))
        short = f"--corpus {corpus} --validation.bytes 2000 --no-compile"
        mine = mine.replace("train 1m", f"train 1m {short}")
        mine = mine.replace("train 3m-paper", f"train 3m-paper {short} --shape.sequences-per-step 1 --model.layers 1")
    return mine.replace(" bpe codebook", " bpe:4096 codebook").replace(" token_bytes", " token_bytes:alphabet=4096")


def shell(command, environment):
    """What a command prints in a shell at the root of the project."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace(PROGRAMS, f"{Path(sys.executable).parent}/")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        errors="replace",  # a model writes any bytes
        timeout=GUARD_SECONDS,  # a guard, no measure: seconds on a free machine
        stdin=subprocess.DEVNULL,
        env=environment,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def forked(command, environment, folder):
    """What a command prints in a fork of this process, where the shell would do nothing but split words."""

    def program(arguments):
        os.environ.update(environment)
        os.chdir(ROOT)
        found_here_too(folder)
        torch._dynamo.config.disable = True
        return server.byteproxy_main(arguments)

    done = server.run(shlex.split(command)[1:], folder, limit=GUARD_SECONDS, program=program)
    assert done.status == 0, f"{command}\n{done.said}"
    return done.stdout.decode(errors="replace")


@pytest.fixture(scope="module")
def ran(out):
    """What each command printed, by command."""
    folder = out.with_name("stdlib")
    # Compiling takes longer here than all training.
    environment = small_stdlib(folder) | {"TORCH_COMPILE_DISABLE": "1"}
    server.load()
    printed = {}
    for command in COMMANDS:
        mine = shortened(command, out)
        if mine.startswith("make "):
            target, *pipe = mine.split(" | ", 1)
            told = shell(f"make -n {target.removeprefix('make ')}", environment)
            unfetched = re.sub(r"\$\(.*?\)", "--scratch", told.splitlines()[-1])
            mine = " | ".join([unfetched, *pipe])
            printed[command] = told
        if command not in PRINTED_ONLY:
            plain = mine.startswith(f"{PROGRAMS}byteproxy ") and not re.search("[|<>]", mine)
            printed[command] = forked(mine, environment, folder) if plain else shell(mine, environment)
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


def test_the_python_lines_run(ran, out, capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGES[-1].read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block.replace("runs/demo", str(out)), "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    "page", sorted({*PAGES, *ROOT.glob("docs/*.md"), *ROOT.glob("*.md")}), ids=lambda one: one.name
)
def test_every_file_that_a_page_names_exists(page):
    for name in re.findall(r"\]\(\s*(?!http)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / name).exists(), name
