"""Which values a field of a configuration or an argument takes, checked in one place.

The numbers that a field takes are said where it is declared:

    rows: int = ranged(2, 1, 1 << 24)

Every range is finite at both ends, so NaN, infinity and numbers that no machine could follow are refused for each field
alike. The tests go over all configurations and refuse a numeric field that declares no range.
"""

import dataclasses
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from byteproxy.errors import InputError

_KEY = "range"
P = ParamSpec("P")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers from `least` to `most`.

    above, below: leave out that end. or_zero: 0 is taken as well. whole: integers only.
    """

    least: float
    most: float
    above: bool = False
    below: bool = False
    or_zero: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Whether a value is one of these numbers."""
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if self.or_zero and value == 0:
            return True
        low = self.least < value if self.above else self.least <= value
        return low and (value < self.most if self.below else value <= self.most)

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'from'} {_written(self.least)}"
        high = f"{'to below' if self.below else 'to'} {_written(self.most)}"
        zero = "0, or " if self.or_zero else ""
        return f"{zero}a {'whole ' if self.whole else ''}number {low} {high}"


def bounds(least: float, most: float, **options: bool) -> dict[str, Range]:
    """The metadata of a dataclass's field that holds numbers of a range: one, None, or those of a tuple or dict.

    options: those of `Range`; `whole` follows from ends that are integers.
    """
    options.setdefault("whole", isinstance(least, int) and isinstance(most, int))
    return {_KEY: Range(least, most, **options)}


def ranged(default: Any, least: float, most: float, **options: bool) -> Any:
    """A dataclass's field with `bounds` and a default."""
    return dataclasses.field(default=default, metadata=bounds(least, most, **options))


def range_of(field: "dataclasses.Field[Any]") -> Range | None:
    """The range that a field declares, if it does."""
    return field.metadata.get(_KEY)


def ensure_in_range(config: Any, where: str = "") -> None:
    """InputError naming the first field of a dataclass that holds a number outside its range.

    where: what stands in front of the field's name, such as "model.".
    """
    for field in dataclasses.fields(config):
        allowed = range_of(field)
        if allowed is None:
            continue
        for name, value in _numbers(f"{where}{field.name}", getattr(config, field.name)):
            if value is not None and not allowed.holds(value):
                raise InputError(f"{name} is {_shown(value)}: give {allowed}")


def ensure_one_of(name: str, value: object, choices: Collection[str]) -> None:
    """InputError naming what holds a value that is none of its choices."""
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{name} is {_shown(value)}: give one of {', '.join(choices)}")


def ensure_bytes(name: str, texts: Any) -> None:
    """InputError naming what should hold several texts, each as bytes, and does not."""
    several = isinstance(texts, Iterable) and not isinstance(texts, str | bytes | bytearray | memoryview)
    wrong = next((one for one in texts if not isinstance(one, bytes)), None) if several else texts
    if wrong is not None or not several:
        raise InputError(f"{name} has {wrong!r:.60}: give a list of texts as bytes, such as [b'def ']")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """The same function, which refuses an argument of another type than its annotation names, by an InputError.

    Annotations that are quoted are not looked at: they name what isn't imported yet.
    """
    signature = inspect.signature(function)
    hints = {name: one.annotation for name, one in signature.parameters.items() if not isinstance(one.annotation, str)}

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in hints and not _fits(value, hints[name]):
                if get_origin(hints[name]) is Literal:
                    ensure_one_of(name, value, get_args(hints[name]))
                raise InputError(f"{name} is {value!r:.60}: give {_wanted(hints[name])}")
        return function(*args, **kwargs)

    return called


_KINDS: dict[Any, tuple[type | tuple[type, ...], str]] = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "text"),
    Path: (Path, "a path"),
    NoneType: (NoneType, "None"),
}
"""What a value of a type is an instance of, and what that is called. numpy's numbers are numbers, too."""


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that a hint names; of hints that name none that can be told, whatever it is."""
    origin = get_origin(hint)
    if origin in (UnionType, Union):
        return any(_fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if hint in _KINDS:
        number = hint in (int, float) and isinstance(value, bool)
        return isinstance(value, _KINDS[hint][0]) and not number
    if not isinstance(origin, type):
        return not isinstance(hint, type) or isinstance(value, hint)
    if not isinstance(value, origin) or (origin in _SEVERAL and isinstance(value, str | bytes)):
        return False
    inside = value if origin in _SEVERAL and isinstance(value, list | tuple | set | frozenset) else ()
    return all(_fits(one, get_args(hint)[0]) for one in inside)


_SEVERAL = (Iterable, Sequence)


def _wanted(hint: Any) -> str:
    """What a hint asks for, in words."""
    if get_origin(hint) in (UnionType, Union):
        return " or ".join(dict.fromkeys(_wanted(one) for one in get_args(hint) if one is not NoneType))
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) in _SEVERAL:
        return f"several, each {_wanted(get_args(hint)[0])}"
    if hint in _KINDS:
        return _KINDS[hint][1]
    return {Mapping: "a dictionary", Callable: "a function"}.get(get_origin(hint), str(getattr(hint, "__name__", hint)))


def _numbers(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((f"{name}.{key}", one) for key, one in value.items())
    elif isinstance(value, tuple | list):
        yield from ((f"{name}[{at}]", one) for at, one in enumerate(value))
    else:
        yield name, value


def _written(value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}" if value < 1 << 53 else f"2^{math.log2(value + 1):g} - 1"
    return f"{value:g}"


def _shown(value: Any) -> str:
    """A value as people gave it; integers of thousands of digits by their size."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"about 2^{value.bit_length()}"
    return repr(value)
