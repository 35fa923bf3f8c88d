"""Tokenizers of published families: their own pre-tokenizers, normalizers and added tokens around merges trained here.

The parts are facts of the files that the models are published with; the vocabularies are small ones, learnt from the
standard library of Python and from lines in many scripts.
"""

import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from tests.views.contract import real_documents
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
SPECIAL = {**FLAGS, "special": True}
NFC = {"type": "NFC"}
SIZE = 1500
TEXT = "".join(
    f"  def f{n}(x):  # it's naïve, 中文 ひらがな {n * 7919} I'LL We'Re don’t, été à la Straße {n}%\n\n    return x+{n}"
    f"\r\n\t<|endoftext|>\n한국어 텍스트 Тест нового {n}-го токенизатора हिन्दी पाठ العربية نص ٣٤٥ e\u0301 "
    f"😀👩‍👩‍👧 «ＦＵＬＬ»{n:x}\u00a0\u3000x\n"
    for n in range(60)
)

TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3_WORDS = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{TAIL}"
QWEN2_WORDS = rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{TAIL}"
CL100K_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]"
    r"|\s+(?!\S)|\s+"
)
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
O200K_WORDS = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
TEKKEN_WORDS = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+",
        rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*",
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
DEEPSEEK3_WORDS = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_LETTERS = r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ]+"
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
WITH_WORDS = {**BYTE_LEVEL, "use_regex": True}
NEVER_IN_UTF8 = "ÀÁõö÷øùúûüýþÿ"
"""The spelling of the 13 bytes."""
DIGITS = {"type": "Digits", "individual_digits": True}


def split(pattern: str, behavior: str = "Isolated", invert: bool = False) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


@cache
def _trained(pre_tokenizer: str) -> str:
    empty = json.loads(Tokenizer(models.BPE()).to_str())
    tokenizer = Tokenizer.from_str(json.dumps({**empty, "pre_tokenizer": json.loads(pre_tokenizer)}))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=SIZE, show_progress=False, initial_alphabet=alphabet)
    code = [text.decode("utf-8", "ignore") for text in real_documents()[:30]]
    tokenizer.train_from_iterator([TEXT, *code], trainer)
    return tokenizer.to_str()


def family(
    pre_tokenizer: dict[str, Any], *tokens: str | dict[str, Any], normalizer: dict[str, Any] | None = None
) -> dict[str, Any]:
    """tokens: the added ones behind the vocabulary; a name is special, others are given with flags."""
    content: dict[str, Any] = json.loads(_trained(json.dumps(pre_tokenizer)))
    vocabulary = content["model"]["vocab"]
    first = len(vocabulary)
    for token in tokens:
        given = {"content": token, **SPECIAL} if isinstance(token, str) else {**FLAGS, **token}
        known = vocabulary.get(given["content"])
        content["added_tokens"].append({"id": first if known is None else known, **given})
        first += known is None
    content["normalizer"] = normalizer
    content["post_processor"] = {**BYTE_LEVEL, "trim_offsets": False}
    return content


def blanks(*counts: int, normalized: bool = True) -> list[dict[str, Any]]:
    return [{"content": " " * count, "normalized": normalized} for count in counts]


def keep_but(content: dict[str, Any], missing: Iterable[str]) -> None:
    """Take symbols that no merge needs out of the vocabulary, and number the others anew."""
    made = {symbol for pair in content["model"]["merges"] for symbol in pair}
    kept = [symbol for symbol in content["model"]["vocab"] if symbol not in set(missing) - made]
    content["model"]["vocab"] = {symbol: number for number, symbol in enumerate(kept)}


def gpt2() -> dict[str, Any]:
    content = family(WITH_WORDS, "<|endoftext|>")
    content["model"].update(continuing_subword_prefix="", end_of_word_suffix="", unk_token=None)
    content["model"]["merges"] = [" ".join(pair) for pair in content["model"]["merges"]]
    return content


def neox() -> dict[str, Any]:
    """GPT-NeoX, Pythia and OLMo: runs of blanks are added, normalized, under NFC."""
    return family(WITH_WORDS, "<|endoftext|>", "<|padding|>", *blanks(*range(24, 1, -1)), normalizer=NFC)


def phi2() -> dict[str, Any]:
    tabs = [{"content": "\t" * count} for count in range(9, 1, -1)]
    return family(WITH_WORDS, "<|endoftext|>", *blanks(*range(31, 1, -1), normalized=False), *tabs)


def llama3() -> dict[str, Any]:
    content = family(sequence(split(LLAMA3_WORDS), BYTE_LEVEL), "<|begin_of_text|>", "<|end_of_text|>")
    content["model"]["ignore_merges"] = True
    # Symbols that no merge makes: only `ignore_merges` gives them.
    for whole in ("Ġreturn", "import", "ä¸Ńæĸĩ"):
        content["model"]["vocab"].setdefault(whole, len(content["model"]["vocab"]))
        content["model"]["merges"] = [pair for pair in content["model"]["merges"] if whole not in "".join(pair)]
    for place, token in enumerate(content["added_tokens"]):
        token["id"] = len(content["model"]["vocab"]) + place
    return content


def qwen2() -> dict[str, Any]:
    tools = [{"content": "<tool_call>"}, {"content": "</tool_call>"}, {"content": "<|fim_prefix|>"}]
    words = sequence(split(QWEN2_WORDS), BYTE_LEVEL)
    return family(words, "<|endoftext|>", "<|im_start|>", *tools, normalizer=NFC)


def olmo2() -> dict[str, Any]:
    """OLMo 2, StableLM 2 and GPT-4 as converted: what the pattern of cl100k finds is kept."""
    return family(sequence(split(LLAMA3_WORDS, "Removed", True), BYTE_LEVEL), "<|endoftext|>", {"content": "|||IP|||"})


def cl100k() -> dict[str, Any]:
    return family(sequence(split(CL100K_WORDS), BYTE_LEVEL), "<|endoftext|>")


def gpt4o() -> dict[str, Any]:
    return family(sequence(split(O200K_WORDS, "Removed", True), BYTE_LEVEL), "<|endoftext|>")


def nemo() -> dict[str, Any]:
    return family(sequence(split(TEKKEN_WORDS), BYTE_LEVEL), "<unk>", "<s>", "</s>")


def deepseek() -> dict[str, Any]:
    """DeepSeek-Coder and DeepSeek-V2: what spells bytes that never occur is added, so that it means these letters."""
    cuts = [
        split(r"[\r\n]"),
        split(DEEPSEEK_LETTERS),
        split(r"\s?[!-/:-~！-／：-～‘-‟　-。]+"),
        split(r"\s+$"),
        split("[一-龥ࠀ-一가-퟿]+"),
        DIGITS,
    ]
    never = [{"content": spelled, "normalized": True} for spelled in NEVER_IN_UTF8]
    content = family(sequence(*cuts, BYTE_LEVEL), *never, "<｜begin▁of▁sentence｜>", {"content": "<｜fim▁hole｜>"})
    keep_but(content, NEVER_IN_UTF8)
    for place, token in enumerate(content["added_tokens"]):
        token["id"] = len(content["model"]["vocab"]) + place
    return {**content, "normalizer": {"type": "Sequence", "normalizers": []}, "truncation": None}


def deepseek3() -> dict[str, Any]:
    cuts = [split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK3_WORDS)]
    content = family(sequence(*cuts, BYTE_LEVEL), "<｜begin▁of▁sentence｜>", {"content": "<think>", "normalized": True})
    return {**content, "normalizer": {"type": "Sequence", "normalizers": []}}


def smollm2() -> dict[str, Any]:
    """Special tokens stand first, and bytes that hardly occur have no symbol."""
    content = family(sequence(DIGITS, WITH_WORDS))
    special = ["<|endoftext|>", "<|im_start|>"]
    keep_but(content, ("\u0121", *NEVER_IN_UTF8, "ñ", "ò", "ó"))
    kept = content["model"]["vocab"]
    content["model"]["vocab"] = {symbol: number for number, symbol in enumerate([*special, *kept])}
    content["added_tokens"] = [{"id": number, "content": text, **SPECIAL} for number, text in enumerate(special)]
    return content


def starcoder() -> dict[str, Any]:
    return family(sequence(DIGITS, WITH_WORDS), "<|endoftext|>", "<fim_prefix>")


def falcon() -> dict[str, Any]:
    """Cuts behind ByteLevel see its spelling and not the text: no pattern of ours."""
    punctuation = {"type": "Punctuation", "behavior": "Contiguous"}
    cuts = [punctuation, WITH_WORDS, {"type": "Digits", "individual_digits": False}, split("[0-9]{3}")]
    return family(sequence(*cuts), ">>TITLE<<", "<|endoftext|>")


FAMILIES: dict[str, Callable[[], dict[str, Any]]] = {
    made.__name__: made
    for made in (
        *(gpt2, neox, phi2, llama3, qwen2, olmo2, cl100k, gpt4o, nemo, deepseek, deepseek3, smollm2, starcoder),
        falcon,
    )
}
SLOW = {"falcon"}
"""Those whose pieces `tokenizers` has to find."""
