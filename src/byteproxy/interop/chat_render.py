"""A chat template, rendered in a process of its own: it is a program that somebody else wrote.

Jinja's immutable sandbox keeps it from the machine, as in transformers. It may still run for ever or ask for all
memory, so the process has a deadline and a limit. `python -m byteproxy.interop.chat_render` reads a request as JSON
from standard input and answers in JSON; it imports little, so a rendering takes some 0.2 seconds.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from byteproxy.errors import InputError

SECONDS = 10.0
_MEMORY = 1 << 30
_MAX_TEXT = 1 << 24
_MAX_REASON = 300


def rendered(template: str, messages: Sequence[Mapping[str, Any]], more: Mapping[str, Any]) -> str:
    """What a template makes of messages, and `more` variables of its own such as `bos_token`.

    Raises InputError, saying why, where it refuses them, is broken, or takes more than 10 seconds or 1 GB; and for
    messages that JSON can't say.
    """
    try:
        request = json.dumps({"template": template, "messages": list(messages), "more": dict(more)}).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"messages can't be said in JSON ({error}): give text, not bytes or objects") from error
    command = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(command, input=request, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"the chat template was still running after {SECONDS:g} seconds: mend it, or give a prompt without a chat"
        ) from error
    try:
        answer = json.loads(done.stdout)
    except ValueError as error:
        raise InputError(
            "the chat template took more memory than it gets, 1 GB, or ended its process: mend it, or give a prompt "
            "without a chat"
        ) from error
    if "refused" in answer:
        raise InputError(f"the chat template refuses these messages: {answer['refused']}")
    if "error" in answer:
        raise InputError(
            f"the chat template can't be used ({answer['error']}): mend it, or give a prompt without a chat"
        )
    return str(answer["text"])


class _RefusedError(Exception):
    """What a template says with `raise_exception`."""


class _Generation(Extension):
    """Takes the marks around what the model wrote, with which trainers find it, for nothing."""

    tags = {"generation"}  # noqa: RUF012 -- as jinja2 has it

    def parse(self, parser: Any) -> list[nodes.Node]:
        next(parser.stream)
        found: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return found


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as transformers sets it up for chat templates."""
    extensions = [_Generation, loopcontrols]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """Plain JSON: Jinja's own filter writes characters of HTML as escapes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(why: object) -> NoReturn:
    raise _RefusedError(str(why))


def _answer(request: Mapping[str, Any]) -> dict[str, str]:
    try:
        template = _environment().from_string(request["template"])
        text = template.render(messages=request["messages"], **request["more"])
    except _RefusedError as error:
        return {"refused": _reason(error)}
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        return {"error": f"line {line}: {_reason(error)}" if line else _reason(error)}
    except Exception as error:  # of any kind, as it comes from the template's own calls
        return {"error": f"{type(error).__name__}: {_reason(error)}"}
    if len(text) > _MAX_TEXT:
        return {"error": f"it writes {len(text):,} characters, more than {_MAX_TEXT:,}"}
    return {"text": text}


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_MAX_REASON]


def _limit() -> None:
    """Bound memory and processor time where the system can: whoever started this may be gone."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS) + 1, int(SECONDS) + 1))
    except (ImportError, ValueError, OSError):
        pass


if __name__ == "__main__":
    _limit()
    sys.stdout.write(json.dumps(_answer(json.load(sys.stdin))))
