"""The commands as a user meets them."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.cli.commands import BYTEPROXY, explained, help_at_once, in_process, on_terminal, refusal
from tests.small_stdlib import small_stdlib
from tests.waiting import GUARD_SECONDS, until

from byteproxy import __version__ as version
from byteproxy.cli import main as cli
from byteproxy.cli import refusals
from byteproxy.files import read_bytes
from byteproxy.interop.llama import export_llama
from byteproxy.jit import COMPILING
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import Vocab


def byteproxy(*arguments, **options):
    return subprocess.run([BYTEPROXY, *arguments], capture_output=True, text=True, timeout=GUARD_SECONDS, **options)


def refused(status, said):
    """Exit status 2 and one line that is no traceback; the first command ever compiles before it."""
    assert status == 2, said
    (line,) = [line for line in said.strip().splitlines() if not line.startswith("compiling ")]
    assert line.startswith("byteproxy: ")
    return line


def test_help_teaches_the_tool_and_comes_at_once():
    told = help_at_once()
    for word in ("compress", "raw bytes", "demo", "generate", "--json", "arXiv 2602.04289", "train --plan 3m"):
        assert word in told
    order = [told.index(f"  byteproxy {name} ") for name in ("prepare", "mixture", "train", "demo", "generate")]
    assert order == sorted(order), "as the pipeline goes"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("demo", ["--out", "--minutes", "--seed", "--json"]),
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
    assert "neither empty nor a run" in refusal(in_process(monkeypatch, capsys)("demo", "--out", tmp_path))
    assert (tmp_path / "precious").read_text() == "x"


def test_wrong_options_are_refused(tmp_path, monkeypatch, capsys):
    run = in_process(monkeypatch, capsys)
    assert "minutes is -1" in refusal(run("demo", "--minutes", "-1", "--out", tmp_path / "never-made"))
    assert not (tmp_path / "never-made").exists()
    assert refusal(run("demo", "--minuets", "3")).endswith("did you mean --minutes?")


def test_an_interpreter_without_sources_is_refused(tmp_path, monkeypatch, capsys):
    from byteproxy.corpus import stdlib

    monkeypatch.setattr(stdlib.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["byteproxy", "demo", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert "source files" in capsys.readouterr().err.splitlines()[-1]


def test_generate_refuses_what_is_no_model(tmp_path, monkeypatch, capsys):
    assert "no model" in refusal(in_process(monkeypatch, capsys)("generate", tmp_path))


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
        until(lambda: len(steps_in(metrics)) > before, lambda: process.poll() is None)  # noqa: B023 - in this round
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=GUARD_SECONDS)
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
    """The steps whose losses were logged; evaluations on the validation split are lines of their own."""
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return [line["step"] for line in map(json.loads, lines) if "loss" in line]


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


@pytest.mark.parametrize(
    "module",
    ["evaluate.corpus.corpus_terminal", "report.corpus_page", "evaluate.views.view_terminal", "report.views_page"],
)
def test_what_shows_a_corpus_or_a_view_loads_no_trainer(module):
    """torch takes seconds to import, in which nothing is said."""
    code = f"import sys, byteproxy.{module}\nassert 'torch' not in sys.modules"
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


REFUSALS = """
import json, os, sys
import numpy, pyarrow, rich.console, rich.table, tyro

words = sys.argv[1:]
at = words.index("and")
for columns in ("1", "20", "200"):
    for command in (words[:at], words[at + 1 :]):
        hears, says = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(says, 2)
            os.environ["COLUMNS"] = columns
            sys.argv = ["byteproxy", *command]
            from byteproxy.cli.main import main
            try:
                main()
            except SystemExit as end:
                sys.stderr.flush()
                os._exit(end.code or 0)
            os._exit(0)
        os.close(says)
        with os.fdopen(hears, "rb") as heard:
            said = heard.read().decode(sys.stderr.encoding)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([columns, status, said]), flush=True)  # not once more by the next fork
"""


@pytest.fixture(scope="module", params=["ascii", "latin-1", "utf-8"])
def refusals_said(request):
    """What two mistakes are told on terminals of an encoding, by their width, in forks of one process."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    environment |= {"PYTHONIOENCODING": request.param, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    words = ["generate", "--prompt", "文", "名", "--utf9", "and", "corpus", "stats", "名"]
    command = [sys.executable, "-c", REFUSALS, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=GUARD_SECONDS)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 6
    return found


@pytest.mark.parametrize("columns", ["1", "20", "200"])
def test_a_refusal_is_a_line_on_any_terminal(refusals_said, columns):
    option, folder = (refused(status, said) for width, status, said in refusals_said if width == columns)
    assert "there is no option --utf9" in option
    assert "holds no finished corpus" in folder


def fails_with(error, monkeypatch, capsys):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    return in_process(monkeypatch, capsys)("demo")


@pytest.mark.parametrize("number", [*refusals._NAMES, *refusals._ANYWHERE, *refusals._FULL, *refusals._FORBIDDEN])
def test_what_the_system_has_against_a_file_is_one_line_that_names_it(monkeypatch, capsys, tmp_path, number):
    status, _, said = fails_with(OSError(number, os.strerror(number), str(tmp_path / "a\nb")), monkeypatch, capsys)
    assert status == 2
    assert len(said.splitlines()) == 1
    assert r"a\nb" in said or number in refusals._ANYWHERE


def test_other_errors_of_the_system_and_bugs_show_where_they_are(monkeypatch, capsys):
    for bug in (OSError(errno.ENOENT, "x"), OSError(errno.EBADF, "x"), ValueError("x"), RecursionError(), KeyError(1)):
        with pytest.raises(type(bug)):
            fails_with(bug, monkeypatch, capsys)


def test_reading_is_told_from_writing(monkeypatch, capsys, tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "new"))
    assert "cannot write" in fails_with(error, monkeypatch, capsys)[2]
    (tmp_path / "there").touch()
    monkeypatch.setattr(refusals.os, "access", lambda path, mode: mode != os.R_OK)
    error = PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "there"))
    assert "cannot read" in fails_with(error, monkeypatch, capsys)[2]


def test_names_and_memory_that_cannot_be_are_one_line(monkeypatch, capsys):
    for error, says in (
        (UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed"), "can't be used as a name"),
        (ValueError("embedded null byte"), "a byte of zero"),
        (MemoryError("Unable to allocate 3 TiB"), "memory is used up (Unable to allocate 3 TiB)"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 3"), "memory is used up"),
    ):
        status, _, said = fails_with(error, monkeypatch, capsys)
        assert status == 2
        assert says in said


DEAF = """
import ctypes, numba, numpy, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
from byteproxy.cli.ctrl_c import acknowledged

outside = ctypes.CDLL(None).getpid  # what it does is unknown, so that each round's number is really written
outside.argtypes, outside.restype = [], ctypes.c_int

@numba.njit("void(float64[::1])", nogil=True)
def deaf(seen):
    while True:
        seen[0] = outside()

def tell():
    while not seen[0]:
        pass
    print("waiting", flush=True)

seen = numpy.zeros(1)
with acknowledged():
    threading.Thread(target=tell, daemon=True).start()
    deaf(seen)
"""


def test_ctrl_c_is_acknowledged_where_python_does_not_run_and_obeyed_the_second_time():
    """In compiled code, which never asks whether there was a signal."""
    process = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "byteproxy: stopping; Ctrl-C again to stop at once\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(GUARD_SECONDS) == 130
    finally:
        process.kill()


@pytest.mark.parametrize("stop", ["os.kill(os.getpid(), signal.SIGINT)", "sys.exit(130)"])
def test_ctrl_c_once_more_while_the_process_ends_prints_no_traceback(stop):
    code = (
        "import atexit, os, signal, sys\nfrom byteproxy.cli.ctrl_c import acknowledged\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        f"try:\n    with acknowledged():\n        {stop}\nexcept KeyboardInterrupt:\n    sys.exit(130)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (130, "")


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


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.write_bytes(b"12345")])
def test_what_is_refused_of_a_file_is_said_as_it_is(tmp_path, make):
    make(tmp_path / "it")
    with pytest.raises(OSError) as refused:  # noqa: PT011 - of several kinds
        read_bytes(tmp_path / "it", 4)
    told = refusals.refusal_of(refused.value)
    assert told is not None
    assert told.startswith(f"cannot use {tmp_path / 'it'}: it ")
