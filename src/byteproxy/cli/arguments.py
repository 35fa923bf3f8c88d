"""What follows a command's name: read by tyro, refused in one line.

tyro prints help and refusals by itself, refusals in a box. Here it only gathers what was given; the command is called
afterwards, with nothing in between. What it prints meanwhile is caught: help goes on to people, a refusal becomes an
InputError that says what is wrong and what was probably meant.
"""

import contextlib
import functools
import inspect
import io
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import tyro

from byteproxy.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

_SWITCH = get_args(tyro.conf.FlagCreatePairsOff[bool])[1]
_POSITIONAL = get_args(tyro.conf.Positional[bool])[1]
_COLUMNS = 60
_COLUMN = 20
"""Columns that are wide enough to wrap text in."""
_MAX_BITS = 63
"""Bits of an integer in arrays."""
_BOX = re.compile("[╭╮╰╯│─┌┐└┘├┤|+]+")


def parsed(
    command: Callable[..., Any],
    prog: str,
    arguments: Sequence[str],
    description: str | None = None,
    registry: "ConstructorRegistry | None" = None,
) -> Callable[[], Any]:
    """The command with the values that its arguments give, ready to be called without any.

    command: its parameters are the options, its docstring explains them. prog: the words before the arguments.
    Raises InputError for arguments that it doesn't take, and SystemExit with 0 after help was printed.
    """

    _ensure_values(command, arguments)
    gather = _gathering(command)
    status, value, outcome = _read(gather, prog, arguments, description, registry)
    if status is None:
        return value
    if status:
        raise InputError(_refusal(outcome, prog, lambda: _options(gather, prog, description, registry)))
    sys.stdout.write(_wrapped(outcome))
    sys.exit(0)


def _ensure_values(command: Callable[..., Any], arguments: Sequence[str]) -> None:
    """InputError for an option of many values that is named and has none, which would be as if it weren't named."""
    for name, one in inspect.signature(command).parameters.items():
        kind, *marks = get_args(one.annotation) if hasattr(one.annotation, "__metadata__") else (one.annotation,)
        if get_origin(kind) is not tuple or any(mark is _POSITIONAL for mark in marks):
            continue
        option = _option(name, one.annotation)
        for word, following in pairwise([*arguments, "--"]):
            if _name(word) == option and "=" not in word and following.startswith("--"):
                raise InputError(f"{option} is given without a value: put one behind it, or leave it out")


def _option(name: str, kind: Any) -> str:
    """How a parameter is typed."""
    marks = getattr(kind, "__metadata__", ())
    return "--" + (next(filter(None, (getattr(mark, "name", None) for mark in marks)), name)).replace("_", "-")


def _ensure_usual_number(option: str, value: Any) -> None:
    """InputError for a number that no command can follow, whatever range it has by itself."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{option} is {value}: give a finite number")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise InputError(f"{option} is beyond 2^{_MAX_BITS}: give a smaller number")


def without_values(arguments: Sequence[str], options: str) -> list[str]:
    """Arguments less the options that a pattern begins to match, and less the value of each."""
    kept: list[str] = []
    value_follows = False
    for word in arguments:
        matches = re.match(options, word.replace("_", "-")) is not None
        if not matches and not value_follows:
            kept.append(word)
        value_follows = matches and "=" not in word
    return kept


def help_of(
    command: Callable[..., Any], prog: str, description: str, registry: "ConstructorRegistry | None", *without: str
) -> str:
    """The help of a command, without some of its parameters."""
    _, _, outcome = _read(_gathering(command, without), prog, ["--help"], description, registry)
    return _wrapped(str(outcome))


def _wrapped(outcome: str) -> str:
    """A help text whose long lines end between words; tyro does that in its boxes only."""
    columns = _columns()

    def fitted(line: str) -> str:
        if len(line) <= columns or "\x1b" in line:
            return line
        start = re.match(r" *\S.*? {2,}", line)  # a command, and what it does in a column of its own
        indent = len(line) - len(line.lstrip())
        column = start.end() if start and columns - start.end() >= _COLUMN else indent and indent + 4
        return textwrap.fill(line, columns, subsequent_indent=" " * column, break_long_words=False)

    return re.sub(r"\n{3,}", "\n\n", "\n".join(map(fitted, outcome.split("\n"))))


def describe_fields(kind: Any, default: Any) -> Any:
    """The type of an option, for whose default help has no word where it is nothing, or a switch that is off."""
    nothing = default is inspect.Parameter.empty or default is None or default == () or default == ""
    switch = default is False and any(mark is _SWITCH for mark in getattr(kind, "__metadata__", ()))
    return Annotated[kind, tyro.conf.arg(help_behavior_hint="")] if nothing or switch else kind


def _gathering(command: Callable[..., Any], without: Collection[str] = ()) -> Callable[..., Any]:
    """What takes the same values as a command, for tyro, and gives the call of it."""

    signature = inspect.signature(command)

    def gather(*given: Any, **named: Any) -> Callable[[], Any]:
        for name, value in signature.bind(*given, **named).arguments.items():
            _ensure_usual_number(_option(name, signature.parameters[name].annotation), value)
        return functools.partial(command, *given, **named)

    parameters = [
        one.replace(annotation=describe_fields(one.annotation, one.default))
        for name, one in signature.parameters.items()
        if name not in without
    ]
    gather.__doc__ = _unwrapped(command.__doc__)
    gather.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    gather.__annotations__ = {one.name: one.annotation for one in parameters}
    return gather


def _unwrapped(doc: str | None) -> str | None:
    """A docstring whose arguments take a line each: tyro keeps their line ends, wherever a terminal's are."""
    return None if doc is None else re.sub(r"\n {8,}(?=\S)", " ", inspect.cleandoc(doc))


class _RefusedError(Exception):
    """What tyro has against some arguments."""


class _Caught(io.StringIO):
    """Takes what is printed, in the colours of the stream that it stands for."""

    def __init__(self, stands_for: Any) -> None:
        super().__init__()
        self._stands_for = stands_for

    def isatty(self) -> bool:
        return bool(self._stands_for.isatty())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stands_for, "encoding", None) or "utf-8"


def _read(
    gather: Callable[..., Any], prog: str, arguments: Sequence[str], description: str | None, registry: Any
) -> tuple[int | None, Any, Any]:
    """(None, what was gathered, ""), or (exit status, None, what was said), of which a refusal may be an event."""
    out, err = _Caught(sys.stdout), _Caught(sys.stderr)
    try:
        with _wide_enough(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _refusals():
            value = tyro.cli(gather, prog=prog, args=list(arguments), description=description, registry=registry)
    except _RefusedError as refusal:
        return 2, None, refusal.args[0]
    except SystemExit as stop:
        return (2, None, err.getvalue()) if stop.code else (0, None, out.getvalue())
    return None, value, ""


@contextlib.contextmanager
def _wide_enough() -> Iterator[None]:
    """While entered, a terminal is taken to have columns enough for help, which tyro would wrap for ever in fewer."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(_columns())
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _columns() -> int:
    return max(_COLUMNS, shutil.get_terminal_size().columns)


def _refusals() -> contextlib.AbstractContextManager[Any]:
    """While entered, what tyro refuses is raised with all that it knows; where it can't say that, its box is read."""
    try:
        from tyro._errors import on_parse_error
    except ImportError:  # tyro doesn't promise it
        return contextlib.nullcontext()

    def refuse(event: Any) -> None:
        raise _RefusedError(event)

    return on_parse_error(refuse)


def _refusal(outcome: Any, prog: str, options: Callable[[], list[str]]) -> str:
    """What is wrong, and what to do, in a line."""
    kind = type(outcome).__name__
    more = f"; `{prog} --help` has all options"
    if kind == "UnrecognizedArgs":
        word = str(outcome.tokens[0])
        if not word.startswith("-"):
            return f"{word!r} is one word too many for `{prog}`{more}"
        return f"there is no option {word} of `{prog}`{did_you_mean(_name(word), options()) or more}"
    if kind == "MissingArgs":
        unknown = next((word for word in map(str, outcome.unrecognized_tokens) if word.startswith("-")), None)
        if unknown is not None:
            return f"there is no option {unknown} of `{prog}`{did_you_mean(_name(unknown), options()) or more}"
        return f"{' and '.join(_shown(one.arg) for one in outcome.missing_arguments)} is missing{more}"
    if kind == "InvalidChoice":
        choices = [str(one) for one in outcome.argument.lowered.choices]
        return (
            f"{_shown(outcome.argument)} is {outcome.value!r}: give one of {', '.join(choices)}"
            f"{did_you_mean(outcome.value, choices)}"
        )
    if kind == "BadValue" and outcome.reason == "too_few_values":
        return f"{_shown(outcome.argument)} is given without a value{more}"
    if kind == "InstantiationFailure" and outcome.argument is not None:
        return _misread(_shown(outcome.argument), str(outcome.message))
    words = str(outcome) if isinstance(outcome, str) else str(getattr(outcome, "message", outcome))
    return re.sub(r"\s+", " ", _BOX.sub(" ", words)).strip() + more


def _misread(shown: str, message: str) -> str:
    """What Python says of a number that isn't one, in the words of this program.

    message: of an option that may be absent, what each of its types had against the value, a line each.
    """
    for said, wanted in (("invalid literal for int()", "a whole number"), ("could not convert string", "a number")):
        if found := re.search(rf"{re.escape(said)}[^:]*: (.*)", message):
            return f"{shown} is {found[1]}: give {wanted}"
    return f"{shown}: {message}".rstrip(".")


def _name(word: str) -> str:
    return word.partition("=")[0].replace("_", "-")


def _shown(argument: Any) -> str:
    """An argument as it is typed."""
    if argument.is_positional():
        return str(argument.lowered.metavar).split()[0].strip("[]")
    return str(argument.lowered.name_or_flags[-1])


def _options(gather: Callable[..., Any], prog: str, description: str | None, registry: Any) -> list[str]:
    """All options, as help names them."""
    _, _, outcome = _read(gather, prog, ["--help"], description, registry)
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--[a-zA-Z][\w.-]*", re.sub(r"\x1b\[[\d;]*m", "", str(outcome)))))
