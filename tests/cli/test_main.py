"""The commands as a user meets them."""

import json
import re
import subprocess
import sys

import pytest
import torch
from tests.cli.commands import BYTEPROXY, explained, help_at_once, in_process, on_terminal, refusal
from tests.waiting import GUARD_SECONDS

from byteproxy import __version__ as version
from byteproxy.cli import main as cli
from byteproxy.interop.llama import export_llama
from byteproxy.jit import COMPILING
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import Vocab


def byteproxy(*arguments, **options):
    return subprocess.run([BYTEPROXY, *arguments], capture_output=True, text=True, timeout=GUARD_SECONDS, **options)


def test_help_teaches_the_tool_and_comes_at_once():
    told = help_at_once()
    for word in ("compress", "raw bytes", "demo", "generate", "--json", "arXiv 2602.04289", "train --plan 3m"):
        assert word in told
    order = [told.index(f"  byteproxy {name} ") for name in ("prepare", "mixture", "train", "demo", "generate")]
    assert order == sorted(order), "as the pipeline goes"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ["--out", "--model", "--scratch", "--minutes", "--seed", "--json"]),
        (
            "generate",
            ["DIR", "--prompt", "--max-bytes", "--top-p", "--stop", "--utf8", "--drafts", "--interactive", "--json"],
        ),
    ],
)
def test_every_option_is_explained(command, options):
    text = byteproxy(command, "--help").stdout
    for option in options:
        assert explained(text, option), option


def test_a_folder_of_something_else_is_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "precious").write_text("x")
    assert "neither empty nor a run" in refusal(in_process(monkeypatch, capsys)("demo", "--scratch", "--out", tmp_path))
    assert (tmp_path / "precious").read_text() == "x"


def test_wrong_options_are_refused(tmp_path, monkeypatch, capsys):
    run = in_process(monkeypatch, capsys)
    assert "minutes is -1" in refusal(run("demo", "--minutes", "-1", "--out", tmp_path / "never-made"))
    assert not (tmp_path / "never-made").exists()
    assert refusal(run("demo", "--minuets", "3")).endswith("did you mean --minutes?")


def test_a_demo_without_its_model_is_refused_with_what_to_do(tmp_path, monkeypatch, capsys):
    run = in_process(monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    said = refusal(run("demo"))
    assert "there is no model models/" in said
    assert "`make demo`" in said
    assert "--scratch" in said
    assert "leave one of them out" in refusal(run("demo", "--scratch", "--model", "x.gguf"))
    assert list(tmp_path.iterdir()) == []


def test_an_interpreter_without_sources_is_refused(tmp_path, monkeypatch, capsys):
    from byteproxy.corpus import stdlib

    monkeypatch.setattr(stdlib.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["byteproxy", "demo", "--scratch", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "source files" in capsys.readouterr().err.splitlines()[-1]


def test_generate_refuses_what_is_no_model(tmp_path, monkeypatch, capsys):
    assert "no model" in refusal(in_process(monkeypatch, capsys)("generate", tmp_path))


def test_a_model_writes_the_same_each_time(tmp_path, monkeypatch, capsys):
    """In whichever process, and whether the prompt is an option or is piped in."""
    torch.manual_seed(0)
    config = ModelConfig(width=32, layers=1, heads=2, ffn=64)
    export_llama(Transformer(config, Vocab().size), 64, tmp_path / "model")
    model = str(tmp_path / "model")
    options = ("--prompt", "def ", "--max-bytes", "30", "--utf8")
    run = in_process(monkeypatch, capsys)
    texts = [run("generate", model, *options)[1] for _ in range(2)]
    assert texts[0] == texts[1] != ""
    piped = byteproxy("generate", model, "--prompt", "-", *options[2:], "--json", input="def ")
    assert json.loads(piped.stdout)["continuation"] == texts[0]


def test_progress_has_rate_and_time_left_on_a_terminal():
    """A bar drawn on a pseudo-terminal."""
    code = (
        "from byteproxy.cli.progress import stage\nfrom byteproxy.console import STDERR\n"
        "clock = [0.0]\nSTDERR.get_time = lambda: clock[0]\n"
        "with stage('count sheep', 'B') as progress:\n"
        "    for clock[0] in range(10):\n        progress(clock[0] * 1000, 12000)\n"
    )
    text = on_terminal([sys.executable, "-c", code], "stderr").decode()
    text = re.sub(r"\x1b\[[\d;?]*\w", "", text)
    assert "count sheep" in text
    assert "9.0 kB of 12.0 kB, 1.0 kB/s 0:00:09 left 0:00:03" in text


def test_the_version_comes_at_once_and_nothing_heavy_with_it():
    code = (
        "import sys\nfrom byteproxy.cli.main import main\nsys.argv = ['byteproxy', '--version']\nmain()\n"
        "assert not {'torch', 'numba', 'numpy', 'tyro', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"byteproxy {version}\n", "")


NOWHERE = [
    ["generate", "nowhere"],
    ["generate", "nowhere", "--view", "bpe-300"],
    ["export", "nowhere", "--out", "out"],
    ["eval", "bpb", "nowhere"],
    ["eval", "transfer", "nowhere"],
    ["train", "--resume", "nowhere"],
    ["train", "3m", "--from", "nowhere"],
    ["report", "nowhere"],
]


def test_what_leads_nowhere_is_refused_before_torch_is_imported(tmp_path):
    """torch takes seconds to import."""
    code = (
        f"import sys\nfrom byteproxy.cli.main import main\nfor words in {NOWHERE}:\n"
        "    sys.argv = ['byteproxy', *words]\n    try:\n        main()\n    except SystemExit as stop:\n"
        "        assert stop.code == 2, words\n    else:\n        raise AssertionError(words)\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [line.startswith("byteproxy: ") and "nowhere" in line for line in done.stderr.splitlines()] == [True] * 8


def test_what_shows_a_corpus_or_a_view_loads_no_trainer():
    """torch takes seconds to import, in which nothing is said."""
    shown = (
        "evaluate.corpus.corpus_terminal",
        "report.corpus_page",
        "evaluate.views.view_terminal",
        "report.views_page",
    )
    code = f"import importlib, sys\nfor name in {shown}:\n    importlib.import_module(f'byteproxy.{{name}}')\n"
    code += "    assert 'torch' not in sys.modules, name"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_that_compiles_is_imported_before_something_is_compiled():
    """torch._dynamo takes seconds more, and most commands never compile."""
    code = "import sys, byteproxy.training, byteproxy.runs.load\nassert 'torch._dynamo' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_alone_it_teaches(monkeypatch, capsys):
    run = in_process(monkeypatch, capsys)
    assert run() == run("--help") == run("-h")
    assert run()[0] == 0
    lines = run()[1].splitlines()
    assert len(set(filter(None, lines))) == len(list(filter(None, lines))), "no line twice"
    for word, group in cli.COMMANDS.items():
        if isinstance(group, cli.Group):
            status, told, _ = run(word)
            assert status == 0
            assert all(f"byteproxy {word} {name} " in told for name in group.commands)


def commands():
    """Every command as it is typed, and its function."""
    for word, found in cli.COMMANDS.items():
        inner = found.commands if isinstance(found, cli.Group) else {"": found}
        for name in inner:
            yield [word, *([name] if name else [])]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_has_no_word_of_python_for_nothing(monkeypatch, capsys, words):
    status, told, said = in_process(monkeypatch, capsys)(*words, "--help")
    assert (status, said) == (0, "")
    assert "usage: byteproxy " + " ".join(words) in told
    for leak in ("default: None", "default: )", "default: False", "{None}"):
        assert leak not in told


@pytest.mark.parametrize("columns", [60, 100, 200])
def test_help_fills_a_terminal_of_any_width(monkeypatch, capsys, columns):
    """Its lines end where the terminal's do, between words, and not where those of the source do."""
    monkeypatch.setenv("COLUMNS", str(columns))
    _, told, _ = in_process(monkeypatch, capsys)("generate", "--help")
    lines = told.splitlines()
    assert columns - 15 < max(map(len, lines)) <= columns
    about = "A terminal shows the answer as text, with escapes"
    assert about in (told if columns > 60 else " ".join(lines))
    told = re.sub(r"[\s\u2502]+", " ", told)
    assert about in told
    assert "bytes_base64 holds the bytes of the answer" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["genrate"], "there is no command 'genrate'; did you mean generate?"),
        (["--verison"], "there is no option '--verison'; did you mean --version?"),
        (["xyzzy"], "there is no command 'xyzzy'; name one of prepare, corpus"),
        (["views", "compar"], "there is no command 'compar' of `byteproxy views`; did you mean compare?"),
        (["views", "xyzzy"], "there is no command 'xyzzy' of `byteproxy views`; name one of list"),
        (["demo", "--minutes", "x"], "--minutes is 'x': give a number"),
        (["demo", "--seed", "1.5"], "--seed is '1.5': give a whole number"),
        (["demo", "--seed"], "--seed is given without a value"),
        (["demo", "--minutes", "nan"], "--minutes is nan: give a finite number"),
        (["demo", "--minutes", "1e400"], "--minutes is inf: give a finite number"),
        (["eval", "bpb", "x", "--max-bytes", str(1 << 63)], "--max-bytes is beyond 2^63: give a smaller number"),
        (["eval", "bpb", "x", "--document-bytes", "9" * 4000], "--document-bytes is beyond 2^63"),
        (["eval", "bpb", "x", "--stride", "x"], "--stride is 'x': give a whole number"),
        (["study", "study_small", "--minutes", ""], "--minutes is '': give a number"),
        (["demo", "x"], "'x' is one word too many for `byteproxy demo`"),
        (["generate", "x", "--stop"], "--stop is given without a value"),
        (["generate", "x", "--stop", "--utf8"], "--stop is given without a value"),
        (["generate", "x", "--dtype", "float64"], "--dtype is 'float64': give one of float32, bfloat16"),
        (["export", "x"], "--out is missing"),
        (["generate"], "DIR is missing"),
        (
            ["generate", "x", "--top_q", "1"],
            "there is no option --top_q of `byteproxy generate`; did you mean --top-p?",
        ),
        (["train", "3mm"], "did you mean 3m?"),
        (["study", "study_smal"], "did you mean study_small?"),
        (["views", "train", "bpee"], "did you mean bpe?"),
        (["generate", "\x1b]0;owned\x07\n\u202e"], r"'\x1b]0;owned\x07\n\u202e' holds no model"),
    ],
)
def test_mistakes_get_one_line_that_says_what_was_meant(monkeypatch, capsys, arguments, says):
    status, told, said = in_process(monkeypatch, capsys)(*arguments)
    assert (status, told) == (2, "")
    (line,) = [one for one in said.splitlines() if one != COMPILING]  # which the first test to need it may see
    assert says in line


def test_closed_streams_and_a_full_log_are_no_crash_and_lead_into_no_file(tmp_path):
    byteproxy = f"{sys.executable} -m byteproxy.cli.main"
    for words, status in (
        (f"{byteproxy} --version >&-", 0),
        (f"{byteproxy} --version <&- >&- 2>&-", 0),
        (f"{byteproxy} xyzzy 2>&-", 2),
        (f"{byteproxy} xyzzy 2>/dev/full", 2),
        (f"{byteproxy} --version >/dev/full", 2),
    ):
        done = subprocess.run(["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == status, (words, done.stderr)
        assert "Traceback" not in done.stderr
