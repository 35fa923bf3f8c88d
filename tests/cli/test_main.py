"""The commands as a user meets them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tests.cli.commands import explained, on_terminal
from tests.small_stdlib import small_stdlib

from byteproxy.cli import main as cli
from byteproxy.export.llama import export_llama
from byteproxy.model.config import ModelConfig
from byteproxy.model.transformer import Transformer
from byteproxy.vocab import Vocab

BYTEPROXY = Path(sys.executable).parent / "byteproxy"


def byteproxy(*arguments, **options):
    return subprocess.run([BYTEPROXY, *arguments], capture_output=True, text=True, timeout=300, **options)


def refused(result):
    """Exit status 2 and one line that is no traceback."""
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("byteproxy: ")
    return line


def test_help_teaches_the_tool_and_comes_at_once():
    begin = time.perf_counter()
    result = byteproxy("--help")
    assert time.perf_counter() - begin < 2
    assert result.returncode == 0
    for word in ("compress", "raw bytes", "demo", "generate", "--json", "arXiv 2602.04289", "train --plan 3m"):
        assert word in result.stdout
    assert "• train " in result.stdout
    order = [
        result.stdout.index(f"  byteproxy {name} ") for name in ("prepare", "mixture", "train", "demo", "generate")
    ]
    assert order == sorted(order), "as the pipeline goes"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ["--out", "--minutes", "--seed", "--json"]),
        (
            "generate",
            ["DIR", "--prompt", "--most-bytes", "--top-p", "--stop", "--utf8", "--drafts", "--interactive", "--json"],
        ),
    ],
)
def test_every_option_is_explained(command, options):
    text = byteproxy(command, "--help").stdout
    for option in options:
        assert explained(text, option), option


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "precious").write_text("x")
    assert "neither empty nor a run" in refused(byteproxy("demo", "--out", str(tmp_path)))
    assert (tmp_path / "precious").read_text() == "x"


def test_wrong_options_are_refused():
    assert "minutes is -1" in refused(byteproxy("demo", "--minutes", "-1", "--out", "never-made"))
    assert not Path("never-made").exists()
    assert byteproxy("demo", "--minuets", "3").returncode == 2


def test_an_interpreter_without_sources_is_refused(tmp_path, monkeypatch, capsys):
    from byteproxy.corpus import stdlib

    monkeypatch.setattr(stdlib.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["byteproxy", "demo", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "source files" in capsys.readouterr().err.splitlines()[-1]


def test_generate_refuses_what_is_no_model(tmp_path):
    assert "no model" in refused(byteproxy("generate", str(tmp_path)))


def test_ctrl_c_stops_with_one_line_and_the_same_command_goes_on(tmp_path):
    """Stopped in training twice: the second time it had taken up where it stopped, and prepared nothing again."""
    command = [BYTEPROXY, "demo", "--minutes", "5", "--out", str(tmp_path / "run"), "--json"]
    metrics = tmp_path / "run" / "arms" / "bytes" / "metrics.jsonl"
    steps: list[list[int]] = []
    # Compiling takes longer than all the rest.
    environment = small_stdlib(tmp_path / "stdlib") | {"TORCH_COMPILE_DISABLE": "1"}
    for _ in range(2):
        before = len(steps_in(metrics))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        while len(steps_in(metrics)) <= before:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=120)
        assert process.returncode == 130
        assert said.strip().splitlines()[-1] == "byteproxy: stopped; the same command goes on from here"
        assert "Traceback" not in said
        assert printed == "", "with --json, stdout is for programs"
        assert ("train the BPE view" in said) == (not steps)
        steps.append(steps_in(metrics))
    first, second = steps
    assert second[: len(first)] == first
    assert len(set(second)) == len(second) > len(first)


def steps_in(metrics: Path) -> list[int]:
    """The steps whose losses were logged; looks at validation text are lines of their own."""
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return [line["step"] for line in map(json.loads, lines) if "loss" in line]


def test_a_model_writes_the_same_each_time(tmp_path):
    torch.manual_seed(0)
    config = ModelConfig(width=32, layers=1, heads=2, ffn=64)
    export_llama(Transformer(config, Vocab().size), 64, tmp_path / "model")
    model = str(tmp_path / "model")
    texts = [byteproxy("generate", model, "--prompt", "def ", "--most-bytes", "30").stdout for _ in range(2)]
    assert texts[0] == texts[1] != ""
    piped = byteproxy("generate", model, "--prompt", "-", "--json", input="def ")
    assert json.loads(piped.stdout)["continuation"] + "\n" == byteproxy("generate", model, "--prompt", "def ").stdout


def test_progress_has_rate_and_time_left_on_a_terminal():
    """A bar drawn on a pseudo-terminal."""
    code = (
        "import time\nfrom byteproxy.cli.progress import stage\n"
        "with stage('count sheep', 'B') as progress:\n"
        "    for done in range(12):\n        progress(done * 1000, 12000)\n        time.sleep(0.1)\n"
    )
    text = on_terminal([sys.executable, "-c", code], "stderr").decode()
    assert "count sheep" in text
    assert "of 12.0 kB" in text
    assert "kB/s" in text
    assert "left" in text
