"""The chat format of a published model of tokens, and what becomes of it in a model of bytes.

The rule. The special tokens that end a turn (eos) and those that a chat template names get a sentinel each, as long as
there are free specials: ids 3 to 11, then those above the sentinels of the run's representations. What ends a turn
comes first, then the order of tokens' ids. The rows of a sentinel begin as the token's. What is left over is spelled:
a template that writes it writes bytes. `bos_token`, where a template writes it, is `<raw>`, which opens all text of
bytes and begins as the model's bos. `eos_token` is the sentinel of the model's eos, and `<eos>` if it has none.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from byteproxy.errors import InputError
from byteproxy.files import read_bytes
from byteproxy.gguf_file import GgufFile, gguf_package
from byteproxy.interop.chat import DEFAULT, MAX_TEMPLATE, Chat, is_text, templates_of
from byteproxy.interop.export_folder import CONFIG
from byteproxy.interop.stock import MAX_CONFIG
from byteproxy.interop.tokenizer import MAX_TOKENIZER, SPECIAL_NAMES, TOKENIZER, TOKENIZER_CONFIG
from byteproxy.parsing import read_json
from byteproxy.vocab import EOS, SPECIALS, free_specials

GENERATION = "generation_config.json"
TEMPLATE = "chat_template.jinja"
TEMPLATES = "additional_chat_templates"
_MAX_NAME = 256


@dataclass(frozen=True)
class SourceChat:
    """The chat format of a model of tokens.

    templates: Jinja, by name. specials: ids of special tokens by name. ends: ids that end a turn. eos: the name that
    templates write for `eos_token`; empty if there is none.
    """

    templates: Mapping[str, str]
    specials: Mapping[str, int]
    ends: tuple[int, ...]
    eos: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all of it."""
        said = [dict(self.templates), dict(self.specials), self.ends, self.eos]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def sentinels(self, representations: int) -> dict[str, int]:
        """The special of a model of bytes for each special token that gets one, by name.

        representations: of the run, raw bytes among them.
        """
        text = "\n".join(self.templates.values())
        wanted = [name for name in self.specials if self.specials[name] in self.ends or name in text]
        wanted.sort(key=lambda name: (self.specials[name] not in self.ends, self.specials[name]))
        fit = [name for name in wanted if 1 < len(name) <= _MAX_NAME and is_text(name) and name not in SPECIAL_NAMES]
        return dict(zip(fit, free_specials(representations), strict=False))

    def sentinel_tokens(self, representations: int, tokens: int) -> dict[int, int]:
        """The token that each sentinel begins as, by the sentinel's id, in a model of so many tokens."""
        found = {special: self.specials[name] for name, special in self.sentinels(representations).items()}
        return {special: token for special, token in found.items() if 0 <= token < tokens}

    def chat(self, representations: int) -> Chat:
        """The same for a model of bytes."""
        sentinels = self.sentinels(representations)
        ends = tuple(special for name, special in sentinels.items() if self.specials[name] in self.ends)
        return Chat(self.templates, sentinels, ends, self.eos if self.eos in sentinels else SPECIAL_NAMES[EOS])


def folder_chat(folder: Path) -> SourceChat | None:
    """The chat format in a folder of transformers; None: it has no template. InputError where a file can't be read."""
    said = _object(folder / TOKENIZER_CONFIG)
    templates = _folder_templates(folder, said)
    if not templates:
        return None
    tokens = _object(folder / TOKENIZER, MAX_TOKENIZER).get("added_tokens") or []
    try:
        specials = {str(one["content"]): int(one["id"]) for one in tokens if one.get("special")}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{folder / TOKENIZER} has added tokens that can't be read ({error}): copy it again"
        ) from error
    ends = [*_ids(_object(folder / CONFIG)), *_ids(_object(folder / GENERATION))]
    eos = _token(said.get("eos_token"))
    ends += [specials[eos]] if eos in specials else []
    by_id = {number: name for name, number in specials.items()}
    return SourceChat(templates, specials, tuple(dict.fromkeys(ends)), eos or (by_id.get(ends[0], "") if ends else ""))


def gguf_chat(file: GgufFile) -> SourceChat | None:
    """The chat format in a GGUF file; None: it has no template. InputError where that can't be read."""
    templates = gguf_templates(file)
    tokens, kinds = file.get("tokenizer.ggml.tokens"), file.get("tokenizer.ggml.token_type")
    if not templates or not isinstance(tokens, list) or not isinstance(kinds, list):
        return None
    control = gguf_package().TokenType.CONTROL
    specials = {
        token: number for number, (token, kind) in enumerate(zip(tokens, kinds, strict=False)) if kind == control
    }
    said = [file.get(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")]
    ends = tuple(dict.fromkeys(one for one in said if isinstance(one, int)))
    eos = tokens[ends[0]] if ends and 0 <= ends[0] < len(tokens) else ""
    return SourceChat(templates, specials, ends, eos)


def gguf_templates(file: GgufFile) -> dict[str, str]:
    """The templates in a GGUF file by name; InputError where they can't be read."""
    templates = templates_of(file.get("tokenizer.chat_template"), file.path)
    names = file.get("tokenizer.chat_templates")
    for name in names if isinstance(names, list) else ():
        said = file.get(f"tokenizer.chat_template.{name}")
        templates |= templates_of([{"name": name, "template": said}], file.path)
    return templates


def folder_byte_chat(folder: Path) -> Chat | None:
    """The chat format of an export; None: it has no template. InputError where a file can't be read."""
    said = _object(folder / TOKENIZER_CONFIG)
    templates = _folder_templates(folder, said)
    if not templates:
        return None
    vocabulary = _object(folder / TOKENIZER, MAX_TOKENIZER).get("model", {}).get("vocab", {})
    names = {number: name for name, number in vocabulary.items() if number < SPECIALS}
    return _byte_chat(templates, names, _ids(_object(folder / GENERATION)), _token(said.get("eos_token")))


def gguf_byte_chat(file: GgufFile) -> Chat | None:
    """The chat format of an export as a GGUF file; None: it has no template."""
    templates = gguf_templates(file)
    if not templates:
        return None
    names = dict(enumerate(file.get("tokenizer.ggml.tokens")[:SPECIALS]))
    eos, ends = file.get("tokenizer.ggml.eos_token_id"), file.get(CHAT_ENDS)
    known = names.get(eos, "") if isinstance(eos, int) else ""
    return _byte_chat(templates, names, ends if isinstance(ends, list) else [], known)


CHAT_ENDS = "byteproxy.chat_ends"
"""In a GGUF file of ours: the ids that end an answer, as llama.cpp has room for three ends only."""


def _byte_chat(templates: Mapping[str, str], names: Mapping[int, str], ends: list[int], eos: str) -> Chat:
    sentinels = {name: number for number, name in names.items() if name != SPECIAL_NAMES[number]}
    eos = eos if eos in names.values() else SPECIAL_NAMES[EOS]
    return Chat(templates, sentinels, tuple(one for one in ends if one in sentinels.values()), eos)


def _folder_templates(folder: Path, tokenizer_config: Mapping[str, Any]) -> dict[str, str]:
    """What transformers takes: files of their own before what the tokenizer's config says."""
    places = {DEFAULT: folder / TEMPLATE}
    places |= {path.stem: path for path in sorted((folder / TEMPLATES).glob("*.jinja"))}
    found: dict[str, str] = {}
    for name, path in places.items():
        if path.is_file():
            found |= templates_of([{"name": name, "template": _text(path)}], path)
    return found or templates_of(tokenizer_config.get("chat_template"), folder / TOKENIZER_CONFIG)


def _text(path: Path) -> str:
    try:
        return read_bytes(path, 4 * MAX_TEMPLATE).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the chat template {path} can't be read ({error}): mend it, or take it out") from error


def _object(path: Path, most: int = MAX_CONFIG) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is no file."""
    if not path.is_file():
        return {}
    try:
        found = read_json(path, most)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read ({error}): copy it again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no object: copy it again")
    return found


def _ids(said: Mapping[str, Any]) -> list[int]:
    """The ids of eos that a config names, one or several."""
    ids = said.get("eos_token_id")
    return [one for one in (ids if isinstance(ids, list) else [ids]) if isinstance(one, int)]


def _token(said: Any) -> str:
    """A token by its name, as a text or as an object that has it as content."""
    name = said.get("content") if isinstance(said, dict) else said
    return name if isinstance(name, str) else ""
