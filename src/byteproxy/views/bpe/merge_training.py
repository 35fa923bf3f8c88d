"""Learn merges from text, by the trainer of `tokenizers`."""

import re
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from byteproxy.errors import InputError
from byteproxy.progress import Progress
from byteproxy.views.bpe.pre_tokenizers import LINES_PATTERN, WORDS_PATTERN
from byteproxy.views.bpe.reference import valid_stretches

LONGEST_WORD = 256
"""Characters of a word that is learnt from as a whole. A longer one, as in DNA, is cut, since the trainer takes
quadratic time on long pieces. Words of writing are shorter, so what is learnt from them is the same."""
TRAINED_STRETCHES = re.compile(r"(?:[^\n]{0,1000}\n)+|[^\n]{1,1000}")
"""Lines as a whole, but long ones in stretches of 1,000 characters, for the same reason."""


def untrained(words: bool) -> Tokenizer:
    """A tokenizer without merges that cuts text at the ends of words, or of lines."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_cut(words), _spelt()])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def trained(documents: Iterable[bytes], alphabet_size: int, words: bool, progress: Progress) -> str:
    """The tokenizer.json with exactly so many symbols; InputError for documents too few."""
    tokenizer = untrained(words)
    cuts_for_good = tokenizer.pre_tokenizer
    if words:
        shorter = pre_tokenizers.FixedLength(LONGEST_WORD)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([_cut(words), shorter, _spelt()])
    trainer = trainers.BpeTrainer(
        vocab_size=alphabet_size,
        min_frequency=2,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_texts(documents, words, progress), trainer)
    tokenizer.pre_tokenizer = cuts_for_good
    found = tokenizer.get_vocab_size()
    if found < alphabet_size:
        raise InputError(
            f"the documents gave only {found} of {alphabet_size} BPE symbols: train on more text or set "
            f"alphabet_size to at most {found}"
        )
    return tokenizer.to_str()


def _cut(words: bool) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(WORDS_PATTERN if words else LINES_PATTERN), "isolated")


def _spelt() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def _texts(documents: Iterable[bytes], words: bool, progress: Progress) -> Iterator[list[str]]:
    done = 0
    for document in documents:
        valid = valid_stretches(document)[::2]
        yield valid if words else [part for stretch in valid for part in TRAINED_STRETCHES.findall(stretch)]
        done += len(document)
        progress(done, 0)
