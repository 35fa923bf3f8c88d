from hypothesis import given
from hypothesis import strategies as st

from byteproxy.corpus.document import Document
from byteproxy.corpus.near_duplicates import near_duplicates


def document(text, number=0):
    return Document(f"{number}.py", text, "toy", f"project{number}")


def line(number, length=30):
    """A line of exactly that many bytes, the same for the same number only."""
    return (b"%d=" % number + b"x" * length)[:length]


def text(*numbers, length=30):
    return b"\n".join(line(number, length) for number in numbers) + b"\n"


def dropped(held_out, train=()):
    number = [0]

    def documents(texts):
        for one in texts:
            number[0] += 1
            yield document(one, number[0])

    return near_duplicates(documents(held_out), documents(train)).tolist()


def test_an_edited_copy_is_found_and_unrelated_text_is_kept():
    original = text(*range(10))
    edited = original.replace(line(4), b"something(else, entirely) # and new")
    assert dropped([edited, text(*range(20, 30))], [original]) == [True, False]


def test_half_of_the_bytes_is_the_border():
    assert dropped([text(1, 2, 3, 4)], [text(1, 2)]) == [True]
    assert dropped([text(1, 2, 3, 4, 5)], [text(1, 2)]) == [False]
    assert dropped([text(1) + text(2, length=31)], [text(1)]) == [False], "30 of 61 bytes"
    assert dropped([text(1) + text(2, length=31)], [text(2, length=31)]) == [True], "31 of 61 bytes"


def test_it_is_containment_and_not_likeness():
    small, large = text(1, 2), text(*range(100))
    assert dropped([small], [large]) == [True], "a small copy out of a large file"
    assert dropped([large], [small]) == [False], "a large file that holds a small one"


def test_copied_lines_may_stand_in_several_training_documents():
    assert dropped([text(1, 2, 3)], [text(1, 8, 9), text(2, 10, 11)]) == [True]


def test_short_lines_and_indentation_say_nothing():
    short = text(1, 2, 3, length=19)
    assert dropped([short], [short]) == [False]
    assert dropped([short + text(7)], [short + text(8)]) == [False]
    assert dropped([text(1, length=20)], [b"  \t" + text(1, length=20).replace(b"\n", b" \r\n")]) == [True]


def test_copies_among_the_held_out_stay_once():
    one, other = text(1, 2, 3), text(11, 12, 13)
    assert dropped([one, other, text(1, 2, 99), one]) == [False, False, True, True]


def test_what_is_dropped_drops_no_other():
    """The first is dropped for lines 1 and 2; line 3, which only it has, is then no reason to drop the second."""
    assert dropped([text(1, 2, 3), text(3, 4)], [text(1, 2)]) == [True, False]


def test_nothing_at_all():
    assert dropped([]) == []
    assert dropped([b"", b"\n\n"], [b"", text(1)]) == [False, False]


def test_progress_counts_training_text():
    seen = []
    train = [document(text(1)), document(text(2, 3))]
    near_duplicates([document(text(1))], train, lambda done, total: seen.append((done, total)))
    assert seen == [(31, 0), (93, 0)]


LINES = st.lists(st.integers(0, 12), max_size=8)


@given(st.lists(LINES, max_size=6), st.lists(LINES, max_size=4))
def test_the_rule_spelled_out(held_out, train):
    trained = {number for numbers in train for number in numbers}
    earlier, expected = set(), []
    for numbers in held_out:
        copied = max(sum(number in known for number in numbers) for known in (trained, earlier))
        expected.append(bool(numbers) and 2 * copied >= len(numbers))
        if not expected[-1]:
            earlier.update(numbers)
    assert dropped([text(*numbers) for numbers in held_out], [text(*numbers) for numbers in train]) == expected
