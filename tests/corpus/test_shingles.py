import unicodedata

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from byteproxy.corpus import shingles as module
from byteproxy.corpus.shingles import LONG_RUN, SHINGLE_WORDS, shingle_hashes

ALONE = ("CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "BOPOMOFO", "YI SYLLABLE", "IDEOGRAPHIC", "KANGXI")
FLOWING = ("THAI", "LAO", "KHMER", "MYANMAR", "BALINESE", "JAVANESE")
SCRIPTS = {
    "ascii": "ab_Z09 (){}.\t\n\x00\x1c\x7f",
    "latin": "éßøğ\u0301“”—…×µ²\xa0\x85\xad",
    "others": "жяΩאשعم،हिन्द।한글გზბ፡አማ་བོད།",
    "alone": "中文字汉漢々〇ぁんカー゛ｶﾞㄅꀀ豈⼀𠀀𪜀、。「」　！Ａ１",
    "flowing": "ภาษาไทย์ๆ฿ລາວມາពាស៊្។မြန်မာ၊\u200b",
    "emoji": "😀👍🏽\u200d🇩",
}


def kind(character):
    """What a character is by the Unicode of the running Python, by its category and its name."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if character in "\t\n\r\v\f\x85\u200b\ufeff" or category[0] == "Z":
        return "blank"
    if name in ("ETHIOPIC WORDSPACE", "TIBETAN MARK INTERSYLLABIC TSHEG", "TIBETAN MARK DELIMITER TSHEG BSTAR"):
        return "blank"
    if character != "_" and (category[0] in "PS" or category == "Cc" or name.startswith(ALONE)):
        return "sign"
    return "flowing" if name.startswith(FLOWING) else "letter"


def words(text):
    """The words of a text, by the rule as it is told."""
    found, run, before = [], b"", ""
    for character in text.decode("utf-8", "surrogateescape"):
        now, coded = kind(character), character.encode("utf-8", "surrogateescape")
        if now != before or now in ("blank", "sign"):
            run, letters = b"", 0
        window = int.from_bytes(run[-8:], "big") * int(module._IN_WINDOW) % 2**64
        if not run or ((now == "flowing" or letters >= LONG_RUN) and window < 2**62):
            found.append(b"")
        if now == "blank":
            found.pop()
        else:
            found[-1] += coded
        run, letters, before = run + coded, letters + 1, now
    return found


def shingles(text):
    """The shingles of a text as tuples of words, by the rule as it is told."""
    found = words(text)
    ends = range(SHINGLE_WORDS, len(found) + 1) if len(found) > SHINGLE_WORDS else [len(found)] if found else []
    return [tuple(found[max(0, end - SHINGLE_WORDS) : end]) for end in ends]


def split(texts):
    hashes, offsets = shingle_hashes(texts)
    assert (hashes.dtype, offsets.dtype, len(offsets)) == (np.uint64, np.uint64, len(texts) + 1)
    assert (offsets[0], offsets[-1]) == (0, len(hashes))
    return [hashes[offsets[n] : offsets[n + 1]].tolist() for n in range(len(texts))]


CODE = st.lists(st.sampled_from([b"a", b"b", b"ab", b"_1", b"(", b")", b"\x00", b"\xc3\xa9", b" ", b"\t", b"\n"])).map(
    b"".join
)
PIECES = [st.text(letters, max_size=50) for letters in SCRIPTS.values()]
MIXED = st.lists(st.one_of(PIECES), max_size=5).map(lambda pieces: "".join(pieces).encode())
LONG = st.lists(st.text("ACGT", max_size=150) | st.sampled_from([" ", "é", "("]), max_size=4).map(
    lambda pieces: "".join(pieces).encode()
)
CUT = st.tuples(MIXED, st.integers(0, 9), st.binary(max_size=4)).map(lambda cut: cut[0][cut[1] :] + cut[2] + cut[0])
TEXTS = st.lists(st.one_of(CODE, MIXED, LONG, CUT, st.binary(max_size=60)), max_size=6)


@given(TEXTS)
@example([b"", b"a", b" ", b"a b c d", b"a b c d e", b"a b c d e f", b"a b c d e f g", b"ab c d e", b"a bc d e"])
@example([bytes(range(256)), bytes(range(256)) * 3, b"(" * 300, b"a" * 300, b" " * 300])
def test_hashes_are_equal_just_where_shingles_are(texts):
    expected = [shingles(text) for text in texts]
    found = split(texts)
    assert [len(hashes) for hashes in found] == [len(one) for one in expected]
    pairs = {pair for hashes, one in zip(found, expected, strict=True) for pair in zip(hashes, one, strict=True)}
    assert len(pairs) == len({hash for hash, _ in pairs}) == len({shingle for _, shingle in pairs})


@given(TEXTS)
def test_a_text_alone_and_among_others_has_the_same_shingles(texts):
    assert split(texts) == [split([text])[0] for text in texts]


def test_layout_is_no_part_of_a_text():
    one = split([b"def f(x):\n    return x + 1\n"])[0]
    assert split([b"def  f( x ) :\r\n\treturn x+1"])[0] == one
    assert split([b"def f(x):\n    return x - 1\n"])[0] != one


def test_words_are_not_run_together():
    texts = [b"ab c", b"a bc", b"abc", b"a b c", b"a_b c", b"a.b c"]
    assert len({tuple(hashes) for hashes in split(texts)}) == len(texts)


def test_every_character_has_the_kind_that_unicode_gives_it():
    """But for those that Unicode 3.2 doesn't have or has in another category, and what stands among ideographs."""
    of = {"blank": module._BLANK, "sign": module._SIGN, "letter": module._LETTER, "flowing": module._FLOWING}
    kinds, old = module._kinds(), unicodedata.ucd_3_2_0
    for number in (*range(0x2190), *range(0x2E80, 0x3000), *range(0x3400, 0x10000)):
        character = chr(number)
        if old.category(character) == unicodedata.category(character) not in ("Cn", "Co"):
            assert kinds[number] == of[kind(character)], (hex(number), unicodedata.name(character, ""))


@pytest.mark.parametrize(
    "script", ["latin words", "中文字汉漢々〇ぁんカー", "ภาษาไทยกขคง", "ລາວມາ", "ពាសខគង", "မြန်မာက", "ACGT"]
)
def test_a_text_of_any_script_is_much_like_itself_with_a_letter_more_here_and_there(script):
    """One letter in 300 more or another: about what is left alike of English that is changed so."""
    rng = np.random.default_rng(5)
    if script == "latin words":
        letters = list("abcdefghijklmnopqrst    ")
    else:
        first = 0x4E00 if "中" in script else ord(script[0]) if script != "ACGT" else 0
        letters = list("ACGT") if not first else [chr(first + n) for n in range(2000 if first == 0x4E00 else 30)]
    one = rng.choice(letters, 12_000).tolist()
    other = list(one)
    for place in range(0, len(one), 300):
        other[place] = str(rng.choice(letters)) * int(rng.integers(0, 3))
    a, b = (set(hashes) for hashes in split(["".join(text).encode() for text in (one, other)]))
    assert len(a) > 12_000 / 8
    assert 0.75 < len(a & b) / len(a | b) < 1
    unrelated = set(split(["".join(rng.choice(letters, 12_000).tolist()).encode()])[0])
    assert len(a & unrelated) / len(a | unrelated) < 0.01


def test_a_million_different_shingles_have_different_hashes():
    """Numbers that count up are as like as words get."""
    hashes, _ = shingle_hashes([b" ".join(b"%d" % n for n in range(1_000_000))])
    assert len(np.unique(hashes)) == len(hashes) == 1_000_000 - SHINGLE_WORDS + 1
    low, high = np.bincount((hashes & np.uint64(255)).astype(int)), np.bincount((hashes >> np.uint64(56)).astype(int))
    for counts in (low, high):
        assert len(counts) == 256
        assert ((counts - counts.mean()) ** 2).sum() / counts.mean() == pytest.approx(255, abs=6 * np.sqrt(2 * 255))


def test_no_texts():
    assert split([]) == []
