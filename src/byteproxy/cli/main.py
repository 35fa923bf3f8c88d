"""`byteproxy`: the commands, and what becomes of errors.

Exit status: 0 done, 2 something the user can mend (one line on stderr), 130 stopped with Ctrl-C, 141 where nobody reads
what is printed. Anything else is a bug of ours and shows its traceback.
"""

import errno
import os
import sys
from typing import Annotated, Any, TypeAlias

import tyro

from byteproxy import __version__
from byteproxy.cli.corpus import Command as CorpusCommand
from byteproxy.cli.demo import demo
from byteproxy.cli.eval import Command as EvalCommand
from byteproxy.cli.export import export
from byteproxy.cli.generate import generate
from byteproxy.cli.mixture import Command as MixtureCommand
from byteproxy.cli.prepare import prepare
from byteproxy.cli.study import study
from byteproxy.cli.train import command as train_command
from byteproxy.cli.train import train
from byteproxy.cli.views import Command as ViewsCommand
from byteproxy.errors import InputError

ABOUT = f"""byteproxy {__version__}: train on compressed text, run on raw bytes.

A language model is tied for life to its tokenizer. Here a compressor helps in training only: one model is trained on a
mixture of raw UTF-8 bytes and a compressed view of the same text, learns that both say the same, and afterwards reads
and writes raw bytes; the compressor is thrown away. (Proxy compression, arXiv 2602.04289.)

The pipeline, in order (all of it at once, small: `byteproxy demo`, under 10 minutes on 2 cores, offline):
  byteproxy prepare stdlib --out runs/corpus --view bpe:4096
                                 sources become a corpus: source files, JSONL, Parquet; split, without copies, encoded
  byteproxy corpus stats runs/corpus
                                 what it holds; corpus show: a document in all its views; corpus verify: checksums
  byteproxy views compare raw bpe codebook gzip
                                 compressors: how short they make code, how fast, and how little an edit changes
                                 (views list, views train bpe:4096, views inspect FILE --views bpe codebook)
  byteproxy mixture preview runs/corpus --recipe paper
                                 what training would show when, and which share of it is compressed
  byteproxy train --plan 3m      what a run would cost: parameters, memory, FLOPs, text, time
  byteproxy train 3m --stop "10 minutes"
                                 train a recipe, each number of it an option; --resume runs/3m goes on with a run
  byteproxy eval bpb runs/3m     bits per byte of held-out text, raw and in each view, beside PPMd, xz and zstd; of
                                 several runs their differences (eval transfer: translation and retrieval across views)
  byteproxy study study_small --jobs 2
                                 compare ways to train at equal FLOPs: arms, seeds and budgets, fairly tuned; Ctrl-C,
                                 and the same command goes on (study --plan: how long it takes)
  byteproxy demo                 train on bytes and on the mixture at equal compute, and score both on raw bytes
  byteproxy generate runs/demo/model --prompt "def main("
                                 let a model write, of a run or exported, in raw bytes: several at once where it has
                                 byte heads; --interactive to type with it
                                 let the model that the demo left behind write, byte by byte
  byteproxy export runs/3m --out runs/3m-bytes
                                 a stock Llama or Qwen3 of raw bytes and its tokenizer, which other tools load as is

Every command takes --help, and --json to end its output with one JSON object. Progress goes to stderr."""


Command: TypeAlias = (
    Annotated[Any, tyro.conf.subcommand("prepare", constructor=prepare)]
    | Annotated[CorpusCommand, tyro.conf.subcommand("corpus", description="Look into a prepared corpus and verify it.")]
    | Annotated[ViewsCommand, tyro.conf.subcommand("views", description="List, train, compare and inspect views.")]
    | Annotated[MixtureCommand, tyro.conf.subcommand("mixture", description="See what a mixture shows.")]
    | Annotated[Any, tyro.conf.subcommand("train", constructor=train)]
    | Annotated[EvalCommand, tyro.conf.subcommand("eval", description="Measure runs on held-out text.")]
    | Annotated[Any, tyro.conf.subcommand("study", constructor=study)]
    | Annotated[Any, tyro.conf.subcommand("demo", constructor=demo)]
    | Annotated[Any, tyro.conf.subcommand("export", constructor=export)]
    | Annotated[Any, tyro.conf.subcommand("generate", constructor=generate)]
)


def main() -> None:
    """Run a command and exit."""
    try:
        if sys.argv[1:2] == ["train"]:
            train_command(sys.argv[2:])
        else:
            tyro.cli(Command, prog="byteproxy", description=ABOUT)
    except InputError as error:
        _refuse(str(error))
    except BrokenPipeError:  # whoever read what we print has enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        _refuse(f"cannot write {error.filename or 'a file'}: {error.strerror}; free space or give another folder")
    except KeyboardInterrupt:
        print("byteproxy: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _refuse(message: str) -> None:
    print(f"byteproxy: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
