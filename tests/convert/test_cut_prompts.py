"""Words that are cut: each divides a token, none twice, the same for the same seed."""

import re

import numpy as np
import pytest
from tests.toy_corpus import toy_documents

from byteproxy.convert.conversion import Cut
from byteproxy.convert.cut_prompts import CONTEXT, counted, drawn_cuts, is_right
from byteproxy.errors import InputError
from byteproxy.views.bpe import BpeView

WORDS = ["connection", "directory", "exception", "iterator", "position", "sequence", "separator", "validation"]
TEXTS = [
    ("\n".join(f"def {one}_{two}(self):\n    return self.{two}" for two in WORDS if two != one) + "\n").encode()
    for one in WORDS
]


@pytest.fixture(scope="module")
def view():
    return BpeView.train([*TEXTS, *(one.text for one in toy_documents(10))], 400)


def test_each_divides_a_token_and_has_the_rest_of_its_word(view):
    cuts = drawn_cuts(TEXTS, view, 6, 0)
    assert len(cuts) == 6
    for cut in cuts:
        assert len(cut.prompt.encode()) <= CONTEXT
        places = [(text, text.find((cut.prompt + cut.rest).encode())) for text in TEXTS]
        text, begin = next((text, at) for text, at in places if at >= 0)
        place = begin + len(cut.prompt.encode())
        assert place not in np.cumsum(view.encode(text).span_bytes)
        word = re.search(r"[A-Za-z]+$", cut.prompt)[0] + cut.rest
        assert word in [*WORDS, "return"]
        assert not text[place + len(cut.rest) : place + len(cut.rest) + 1].isalpha()


def test_the_seed_draws_and_no_word_twice(view):
    found = {seed: drawn_cuts(TEXTS, view, 100, seed) for seed in (0, 1)}
    assert found[0] == drawn_cuts(TEXTS, view, 100, 0)
    assert found[0] != found[1]
    for cuts in found.values():
        words = [re.search(r"[A-Za-z]+$", cut.prompt)[0] + cut.rest for cut in cuts]
        assert len(words) == len(set(words)) <= len(WORDS) + 1
    assert drawn_cuts(TEXTS, view, 0, 0) == drawn_cuts([], view, 3, 0) == []


def test_text_that_is_no_utf8_gives_no_prompts(view):
    assert drawn_cuts([b"\xff" * 60 + b" connection directory"], view, 5, 0) == []


def test_what_begins_with_the_rest_is_right():
    cuts = [
        {"rest": "tion", "drawn": True, "before": "tional", "after": "tio"},
        {"rest": "ory", "drawn": True, "before": "y", "after": "ory("},
        {"rest": "or", "drawn": False, "before": "", "after": "or"},
    ]
    assert is_right(cuts[0], "tional")
    assert counted(cuts, ("before", "after")) == {
        "given": {"cuts": 1, "before": 0, "after": 1},
        "drawn": {"cuts": 2, "before": 1, "after": 1},
    }


def test_a_cut_without_a_rest_is_refused():
    with pytest.raises(InputError, match="no rest of the word"):
        Cut("import collec", "")
