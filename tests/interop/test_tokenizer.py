"""The byte tokenizer as `AutoTokenizer` loads it, against UTF-8 itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from byteproxy.interop.tokenizer import SPECIAL_NAMES, tokenizer_files

AutoTokenizer = pytest.importorskip("transformers").AutoTokenizer

# Any text, with the names of specials in it more often than chance would put them there.
TEXTS = st.lists(st.one_of(st.text(), st.sampled_from(SPECIAL_NAMES), st.sampled_from([" ", "\r\n", "e\u0301"]))).map(
    "".join
)


def ids(text):
    return [12, *(64 + byte for byte in text.encode())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    for name, content in tokenizer_files(512).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


@pytest.fixture(scope="module")
def saved_again(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("again")
    tokenizer.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


@given(text=TEXTS)
def test_any_text_is_its_bytes_after_one_bos_and_comes_back(text, tokenizer, saved_again):
    for one in (tokenizer, saved_again):
        assert one(text).input_ids == ids(text)
        assert one(text, add_special_tokens=False).input_ids == ids(text)[1:]
        assert one.decode(ids(text), skip_special_tokens=True) == text


@given(text=TEXTS)
def test_tokenizers_alone_gives_the_same(text, folder):
    """Readers of tokenizer.json that know nothing of transformers' own file."""
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids == ids(text)


@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_batches_are_padded_on_the_left(texts, tokenizer):
    batch = tokenizer(texts, padding=True)
    longest = max(len(ids(text)) for text in texts)
    for text, found, mask in zip(texts, batch.input_ids, batch.attention_mask, strict=True):
        padding = longest - len(ids(text))
        assert found == [0] * padding + ids(text)
        assert mask == [0] * padding + [1] * len(ids(text))
    assert set(batch) == {"input_ids", "attention_mask"}


def test_ids_of_specials_and_bytes(tokenizer):
    assert len(tokenizer) == 320
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (12, 2, 0)
    assert tokenizer.convert_ids_to_tokens([12, 13, 2, 0]) == ["<raw>", "</raw>", "<eos>", "<pad>"]
    assert [tokenizer(chr(byte)).input_ids[1] for byte in range(128)] == list(range(64, 192))
    assert tokenizer.model_max_length == 513


def test_no_special_shows_in_a_decoded_text_and_all_do_if_asked(tokenizer):
    mixed = [12, 14, 65 + 64, 13, 2, 63, 0]
    assert tokenizer.decode(mixed, skip_special_tokens=True) == "A"
    assert tokenizer.decode(mixed) == "<raw><special-14>A</raw><eos><special-63><pad>"


def test_bytes_that_are_no_text_show_as_such(tokenizer):
    assert tokenizer.decode([64 + 0x61, 64 + 0xFF, 64 + 0x62]) == "a\ufffdb"
