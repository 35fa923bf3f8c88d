"""A chat as a model of bytes reads it: its template's text as bytes, with sentinels where the template names them.

What a message says is never a sentinel: a name in it is spelled. So somebody who writes `<|im_end|>` ends no turn.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from byteproxy.errors import InputError
from byteproxy.generate.prompt import ChatPrompt
from byteproxy.interop.chat import DEFAULT, Chat
from byteproxy.interop.chat_render import rendered
from byteproxy.interop.tokenizer import PAD_NAME, RAW_NAME, names_of
from byteproxy.vocab import byte_ids

_MARKS = range(0xF0000, 0xF0400)
"""Characters for private use, of which one that nobody wrote keeps names in messages apart from the template's."""


def chat_prompt(
    chat: Chat, messages: Sequence[Mapping[str, Any]], template: str = DEFAULT, answer: bool = True
) -> ChatPrompt:
    """A chat as ids, up to where the model answers.

    messages: each with "role" and "content", and whatever else the template reads.
    answer: open the answer of the model.
    Raises InputError where the template can't be used for them, saying why.
    """
    ensure_messages(messages)
    specials = {name: number for number, name in enumerate(names_of(chat.sentinels))}
    parsed = {name: specials[name] for name in {RAW_NAME, chat.eos, *chat.sentinels}}
    either = re.compile("|".join(map(re.escape, sorted(parsed, key=len, reverse=True))))
    mark = _unused(chat.template(template), messages)
    more = {"bos_token": RAW_NAME, "eos_token": chat.eos, "pad_token": PAD_NAME, "add_generation_prompt": answer}
    apart = [_apart(dict(message), either, mark) for message in messages]
    text = rendered(chat.template(template), apart, more)
    try:
        return ChatPrompt(_ids(text, either, parsed, mark))
    except UnicodeEncodeError as error:
        raise InputError(
            f"the chat has half a surrogate pair, {error.object[error.start]!r}: give text that UTF-8 can say"
        ) from error


def _ids(text: str, either: re.Pattern[str], parsed: Mapping[str, int], mark: str) -> np.ndarray:
    ids, at = [], 0
    for found in either.finditer(text):
        ids += [_bytes(text[at : found.start()], mark), np.array([parsed[found[0]]])]
        at = found.end()
    return np.concatenate([*ids, _bytes(text[at:], mark)])


def ensure_messages(messages: object) -> None:
    """InputError where messages are none."""
    wrong = not isinstance(messages, Sequence) or isinstance(messages, str | bytes) or not messages
    if wrong or not all(isinstance(one, Mapping) and "role" in one for one in messages):  # type: ignore[attr-defined]
        raise InputError(f"messages are {messages!r:.60}: give a list such as [{{'role': 'user', 'content': 'Hello'}}]")


def _apart(said: Any, either: re.Pattern[str], mark: str) -> Any:
    """The same with a mark inside of each name of a special."""
    if isinstance(said, str):
        return either.sub(lambda found: found[0][:1] + mark + found[0][1:], said)
    if isinstance(said, Mapping):
        return {key: _apart(value, either, mark) for key, value in said.items()}
    return [_apart(one, either, mark) for one in said] if isinstance(said, list | tuple) else said


def _unused(template: str, messages: Sequence[Mapping[str, Any]]) -> str:
    seen = {*template, *str(messages)} | _characters(messages)
    mark = next((chr(mark) for mark in _MARKS if chr(mark) not in seen), "")
    if not mark:
        raise InputError(
            f"the chat has all {len(_MARKS):,} characters for private use from U+{_MARKS[0]:X} to U+{_MARKS[-1]:X}: "
            "leave one of them out"
        )
    return mark


def _characters(said: Any) -> set[str]:
    if isinstance(said, Mapping):
        said = [*said.values()]
    if isinstance(said, list | tuple):
        return set().union(*map(_characters, said))
    return set(said) if isinstance(said, str) else set()


def _bytes(text: str, mark: str) -> np.ndarray:
    return byte_ids(text.replace(mark, "").encode("utf-8", "surrogateescape"))
