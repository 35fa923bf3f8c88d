"""Frozen dataclasses from TOML and back; a wrong key or type is refused with the field's name."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import dacite
import tomli_w

from byteproxy.errors import InputError, did_you_mean

T = TypeVar("T")


def from_toml(path: Path, kind: type[T]) -> T:
    """The dataclass that a TOML file describes; absent fields keep their defaults.

    Raises InputError naming the file and, where one is wrong, the field.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return dacite.from_dict(kind, values, dacite.Config(strict=True, cast=[tuple]))
    except dacite.UnexpectedDataError as error:
        raise InputError(f"{path}: {error}{_meant(error.keys, kind)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    except (dacite.DaciteError, InputError) as error:
        raise InputError(f"{path}: {error}") from error


def _meant(unknown: set[str], kind: Any) -> str:
    """The field that an unknown one was probably meant to be, of a dataclass or of those inside it."""
    kinds = [kind, *(one.type for one in dataclasses.fields(kind) if dataclasses.is_dataclass(one.type))]
    names = [one.name for known in kinds for one in dataclasses.fields(known)]
    return next(filter(None, (did_you_mean(one, names) for one in sorted(unknown))), "")


def to_toml(config: Any) -> str:
    """A dataclass as TOML; fields that are None are left out, as TOML has no such value."""
    return tomli_w.dumps(_without_none(dataclasses.asdict(config)))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(one) for key, one in value.items() if one is not None}
    return [_without_none(one) for one in value] if isinstance(value, list | tuple) else value
