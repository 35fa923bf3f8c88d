"""Training cuts what is too long for the trainer, and nothing else."""

import json
import random

import pytest
from tests.views.contract import real_documents
from tokenizers import pre_tokenizers, trainers

from byteproxy.progress import silent
from byteproxy.views.bpe import BpeView
from byteproxy.views.bpe.merge_training import LONGEST_WORD, trained, untrained


def test_ordinary_text_is_learnt_from_as_by_the_trainer_alone() -> None:
    documents = [text for text in real_documents()[:40] if text.isascii()]
    tokenizer = untrained(words=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1000, min_frequency=2, show_progress=False, special_tokens=[], initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator([text.decode() for text in documents], trainer)
    assert json.loads(trained(documents, 1000, True, silent)) == json.loads(tokenizer.to_str())


@pytest.mark.parametrize("letters", ["ACGT", "的一是不了人我在有他", "{}();=!+-"])
def test_letters_without_blanks_are_learnt_from_in_pieces(letters: str) -> None:
    """As DNA on one line, Chinese, minified code: the same as from these pieces, with time to match."""
    text = "".join(random.Random(4).choices(letters, k=20 * LONGEST_WORD + 7))
    pieces = [text[start : start + LONGEST_WORD] for start in range(0, len(text), LONGEST_WORD)]
    whole = trained([text.encode()], 400, True, silent)
    assert json.loads(whole) == json.loads(trained([piece.encode() for piece in pieces], 400, True, silent))
    assert BpeView(whole).decode(BpeView(whole).encode(text.encode()).symbols) == text.encode()
