"""Frozen dataclasses from TOML and back; a wrong key or type is refused with the field's name."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import dacite
import tomli_w

from byteproxy.errors import InputError, did_you_mean
from byteproxy.parsing import read_toml

T = TypeVar("T")


def from_toml(path: Path, kind: type[T]) -> T:
    """The dataclass that a TOML file describes; absent fields keep their defaults.

    Raises InputError naming the file and, where one is wrong, the field.
    """
    return from_values(toml_of(path), kind, path)


def from_values(values: dict[str, Any], kind: type[T], path: Path | str) -> T:
    """The dataclass that the content of a TOML file describes; raises as `from_toml`."""
    try:
        return dacite.from_dict(kind, values, dacite.Config(strict=True, cast=[tuple]))
    except dacite.UnexpectedDataError as error:
        raise InputError(f"{path}: {error}{_meant(error.keys, kind)}") from error
    except (dacite.DaciteError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error


def toml_of(path: Path) -> dict[str, Any]:
    """What a TOML file says, as `parsing` reads it; InputError naming the file where it can't be read."""
    try:
        return read_toml(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read {path}: {reason}") from error


def _meant(unknown: set[str], kind: Any) -> str:
    """The field that an unknown one was probably meant to be, of a dataclass or of those inside it."""
    kinds = [kind, *(one.type for one in dataclasses.fields(kind) if dataclasses.is_dataclass(one.type))]
    names = [one.name for known in kinds for one in dataclasses.fields(known)]
    return next(filter(None, (did_you_mean(one, names) for one in sorted(unknown))), "")


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
