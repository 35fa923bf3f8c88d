"""The columns of a table that make up its documents, chosen by name and type. Names need not be UTF-8.

A name with dots leads into a struct field, unless a column has exactly that name. Lines of JSON follow the same rule.
"""

from collections.abc import Iterator

import pyarrow as pa

from byteproxy.corpus.fields import Fields, did_you_mean, shown
from byteproxy.errors import InputError


def columns_of(schema: pa.Schema, fields: Fields, path: str) -> Fields:
    """The names under which a table has the parts of a document: one for the text, any number for the others.

    Raises InputError if there is no text, or names that somebody gave on purpose lead to columns of no use only.
    """
    kinds = {name: _kind_at(schema, name) for name in (*fields.text, *fields.naming)}
    all_names = there(schema)
    text = next((name for name in fields.text if kinds[name] is not None), None)
    if text is None:
        raise InputError(
            f"{path} has no column {' or '.join(fields.text)}: name the one that holds the text by text=NAME; there "
            f"are {shown(all_names)}{did_you_mean('text', fields.text, all_names)}"
        )
    if not (_is_text(kinds[text]) or pa.types.is_null(kinds[text])):
        raise InputError(
            f"column {text} of {path} holds {kinds[text]}, not text: name another by text=NAME; there are "
            f"{shown(all_names)}"
        )
    fitting = {}
    for part in ("id", "project", "language"):
        wanted = getattr(fields, part)
        found = [name for name in wanted if kinds[name] is not None]
        fitting[part] = tuple(name for name in found if _can_name(kinds[name]))
        if found and not fitting[part] and fields.on_purpose(part):
            raise InputError(
                f"column {found[0]} of {path} holds {kinds[found[0]]}, neither strings nor whole numbers: name another "
                f"by {part}=NAME; there are {shown(all_names)}"
            )
    return Fields((text,), **fitting)


def names_of(columns: Fields) -> list[str]:
    """The columns to read."""
    return sorted({*columns.text, *columns.naming})


def there(schema: pa.Schema) -> list[str]:
    """The names of all columns, each with the fields of its structs behind it."""

    def inside(fields: list[tuple[str, pa.DataType]], before: str) -> Iterator[str]:
        for name, kind in fields:
            yield before + name
            yield from inside(_children(kind), f"{before}{name}.")

    return list(dict.fromkeys(inside(_children(schema), "")))


def found_at(schema: pa.Schema, name: str) -> tuple[int, ...]:
    """The indices that lead to an existing column: its own, then those of fields inside its structs."""
    path = _path(_children(schema), name)
    assert path is not None
    return path


def leaves_of(schema: pa.Schema, names: list[str]) -> list[int]:
    """The columns of Parquet behind the names: one for each that isn't a struct or a list, counted over all."""
    wanted: set[int] = set()
    for name in names:
        place, fields = 0, _children(schema)
        for index in found_at(schema, name):
            place += sum(_leaves(kind) for _, kind in fields[:index])
            kind = fields[index][1]
            fields = _children(kind)
        wanted.update(range(place, place + _leaves(kind)))
    return sorted(wanted)


def _kind_at(schema: pa.Schema, name: str) -> pa.DataType | None:
    fields, kind = _children(schema), None
    for index in _path(fields, name) or ():
        kind = fields[index][1]
        fields = _children(kind)
    return kind


def _path(fields: list[tuple[str, pa.DataType]], name: str) -> tuple[int, ...] | None:
    """The longest name counts, and of the same name the first."""
    end = len(name)
    while end >= 0:
        index = next((index for index, (own, _) in enumerate(fields) if own == name[:end]), None)
        if index is not None:
            if end == len(name):
                return (index,)
            inner = _path(_children(fields[index][1]), name[end + 1 :])
            if inner is not None:
                return (index, *inner)
        end = name.rfind(".", 0, end)
    return None


def _children(of: pa.Schema | pa.DataType) -> list[tuple[str, pa.DataType]]:
    """The name and type of each field of a schema or a struct; what isn't UTF-8 in a name as in names of files."""
    if isinstance(of, pa.Schema):
        fields = [of.field(index) for index in range(len(of))]
    else:
        fields = [of.field(index) for index in range(of.num_fields)] if pa.types.is_struct(of) else []
    return [(_name(field), field.type) for field in fields]


def _name(field: pa.Field) -> str:
    try:
        return field.name
    except UnicodeDecodeError as error:
        return bytes(error.object).decode("utf-8", "surrogateescape")


def _leaves(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _leaves(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return 1
    inner = [kind.field(index).type for index in range(kind.num_fields)]
    return sum(map(_leaves, inner)) if inner else 1


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values, however they are encoded."""
    return kind.value_type if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind) else kind


def _can_name(kind: pa.DataType) -> bool:
    return _is_text(kind) or pa.types.is_integer(_plain(kind)) or pa.types.is_null(kind)


def _is_text(kind: pa.DataType) -> bool:
    return any(
        test(_plain(kind))
        for test in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_string_view,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        )
    )
