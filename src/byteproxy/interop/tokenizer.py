"""The tokenizer of raw bytes, in the files that `AutoTokenizer` loads with no code of ours.

It is a byte-level BPE without a single merge, so each UTF-8 byte stays a token by itself, id = byte + 64, and one
`<raw>` is put in front as the bos. Text is cut by no pattern and normalised by nothing, so it comes back exactly.

A literal `<raw>` in a text has to stay five bytes. In `tokenizer.json` the specials are entries of the vocabulary that
no merge leads to, and not added tokens, which would be searched for in text; so `tokenizers` alone can't take one for
the other. transformers needs to know which ids to skip when it decodes: `tokenizer_config.json` names them, and
`split_special_tokens` keeps it from searching, too.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from byteproxy.errors import InputError
from byteproxy.parsing import read_json
from byteproxy.views.bpe import byte_characters
from byteproxy.vocab import EOS, FIRST_BYTE, NEUTRAL, PAD, RAW, SPECIALS, closing, opening

TOKENIZER, TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
MAX_TOKENIZER = 1 << 28
_NAMED = {PAD: "<pad>", NEUTRAL: "<neutral>", EOS: "<eos>", opening(RAW): "<raw>", closing(RAW): "</raw>"}
SPECIAL_NAMES = tuple(_NAMED.get(number, f"<special-{number}>") for number in range(SPECIALS))
"""What the specials are called, by id."""


def tokenizer_files(context: int) -> dict[str, bytes]:
    """The contents of the tokenizer's files, by name. context: bytes of text that the model sees at once."""
    return {TOKENIZER: byte_tokenizer().to_str(pretty=True).encode(), TOKENIZER_CONFIG: _written(_config(context))}


def byte_tokenizer() -> Tokenizer:
    """Text as `<raw>` and its bytes; of two texts both in one, with no second `<raw>`."""
    vocabulary = {name: number for number, name in enumerate(SPECIAL_NAMES)}
    vocabulary |= {character: FIRST_BYTE + byte for byte, character in enumerate(byte_characters())}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    raw = SPECIAL_NAMES[opening(RAW)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{raw} $A", pair=f"{raw} $A $B", special_tokens=[(raw, opening(RAW))]
    )
    return tokenizer


def is_byte_vocabulary(tokens: object) -> bool:
    """Whether a list of tokens by id is this tokenizer's."""
    return tokens == [*SPECIAL_NAMES, *byte_characters()]


def is_byte_tokenizer(path: Path) -> bool:
    """Whether a `tokenizer.json` is this one, whoever wrote the file; InputError where it can't be read."""
    ours = json.loads(byte_tokenizer().to_str())["model"]
    try:
        model = read_json(path, MAX_TOKENIZER)["model"]
        return all(model.get(part) == ours[part] for part in ("type", "vocab", "merges"))
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(f"{path} is no tokenizer that can be read ({error}): copy it again") from error


def _config(context: int) -> dict[str, Any]:
    shape = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",  # what transformers 4 and 5 both know
        "added_tokens_decoder": {str(number): {"content": name, **shape} for number, name in enumerate(SPECIAL_NAMES)},
        "bos_token": SPECIAL_NAMES[opening(RAW)],
        "eos_token": SPECIAL_NAMES[EOS],
        "pad_token": SPECIAL_NAMES[PAD],
        "split_special_tokens": True,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",  # so that batches of prompts end where they are continued
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context + 1,
    }


def _written(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()
