"""How a model of bytes is talked to: its chat templates, and the specials that stand for turns.

A model of tokens marks turns with special tokens. Here these are *sentinels*, specials that training leaves free, under
the names that they had, so the templates stay as they were. All other text of a chat is bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from byteproxy.errors import InputError

DEFAULT = "default"
MAX_TEMPLATE = 1 << 20
_MAX_TEMPLATES = 64


@dataclass(frozen=True)
class Chat:
    """A chat format of a model of bytes.

    templates: Jinja, by name; "default" is the one that is used unless another is named.
    sentinels: ids of specials by name.
    ends: ids of those that end an answer; where there are none, it ends as other text does.
    eos: what templates write for `eos_token`.
    """

    templates: Mapping[str, str]
    sentinels: Mapping[str, int] = field(default_factory=dict)
    ends: tuple[int, ...] = ()
    eos: str = "<eos>"

    def template(self, name: str = DEFAULT) -> str:
        """The template of a name; InputError where there is none."""
        if name not in self.templates:
            raise InputError(f"there is no chat template {name!r}: name one of {', '.join(sorted(self.templates))}")
        return self.templates[name]


def templates_of(said: Any, where: Path) -> dict[str, str]:
    """Templates by name from what a model's file says: a text, or a list of names with texts; none for nothing.

    Raises InputError, naming the file, where they are neither, too large or no Unicode.
    """
    if said is None or said == "":
        return {}
    if isinstance(said, str):
        _ensure_template(DEFAULT, said, where)
        return {DEFAULT: said}
    if isinstance(said, list) and all(isinstance(one, dict) for one in said) and len(said) <= _MAX_TEMPLATES:
        for one in said:
            _ensure_template(one.get("name"), one.get("template"), where)
        return {one["name"]: one["template"] for one in said}
    raise InputError(f"the chat template in {where} is no text: mend it, or take it out if no chat is wanted")


def _ensure_template(name: object, template: object, where: Path) -> None:
    if not isinstance(name, str) or not isinstance(template, str) or not name.isprintable():
        raise InputError(f"the chat template in {where} is no text: mend it, or take it out if no chat is wanted")
    if len(template) > MAX_TEMPLATE:
        raise InputError(
            f"the chat template in {where} has {len(template):,} characters, and {MAX_TEMPLATE:,} are read at most: "
            "take it out if no chat is wanted"
        )
    if not is_text(template) or not is_text(name):
        raise InputError(f"the chat template in {where} has characters that are no Unicode: mend it, or take it out")


def is_text(text: str) -> bool:
    """Whether UTF-8 can say it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
