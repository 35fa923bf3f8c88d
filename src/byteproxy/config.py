"""Frozen dataclasses from TOML and back; a wrong key or type is refused with the field's name."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import dacite
import tomli_w

from byteproxy.errors import InputError, nearest
from byteproxy.parsing import read_toml

T = TypeVar("T")


def from_toml(path: Path, kind: type[T]) -> T:
    """The dataclass that a TOML file describes; absent fields keep their defaults.

    Raises InputError naming the file and, where one is wrong, the field.
    """
    return from_values(toml_of(path), kind, path)


def from_values(values: dict[str, Any], kind: type[T], path: Path | str) -> T:
    """The dataclass that the content of a TOML file describes; raises as `from_toml`."""
    if wrong := " ".join(_misfits(values, kind)).removesuffix("."):
        raise InputError(f"{path}: {wrong[0].lower()}{wrong[1:]}")
    try:
        return dacite.from_dict(kind, values, dacite.Config(strict=True, cast=[tuple]))
    except (dacite.DaciteError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def toml_of(path: Path) -> dict[str, Any]:
    """What a TOML file says, as `parsing` reads it; InputError naming the file where it can't be read."""
    try:
        return read_toml(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read {path}: {reason}") from error


def _misfits(values: Mapping[str, Any], kind: type) -> Iterator[str]:
    """A sentence on each value that no field of a dataclass, or of those inside it, takes, and on each that is no list.

    dacite names no section, and makes a tuple of anything.
    """
    elsewhere = {name.rpartition(".")[2]: name for name in _fields(kind)}
    for at, value, hint in _nodes(values, kind):
        if get_origin(hint) is tuple and not isinstance(value, list | tuple):
            yield f"{at} is {value!r:.60}: give a list, such as [{value!r:.60}]."
        if not (dataclasses.is_dataclass(hint) and isinstance(value, Mapping)):
            continue
        names = [one.name for one in dataclasses.fields(hint)]
        for name in (str(name) for name in value if name not in names):
            bare = name.rpartition(".")[2]
            near = nearest(bare, names)
            meant = f"{at}.{near}".lstrip(".") if near else elsewhere.get(nearest(bare, elsewhere) or "")
            yield f"There is no field {at}.{name}".replace(" .", " ") + (f"; did you mean {meant}?" if meant else ".")


def _nodes(value: Any, hint: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The dotted name, the value and the type of values and of all that is in them."""
    yield at, value, hint
    dot = f"{at}." if at else ""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        for name, inner in get_type_hints(hint).items():
            if name in value:
                yield from _nodes(value[name], inner, f"{dot}{name}")
    elif get_origin(hint) is dict and isinstance(value, Mapping):
        for name, one in value.items():
            yield from _nodes(one, get_args(hint)[1], f"{dot}{name}")
    elif get_origin(hint) is tuple and isinstance(value, list | tuple):
        for one in value:
            yield from _nodes(one, get_args(hint)[0], at)
    elif get_origin(hint) is UnionType:
        for inner in filter(dataclasses.is_dataclass, get_args(hint)):
            yield from _nodes(value, inner, at)


def _fields(kind: Any, at: str = "") -> Iterator[str]:
    """The dotted names of a dataclass's fields, of those inside it too, the outer ones last."""
    for name, hint in get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from _fields(hint, f"{at}{name}.")
    yield from (f"{at}{one.name}" for one in dataclasses.fields(kind))


def to_toml(config: Any) -> str:
    """A dataclass as TOML; fields that are None are left out, as TOML has no such value.

    Raises InputError for text, such as the name of a folder, that is not UTF-8, as TOML can't hold it.
    """
    text = tomli_w.dumps(_without_none(dataclasses.asdict(config)))
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text[text.rfind("\n", 0, error.start) + 1 :].partition("\n")[0]
        reason = f"{line!a} is not UTF-8, which a configuration has to be: rename what it names"
        raise InputError(reason) from error
    return text


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list | tuple) else value
