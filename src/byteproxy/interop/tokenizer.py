"""The tokenizer of raw bytes, in the files that `AutoTokenizer` loads with no code of ours.

It is a byte-level BPE without a single merge, so each UTF-8 byte stays a token by itself, id = byte + 64, and one
`<raw>` is put in front as the bos. Text is cut by no pattern and normalised by nothing, so it comes back exactly.

A literal `<raw>` in a text has to stay five bytes. In `tokenizer.json` the specials are entries of the vocabulary that
no merge leads to, and not added tokens, which would be searched for in text; so `tokenizers` alone can't take one for
the other. transformers needs to know which ids to skip when it decodes: `tokenizer_config.json` names them, and
`split_special_tokens` keeps it from searching, too.

With a chat format it is otherwise, as a template's text has to become sentinels: there all specials are found in text,
by all tools. `split_special_tokens=True` lets transformers read one text without them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from byteproxy.errors import InputError
from byteproxy.interop.chat import DEFAULT, Chat
from byteproxy.parsing import read_json
from byteproxy.views.bpe import byte_characters
from byteproxy.vocab import BYTES, EOS, FIRST_BYTE, NEUTRAL, PAD, RAW, SPECIALS, closing, opening

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
MAX_TOKENIZER = 1 << 28
_NAMED = {PAD: "<pad>", NEUTRAL: "<neutral>", EOS: "<eos>", opening(RAW): "<raw>", closing(RAW): "</raw>"}
SPECIAL_NAMES = tuple(_NAMED.get(number, f"<special-{number}>") for number in range(SPECIALS))
"""What the specials are called, by id."""


RAW_NAME, PAD_NAME = _NAMED[opening(RAW)], _NAMED[PAD]
_FLAGS = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}


def names_of(sentinels: Mapping[str, int]) -> tuple[str, ...]:
    """What the specials are called, by id, where some have names of a chat."""
    renamed = {number: name for name, number in sentinels.items()}
    return tuple(renamed.get(number, name) for number, name in enumerate(SPECIAL_NAMES))


def tokenizer_files(context: int, chat: Chat | None = None) -> dict[str, bytes]:
    """The contents of the tokenizer's files, by name.

    context: bytes of text that the model sees at once. chat: of a model that is talked to.
    """
    return {
        TOKENIZER: byte_tokenizer(chat).to_str(pretty=True).encode(),
        TOKENIZER_CONFIG: _written(_config(context, chat)),
    }


def byte_tokenizer(chat: Chat | None = None) -> Tokenizer:
    """Text as `<raw>` and its bytes; of two texts both in one, with no second `<raw>`."""
    names = names_of(chat.sentinels if chat else {})
    vocabulary = {name: number for number, name in enumerate(names)}
    vocabulary |= {character: FIRST_BYTE + byte for byte, character in enumerate(byte_characters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{RAW_NAME} $A", pair=f"{RAW_NAME} $A $B", special_tokens=[(RAW_NAME, opening(RAW))]
    )
    if chat:
        tokenizer.add_special_tokens([AddedToken(name, **_FLAGS) for name in names])
    return tokenizer


def is_byte_vocabulary(tokens: object) -> bool:
    """Whether a list of tokens by id is this tokenizer's."""
    return (
        isinstance(tokens, list)
        and tokens[SPECIALS:] == byte_characters()
        and all(tokens[number] == name for number, name in _NAMED.items())
    )


def is_byte_tokenizer(path: Path) -> bool:
    """Whether a `tokenizer.json` is this one, whoever wrote the file; InputError where it can't be read."""
    try:
        model = read_json(path, MAX_TOKENIZER)["model"]
        tokens = sorted(model["vocab"], key=model["vocab"].get)
        numbered = sorted(model["vocab"].values()) == [*range(SPECIALS + BYTES)]
        return model.get("type") == "BPE" and not model.get("merges") and numbered and is_byte_vocabulary(tokens)
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} is no tokenizer that can be read ({error}): copy it again") from error


def _config(context: int, chat: Chat | None) -> dict[str, Any]:
    names = names_of(chat.sentinels if chat else {})
    said: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # what transformers 4 and 5 both know
        "added_tokens_decoder": {str(number): {"content": name, **_FLAGS} for number, name in enumerate(names)},
        "bos_token": RAW_NAME,
        "eos_token": chat.eos if chat else SPECIAL_NAMES[EOS],
        "pad_token": PAD_NAME,
        "split_special_tokens": chat is None,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",  # so that batches of prompts end where they are continued
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context + 1,
    }
    if chat:
        several = [{"name": name, "template": template} for name, template in chat.templates.items()]
        said["chat_template"] = chat.templates[DEFAULT] if list(chat.templates) == [DEFAULT] else several
    return said


def _written(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
