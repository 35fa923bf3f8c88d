"""Read and check a tokenizer.json: all that a view needs of it, or one reason why it can't be a view.

The file may come from anywhere, so what `tokenizers` would refuse or silently read otherwise is refused here.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tokenizers.normalizers import NFC

from byteproxy.views.bpe.added_tokens import MAX_BYTES, AddedToken
from byteproxy.views.bpe.byte_alphabet import byte_characters
from byteproxy.views.bpe.merges import MAX_MERGES, MAX_SYMBOLS
from byteproxy.views.bpe.pre_tokenizers import Cuts, cuts_of, steps_of
from byteproxy.views.bpe.sentencepiece import Beginnings, beginnings_of, spelled
from byteproxy.views.bpe.spaces import Spaces, spaces_of

FLAGS = ("special", "single_word", "lstrip", "rstrip", "normalized")


@dataclass(frozen=True)
class TokenizerFile:
    """A tokenizer as a view takes it.

    content: the JSON.
    vocabulary: the number of each symbol in byte-level spelling: with `own`, and without added tokens, unless merges
        make them as well.
    own: the bytes that the file has no symbol for. Theirs come after all numbers of the file, in the order of bytes.
    merges: by rank. tokens: the added ones in the order of the file.
    composes: whether the text is brought into NFC first.
    spaces: how spaces are read, where that is SentencePiece's way; then symbols are spelled with the space that a "▁"
        stands for. beginnings: of the characters of such a tokenizer.
    """

    content: dict[str, Any]
    vocabulary: dict[str, int]
    own: bytes
    merges: list[tuple[str, str]]
    ignore_merges: bool
    tokens: list[AddedToken]
    cuts: Cuts
    composes: bool
    spaces: Spaces | None = None
    beginnings: Beginnings | None = None

    @property
    def model_strings(self) -> list[bytes]:
        """The bytes behind each symbol that the model makes, none for other numbers."""
        byte_of = {character: value for value, character in enumerate(byte_characters())}
        numbers = [*self.vocabulary.values(), *(token.symbol for token in self.tokens if not token.special)]
        strings = [b""] * (max(numbers) + 1)
        for symbol, number in self.vocabulary.items():
            strings[number] = bytes(byte_of[character] for character in symbol)
        return strings

    @property
    def strings(self) -> list[bytes]:
        """The bytes behind each symbol, none for numbers that never occur."""
        strings = self.model_strings
        for token in self.tokens:
            if not token.special:
                strings[token.symbol] = token.content.encode()
        return strings

    @property
    def numbered_merges(self) -> list[tuple[int, int, int]]:
        """(left, right, merged) symbols, by rank."""
        number = self.vocabulary
        return [(number[left], number[right], number[left + right]) for left, right in self.merges]


def read(tokenizer_json: str) -> TokenizerFile:
    """The tokenizer in a text; ValueError, saying why, for one that can't be a view.

    Post-processors, truncation, padding and decoders play no role in a view.
    """
    content = _parsed(tokenizer_json)
    model = _model(content)
    spaces = spaces_of(content)
    cuts = cuts_of(content.get("pre_tokenizer")) if spaces is None else spaces.cuts
    composes = spaces is None and _composes(content.get("normalizer"))
    numbers = _numbers(model["vocab"])
    tokens = _tokens(content, numbers)
    merges = _merges(model["merges"], numbers)
    vocabulary = _without_added(numbers, merges, tokens)
    if spaces is not None:
        _ensure_plain(model)
        vocabulary.pop(str(model.get("unk_token")), None)
        vocabulary, merges = spelled(vocabulary, merges)
    if not set(byte_characters()).issuperset("".join(vocabulary)) or "" in vocabulary:
        raise ValueError("its symbols are not made of the 256 bytes in byte-level spelling")
    first_own = max([-1, *numbers.values(), *(token.symbol for token in tokens)]) + 1
    own = bytes(value for value, character in enumerate(byte_characters()) if character not in vocabulary)
    if own and spaces is None and (model.get("byte_fallback") or model.get("unk_token")):
        raise ValueError(
            f"it has no symbol for {len(own)} of the 256 bytes and says byte_fallback or unk_token, so others would"
            " stand for them"
        )
    if composes:  # as the text is in which they are looked for
        tokens = [replace(one, content=NFC().normalize_str(one.content)) if one.normalized else one for one in tokens]
    if spaces is not None and not spaces.after_tokens:
        tokens = [replace(one, content=_spaced(one.content, spaces)) if one.normalized else one for one in tokens]
    vocabulary |= {byte_characters()[value]: first_own + place for place, value in enumerate(own)}
    _check_numbers(vocabulary, tokens)
    beyond = max([*vocabulary.values(), *(token.symbol for token in tokens if not token.special)]) + 1
    return TokenizerFile(
        content,
        vocabulary,
        own,
        merges,
        bool(model.get("ignore_merges")),
        tokens,
        cuts,
        composes,
        spaces,
        None if spaces is None else beginnings_of(vocabulary, beyond),
    )


def _parsed(tokenizer_json: str) -> dict[str, Any]:
    try:
        content = json.loads(tokenizer_json)
    except json.JSONDecodeError as error:
        raise ValueError(f"broken JSON, {error}") from None
    except RecursionError:
        raise ValueError("its JSON nests too deep") from None
    except ValueError:
        raise ValueError("it holds a number of thousands of digits") from None
    if not isinstance(content, dict):
        raise ValueError("its JSON is no object")
    return content


def _model(content: Mapping[str, Any]) -> dict[str, Any]:
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise ValueError("its model is not BPE")
    if not isinstance(model.get("vocab"), dict) or not isinstance(model.get("merges"), list):
        raise ValueError("its model is not BPE: that has a vocab, an object, and merges, a list")
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(option):
            raise ValueError(f"its model uses {option}")
    if len(model["merges"]) > MAX_MERGES:
        raise ValueError(f"it has {len(model['merges'])} merges, more than {MAX_MERGES}")
    return model


def _ensure_plain(model: Mapping[str, Any]) -> None:
    """ValueError for options under which SentencePiece's symbols would be others than merges say."""
    if model.get("ignore_merges"):
        raise ValueError("its model uses ignore_merges, which for pieces as long as a text is not supported")


def _spaced(content: str, spaces: Spaces) -> str:
    normal = spaces.normalized(content.encode())
    return content if normal is None else normal.text.decode()


def _numbers(vocab: dict[str, Any]) -> dict[str, int]:
    for symbol, number in vocab.items():
        if type(number) is not int or not 0 <= number < MAX_SYMBOLS:
            raise ValueError(
                f"its symbol numbers are not from 0 to {MAX_SYMBOLS - 1}: that of {symbol[:40]!r} is {_short(number)}"
            )
    return vocab


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, int) or abs(value) < 1 << 64 else "a larger one"
    return text if len(text) < 50 else text[:50] + "..."


def _merges(merges: list[Any], numbers: Mapping[str, int]) -> list[tuple[str, str]]:
    pairs = []
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise ValueError(f"its merge {_short(merge)} is no pair")
        if not {pair[0], pair[1], pair[0] + pair[1]} <= numbers.keys():
            raise ValueError(f"its merge {_short(merge)} needs what is not in its vocabulary")
        pairs.append((pair[0], pair[1]))
    return pairs


def _tokens(content: Mapping[str, Any], numbers: Mapping[str, int]) -> list[AddedToken]:
    """The added tokens with the numbers that the file gives them.

    ValueError where `tokenizers` gives another one to a token that can stand in a text: there it is the vocabulary's,
    or else the next one in a row.
    """
    listed = content.get("added_tokens") or []
    if not isinstance(listed, list):
        raise ValueError("its added_tokens are no list")
    tokens: dict[str, AddedToken] = {}
    largest = -1
    for place, given in enumerate(listed):
        if not isinstance(given, dict) or not isinstance(given.get("content"), str) or type(given.get("id")) is not int:
            raise ValueError(
                f"added_tokens[{place}] is no token: it has an id, a whole number, and a content, a string"
            )
        text = given["content"]
        if not text or text in tokens:
            continue
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"added_tokens[{place}] has half a surrogate pair in its content") from None
        flags = {flag: given.get(flag, False) for flag in FLAGS}
        if not all(isinstance(value, bool) for value in flags.values()):
            raise ValueError(f"added_tokens[{place}] has a flag that is neither true nor false")
        number = numbers.get(text, max(largest + 1, len(numbers)))
        largest = max(largest, number)
        if given["id"] != number and not flags["special"]:
            raise ValueError(
                f"added_tokens[{place}], {text[:40]!r}, says id {_short(given['id'])}, but `tokenizers` numbers it "
                f"{number}"
            )
        tokens[text] = AddedToken(given["id"], text, **flags)
    if sum(len(text.encode()) for text in tokens) > MAX_BYTES:
        raise ValueError(f"its added tokens are of more than {MAX_BYTES} bytes")
    return list(tokens.values())


def _without_added(
    numbers: Mapping[str, int], merges: list[tuple[str, str]], tokens: list[AddedToken]
) -> dict[str, int]:
    """The vocabulary without added tokens, but for those that are bytes, or that merges make as well.

    Also but for those that aren't special and are spelled as they are written, which `ignore_merges` makes of a piece.
    """
    made = {symbol for left, right in merges for symbol in (left, right, left + right)} | set(byte_characters())
    added = {one.content for one in tokens if one.special or _unspelled(one.content) != one.content.encode()} - made
    return {symbol: number for symbol, number in numbers.items() if symbol not in added}


def _unspelled(symbol: str) -> bytes:
    """The bytes of a symbol in byte-level spelling; none if it isn't in that."""
    byte_of = {character: value for value, character in enumerate(byte_characters())}
    return bytes(byte_of[character] for character in symbol) if byte_of.keys() >= set(symbol) else b""


def _check_numbers(vocabulary: Mapping[str, int], tokens: list[AddedToken]) -> None:
    used = {number: symbol for symbol, number in vocabulary.items()}
    if len(used) < len(vocabulary):
        raise ValueError("its symbol numbers repeat")
    for token in tokens:
        if token.special:
            continue
        if not token.symbol < MAX_SYMBOLS:
            raise ValueError(f"its symbol numbers are not from 0 to {MAX_SYMBOLS - 1}")
        spelled = used.get(token.symbol)
        if spelled is not None and _unspelled(spelled) != token.content.encode():
            raise ValueError(f"its added token {token.content[:40]!r} has the number of another symbol, {token.symbol}")
    if max(vocabulary.values()) >= MAX_SYMBOLS:
        raise ValueError(f"its symbol numbers are not from 0 to {MAX_SYMBOLS - 1}")


def _composes(normalizer: Any) -> bool:
    """Whether a normalizer is NFC; ValueError for one that does anything else to a text."""
    kinds = [step["type"] for step in steps_of(normalizer, "normalizers")]
    if others := [kind for kind in kinds if kind != "NFC"]:
        raise ValueError(
            f"its normalizer, {', '.join(others)}, may change a text, so its symbols would not be its own bytes; a "
            'copy with "normalizer": null can be one, with the same symbols for text that the normalizer leaves alone'
        )
    return bool(kinds)
