"""Options out of dataclasses, nested ones with a dot: every field is one, and explained by its class's docstring.

tyro builds what it parses by itself and puts what a dataclass refuses into a box of its own. Here it only gathers the
values, and `made` builds from them, so that a refusal is an InputError like any other.
"""

import dataclasses
import re
import textwrap
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, get_type_hints

from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from byteproxy.cli.arguments import describe_fields


class Unbuilt(NamedTuple):
    """The values of a dataclass's fields, not built yet."""

    kind: type
    values: dict[str, Any]


def build(value: Any) -> Any:
    """Build the dataclasses that were given as options. Raises InputError if one refuses its values."""
    if isinstance(value, Unbuilt):
        return value.kind(**{name: build(one) for name, one in value.values.items()})
    return tuple(map(build, value)) if isinstance(value, tuple) else value


def registry(only: Mapping[type, Collection[str]] | None = None) -> ConstructorRegistry:
    """What teaches tyro to gather: for its argument `registry`. only: the fields of a dataclass that are options."""
    taught = ConstructorRegistry()
    taught.struct_rule(lambda info: _gathered(info, only or {}))
    return taught


def fields_told(default: Any, prog: str) -> str:
    """The names of all fields of a dataclass, nested ones by group, as options; a few lines."""
    plain, groups = [], {}
    for field in dataclasses.fields(default):
        value = getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            groups[field.name] = [one.name for one in dataclasses.fields(value)]
        else:
            plain.append(field.name)
    lines = [f"Fields of a recipe, each of them an option ({prog} --help-all explains them all):"]
    for heading, names in [("", plain), *groups.items()]:
        start = f"  --{heading}." if heading else "  --"
        words = ", ".join(name.replace("_", "-") for name in names)
        lines += textwrap.wrap(
            words, 108, initial_indent=f"{start:<15}", subsequent_indent=" " * 15, break_on_hyphens=False
        )
    return "\n".join([*lines, ""])


def _gathered(info: StructTypeInfo, only: Mapping[type, Collection[str]]) -> StructConstructorSpec | None:
    if not dataclasses.is_dataclass(info.type) or not isinstance(info.default, info.type):
        return None
    kind = info.type
    types, said = get_type_hints(kind), explanations(kind)

    def gather(**values: Any) -> Unbuilt:
        return Unbuilt(kind, values)

    return StructConstructorSpec(
        gather,
        tuple(
            StructFieldSpec(field.name, describe_fields(types[field.name], default), default, said.get(field.name, ""))
            for field in dataclasses.fields(kind)
            if field.name in only.get(kind, types)
            for default in (getattr(info.default, field.name),)
        ),
    )


def explanations(kind: type) -> dict[str, str]:
    """The description of each field in a dataclass's docstring: `name: text`, up to the next field or an empty line.

    Names with commas between share a text; a type without a word about a field has nothing to say here.
    """
    names = "|".join(sorted((field.name for field in dataclasses.fields(kind)), key=len, reverse=True))
    heading = re.compile(rf"(?<![\w.])((?:{names})(?:, (?:{names}))*): ")
    said: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", kind.__doc__ or ""):
        found = list(heading.finditer(block))
        ends = [one.start() for one in found[1:]] + [len(block)]
        for one, end in zip(found, ends, strict=False):
            words = " ".join(block[one.end() : end].split())
            said |= dict.fromkeys(one[1].split(", "), words.rstrip(".;"))
    return said
