"""`byteproxy`: the commands, and what becomes of errors.

Exit status: 0 done, 1 some runs of a study failed, 2 something the user can mend (one line on stderr), 130 stopped with
Ctrl-C, 141 where nobody reads what is printed. A traceback is a bug of ours, with status 1 as Python gives it. What is
heavy to import, tyro too, is imported where it is needed.
"""

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from byteproxy import __version__, progress
from byteproxy.errors import InputError, did_you_mean

ABOUT = f"""byteproxy {__version__}: train on compressed text, run on raw bytes.

A language model is tied for life to its tokenizer. Here a compressor helps in training only: one model is trained on a
mixture of raw UTF-8 bytes and a compressed view of the same text, learns that both say the same, and afterwards reads
and writes raw bytes; the compressor is thrown away. (Proxy compression, arXiv 2602.04289.)

The pipeline, in order (a look at what comes of it, in some ten minutes on 2 cores: `byteproxy demo`):
  byteproxy prepare stdlib --out runs/corpus --view bpe:4096
                                 sources become a corpus (source files, one large text, JSONL, Parquet, Arrow): split,
                                 without copies, encoded
  byteproxy corpus stats runs/corpus
                                 what it holds; corpus show: a document in all its views; corpus verify: checksums
  byteproxy views compare raw bpe codebook gzip
                                 compressors: how short they make code, how fast, and how little an edit changes
                                 (views list, views train bpe:4096, views inspect FILE --views bpe codebook)
  byteproxy mixture preview runs/corpus --recipe paper
                                 what training would show when, and which share of it is compressed
  byteproxy train --plan 3m      what a run would cost: parameters, memory, FLOPs, text, time
  byteproxy train 3m --stop "10 minutes"
                                 train a recipe, each number of it an option; --resume runs/3m goes on with a run, and
                                 with a larger --stop makes it longer
  byteproxy convert MODEL --out runs/bytes
                                 a published model learns to read and write raw bytes, in ten minutes or more, and
                                 keeps its architecture; --plan says before what that takes
  byteproxy eval bpb runs/3m     bits per byte of held-out text, raw and in each view, beside PPMd, xz and zstd; of
                                 several runs their differences (eval transfer: translation and retrieval across views)
  byteproxy study study_small --jobs 2
                                 compare ways to train at equal FLOPs: arms, seeds and budgets, fairly tuned; Ctrl-C,
                                 and the same command goes on (study --plan: how long it takes)
  byteproxy report runs/3m       the page of a run (running, killed or finished), a study, a demo or a corpus, from its
                                 files alone; or several runs side by side
  byteproxy demo --model FILE    a model of tokens learns raw bytes, beside one from scratch at equal compute; --scratch
                                 needs no model: bytes and the mixture, both from scratch
  byteproxy generate runs/demo/model --prompt "def main("
                                 a run or an exported model continues a prompt in raw bytes; a file or a pipe gets the
                                 exact bytes, a terminal shows them as text; --interactive: type, and it goes on
  byteproxy export runs/3m --out runs/3m-bytes
                                 a stock Llama or Qwen3 of raw bytes and its tokenizer, which other tools load as is

Every command takes --help, and --json to end its output with one JSON object. Progress goes to stderr: a bar on a
terminal, elsewhere a line every BYTEPROXY_PROGRESS_SECONDS (30). Compiled code is kept in the user's cache folder;
NUMBA_CACHE_DIR names another place. `byteproxy --version` prints the version.

Exit status: 0 done; 1 some runs of a study failed; 2 a mistake that you can mend, told in one line on stderr;
130 stopped with Ctrl-C; 141 nobody reads the output."""


class Command(NamedTuple):
    """A function in a module of `byteproxy.cli`.

    goes_on: whether it goes on where it was stopped if it is called again. reads_itself: it takes the words that follow
    as they are.
    """

    module: str
    function: str
    goes_on: bool = False
    reads_itself: bool = False


class Group(NamedTuple):
    """Several commands under one word."""

    about: str
    commands: dict[str, Command]


COMMANDS: dict[str, Command | Group] = {
    "prepare": Command("prepare", "prepare", goes_on=True),
    "corpus": Group(
        "Look into a prepared corpus and verify it.",
        {name: Command("corpus", name) for name in ("stats", "show", "verify")},
    ),
    "views": Group(
        "List, train, compare and inspect views.",
        {
            "list": Command("views", "list_"),
            "train": Command("views", "train", goes_on=True),
            "compare": Command("views", "compare", goes_on=True),
            "inspect": Command("views", "inspect"),
        },
    ),
    "mixture": Group("See what a mixture shows.", {"preview": Command("mixture", "preview")}),
    "train": Command("train", "command", reads_itself=True),
    "convert": Command("convert", "command", goes_on=True, reads_itself=True),
    "eval": Group(
        "Measure runs on held-out text.", {"bpb": Command("eval", "bpb"), "transfer": Command("eval", "transfer")}
    ),
    "study": Command("study", "study", goes_on=True),
    "report": Command("report", "report"),
    "demo": Command("demo", "demo", goes_on=True),
    "generate": Command("generate", "generate"),
    "export": Command("export", "export"),
}


def main() -> None:
    """Run a command and exit."""
    from byteproxy.cli.ctrl_c import acknowledged
    from byteproxy.cli.refusals import refusal_of

    words = sys.argv[1:]
    goes_on = False
    try:
        _open_streams()
        if words[:1] == ["--version"]:
            _print(f"byteproxy {__version__}")
            return
        _take_any_text()
        if not words or words[0] in ("-h", "--help"):
            _print(ABOUT)
            return
        command, prog, rest = _named(words)
        goes_on = command.goes_on
        progress.announced = _announce
        with acknowledged():
            _run(command, prog, rest)
    except BrokenPipeError:  # whoever read what we print has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        sys.exit(141)
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from here" if goes_on else "stopped")
        sys.exit(130)
    except Exception as error:
        message = refusal_of(error)
        if message is None:
            raise
        _say(message)
        sys.exit(2)


def _named(words: Sequence[str]) -> tuple[Command, str, Sequence[str]]:
    """The command that some words begin with, the words that name it, and what follows; help is printed here."""
    word, rest = words[0], words[1:]
    found = COMMANDS.get(word)
    if found is None:
        what = "option" if word.startswith("-") else "command"
        near = did_you_mean(word, [*COMMANDS, "--help", "--version"])
        raise InputError(f"there is no {what} {word!r}{near or '; name one of ' + ', '.join(COMMANDS)}")
    if isinstance(found, Command):
        return found, f"byteproxy {word}", rest
    if not rest or rest[0] in ("-h", "--help"):
        _print_group(word, found)
        sys.exit(0)
    inner = found.commands.get(rest[0])
    if inner is None:
        near = did_you_mean(rest[0], found.commands)
        names = ", ".join(found.commands)
        raise InputError(f"there is no command {rest[0]!r} of `byteproxy {word}`{near or f'; name one of {names}'}")
    return inner, f"byteproxy {word} {rest[0]}", rest[1:]


def _run(command: Command, prog: str, rest: Sequence[str]) -> None:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # where there is no home, it tells how it manages
    function = getattr(import_module(f"byteproxy.cli.{command.module}"), command.function)
    if command.reads_itself:
        function(rest)
        return
    from byteproxy.cli.arguments import parsed

    parsed(function, prog, rest)()


def _print_group(word: str, group: Group) -> None:
    lines = [f"byteproxy {word}: {group.about}", ""]
    for name, command in group.commands.items():
        function = getattr(import_module(f"byteproxy.cli.{command.module}"), command.function)
        lines.append(f"  byteproxy {word} {name:<10} {(function.__doc__ or '').strip().splitlines()[0]}")
    _print("\n".join([*lines, "", "Each takes --help."]))


def _open_streams() -> None:
    """Let what is closed lead nowhere.

    The number of a closed one would else go to the next file that is opened, and what is printed into that.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            if (nowhere := os.open(os.devnull, os.O_RDWR)) != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8", closefd=False))  # noqa: SIM115


def _take_any_text() -> None:
    """Let stdout and stderr take any text, where they would refuse some."""
    if any(getattr(stream, "errors", None) in ("strict", "surrogateescape") for stream in (sys.stdout, sys.stderr)):
        from byteproxy.console import take_any_text

        take_any_text()


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _say(message: str) -> None:
    from byteproxy.console import say

    say(f"byteproxy: {message}")


def _announce(line: str) -> None:
    """Tell people of long work; of several processes that torchrun started the first one speaks."""
    if os.environ.get("RANK", "0") == "0":
        from byteproxy.console import say

        say(line)


if __name__ == "__main__":
    main()
