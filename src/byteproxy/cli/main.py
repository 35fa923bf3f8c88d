"""`byteproxy`: the commands, and what becomes of errors.

Exit status: 0 done, 2 something the user can mend (one line on stderr), 130 stopped with Ctrl-C. Anything else is a bug
of ours and shows its traceback.
"""

import errno
import sys
from typing import Annotated, Any, TypeAlias

import tyro

from byteproxy import __version__
from byteproxy.cli.demo import demo
from byteproxy.cli.generate import generate
from byteproxy.cli.views import Command as ViewsCommand
from byteproxy.errors import InputError

ABOUT = f"""byteproxy {__version__}: train on compressed text, run on raw bytes.

A language model is tied for life to its tokenizer. Here a compressor helps in training only: one model is trained on a
mixture of raw UTF-8 bytes and a compressed view of the same text, learns that both say the same, and afterwards reads
and writes raw bytes; the compressor is thrown away. (Proxy compression, arXiv 2602.04289.)

The pipeline: corpus -> view (a compressor) -> store -> mixture -> training -> held-out bits per byte -> raw bytes.

Start with:
  byteproxy demo                 all of it in under 10 minutes on 2 cores, offline, from Python's own sources
  byteproxy demo --minutes 2     the same with less training
  byteproxy generate runs/demo/model --prompt "def main("
                                 let the model that the demo left behind write, byte by byte
  byteproxy views list           the compressors that there are
  byteproxy views compare raw bpe codebook gzip
                                 how short they make code, how fast, and how little an edit changes
  byteproxy views inspect FILE --views bpe codebook
                                 a document in the colours of their symbols
  byteproxy views train bpe:4096 a compressor to keep

Every command takes --help, and --json to end its output with one JSON object. Progress goes to stderr."""


Command: TypeAlias = (
    Annotated[Any, tyro.conf.subcommand("demo", constructor=demo)]
    | Annotated[Any, tyro.conf.subcommand("generate", constructor=generate)]
    | Annotated[ViewsCommand, tyro.conf.subcommand("views", description="List, train, compare and inspect views.")]
)


def main() -> None:
    """Run a command and exit."""
    try:
        tyro.cli(Command, prog="byteproxy", description=ABOUT)
    except InputError as error:
        _refuse(str(error))
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
