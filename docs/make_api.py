"""Write docs/api.md from the docstrings of what `import byteproxy` gives: `make api`."""

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import byteproxy
from byteproxy.generate.choice import Sampling
from byteproxy.generate.score import Scored
from byteproxy.generate.writer import Generation
from byteproxy.mixture.batches import Batch, BatchDataset, Batches
from byteproxy.runs.load import LoadedModel
from byteproxy.store.store import Store
from byteproxy.views.base import Encoded, View

PAGE = Path(__file__).with_name("api.md")
GIVEN: dict[type, tuple[str, ...]] = {
    Store: ("documents", "view", "verify"),
    View: ("name", "alphabet_size", "fingerprint", "encode", "encode_batch", "decode"),
    Encoded: (),
    Batches: ("vocab_size",),
    Batch: ("positions",),
    BatchDataset: (),
    LoadedModel: ("generate", "chat_prompt", "score", "export", "writer"),
    Sampling: (),
    Generation: (),
    Scored: ("bpb",),
}
"""Classes of what the functions give, and which of their members are shown."""
BEHIND: dict[str, tuple[str, ...]] = {
    "prepare": ("prepare",),
    "corpus stats": ("evaluate.corpus.corpus_figures.corpus_figures",),
    "corpus show": ("evaluate.corpus.stored_document.find", "evaluate.corpus.stored_document.seen"),
    "corpus verify": ("evaluate.corpus.corpus_figures.verified_figures",),
    "views list": ("views.registry.kinds",),
    "views train": ("view", "store.trained_views.train_view"),
    "views compare": ("evaluate.views.view_figures.compare",),
    "views inspect": ("evaluate.views.viewed.viewed",),
    "mixture preview": ("stream", "mixture.preview.preview"),
    "train": ("train", "train.run_plan.plan_run"),
    "convert": ("convert", "convert.conversion_plan.plan_conversion"),
    "eval bpb": ("evaluate",),
    "eval transfer": ("evaluate",),
    "study": ("recipes.named.study_named", "study.study.run_study", "study.study_plan.plan_study"),
    "report": ("report.build_page.build_page",),
    "demo": ("recipes.named.demo_recipe", "demo.with_model.run_with_model", "demo.from_scratch.run_from_scratch"),
    "generate": ("load", "runs.with_corpus.view_writer"),
    "export": ("load",),
}
"""What each command calls, within byteproxy."""
SECTIONS = ("Args", "Returns", "Raises")
INTRO = """# The Python API

`import byteproxy` gives the names below. Each is imported when it is first used, and they are kept stable. Whatever
else can be called is in the modules, whose docstrings say what they do. [examples/](../examples) has programs to run.

This page is made from the docstrings by `make api`.
"""


def page() -> str:
    """The whole page."""
    functions = [
        _function(inspect.unwrap(getattr(byteproxy, name)), f"## {name}", f"byteproxy.{name}")
        for name in byteproxy.HOMES
    ]
    classes = [_class(kind, members) for kind, members in GIVEN.items()]
    return "\n".join([INTRO, *functions, "## What they give\n", *classes, _behind()])


def _behind() -> str:
    """The table of commands; AttributeError or ImportError where it names what isn't there."""
    lines = ["## Behind the commands\n", "| command | calls, within `byteproxy` |", "| --- | --- |"]
    for command, names in BEHIND.items():
        for name in names:
            pkgutil.resolve_name(f"byteproxy.{name}")
        lines.append(f"| `byteproxy {command}` | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join([*lines, ""])


def _class(kind: type, members: tuple[str, ...]) -> str:
    found = [f"### {kind.__name__}\n", f"`{kind.__module__}.{kind.__name__}`\n", _told(kind)]
    for name in members:
        member, heading = inspect.getattr_static(kind, name), f"#### {kind.__name__}.{name}"
        is_value = not inspect.isfunction(member)
        found.append(f"{heading}\n\n{_told(member)}" if is_value else _function(member, heading, name))
    return "\n".join(found)


def _function(function: Any, heading: str, name: str) -> str:
    return f"{heading}\n\n```python\n{_signature(function, name)}\n```\n\n{_told(function)}"


def _signature(function: Any, name: str) -> str:
    """As in the source, without quotes around types, and over several lines if it is long."""
    source = textwrap.dedent(inspect.getsource(function))
    (found,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    arguments = [one for one in _arguments(found.args, source) if one != "self"]
    result = f" -> {_type(found.returns, source)}" if found.returns else ""
    line = f"{name}({', '.join(arguments)}){result}"
    if len(line) <= 100:
        return line
    return "\n".join([f"{name}(", *(f"    {one}," for one in arguments), f"){result}"])


def _arguments(given: ast.arguments, source: str) -> Iterator[str]:
    defaults = [None] * (len(given.args) - len(given.defaults)) + list(given.defaults)
    for argument, default in zip(given.args, defaults, strict=True):
        yield _argument(argument, default, source)
    if given.kwonlyargs:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(argument, default, source)
    if given.kwarg:
        yield f"**{_argument(given.kwarg, None, source)}"


def _argument(argument: ast.arg, default: ast.expr | None, source: str) -> str:
    kind = f": {_type(argument.annotation, source)}" if argument.annotation else ""
    equals = "" if default is None else f" = {ast.get_source_segment(source, default)}"
    return argument.arg + kind + equals


def _type(annotation: ast.expr, source: str) -> str:
    return (ast.get_source_segment(source, annotation) or "").strip('"')


def _told(what: Any) -> str:
    """A docstring as Markdown: its sections become lists."""
    lines, section = [], ""
    for line in (inspect.getdoc(what) or "").splitlines():
        if line.removesuffix(":") in SECTIONS and line.endswith(":"):
            section = line.removesuffix(":")
            lines.append(f"**{section}**\n")
        elif section in ("Args", "Raises") and (entry := re.match(r" {4}(\w+): (.*)", line)):
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(line.strip() if section == "Returns" else re.sub(r"^ {6,}", "  ", line))
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
