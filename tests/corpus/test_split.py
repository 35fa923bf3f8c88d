"""The split against its promises: shares, whole projects, and nothing but names, texts and salt that decide."""

from collections import defaultdict
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from byteproxy.corpus.dividing import GAP, LITTLE_BYTES, Division, Documents, _taken, divide, splits_of_projects
from byteproxy.corpus.split import SPLITS, SplitOptions
from byteproxy.errors import InputError

TRAIN, VALIDATION, TEST = (SPLITS.index(split) for split in ("train", "validation", "test"))


class Text(NamedTuple):
    """A document as the split sees it; pieces of one file have its name, and a place in it."""

    source: str
    language: str
    project: str
    size: int
    file: str
    place: int = 0

    @property
    def draw(self) -> int:
        return SplitOptions(salt="text").draw(f"{self.source}/{self.file}/{self.place}")


def divided(texts: list[Text], options: SplitOptions, rejected: tuple[tuple[str, str], ...] = ()) -> Division:
    """rejected: source and language of what was read, but gave no document."""
    projects = list(dict.fromkeys(text.project for text in texts))
    groups = list(dict.fromkeys((text.source, text.language) for text in texts))
    files = list(dict.fromkeys((text.source, text.file) for text in texts))
    documents = Documents(
        project=np.array([projects.index(text.project) for text in texts], np.int32),
        group=np.array([groups.index((text.source, text.language)) for text in texts], np.int32),
        size=np.array([text.size for text in texts], np.int64),
        file=np.array([files.index((text.source, text.file)) for text in texts], np.int64),
        draw=np.array([text.draw for text in texts], np.uint64),
        projects=projects,
        groups=[*groups, *rejected],
    )

    def in_place(among: np.ndarray) -> np.ndarray:
        places = [(texts[n].source, texts[n].file, texts[n].place) for n in among.tolist()]
        return among[sorted(range(len(places)), key=places.__getitem__)]

    return divide(documents, options, in_place)


def stretches(texts: list[Text], division: Division) -> dict[Text, list[tuple[int, int, int]]]:
    """Begin, end and split of all that became of each document."""
    found = {text: [(0, text.size, int(split))] for text, split in zip(texts, division.split.tolist(), strict=True)}
    return found | {texts[cut.document]: cut.parts for cut in division.cuts}


SIZES = st.one_of(st.integers(1, 3000), st.integers(10_000, 90_000))
CORPORA = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "c", "go", "python"]), st.integers(0, 9), SIZES),
    min_size=1,
    max_size=60,
).map(lambda rows: [Text(s, language, f"p{p}", size, f"f{n:02d}") for n, (s, language, p, size) in enumerate(rows)])
SHARES = st.tuples(st.sampled_from([0.0, 0.05, 0.2]), st.sampled_from([0.0, 0.1, 0.3]))


@given(CORPORA, SHARES, st.sampled_from(["", "x"]))
def test_every_byte_is_on_one_side_and_projects_are_whole_where_that_is_said(
    texts: list[Text], shares: tuple[float, float], salt: str
) -> None:
    division = divided(texts, SplitOptions(*shares, salt))
    found = stretches(texts, division)
    for text, parts in found.items():
        assert [begin for begin, _, _ in parts] == [0, *(end for _, end, _ in parts[:-1])]
        assert parts[-1][1] == text.size
        assert all(GAP <= split <= TEST for _, _, split in parts)
    assert sum(group.bytes for group in division.groups) == sum(text.size for text in texts)
    assert sum(group.gap_bytes for group in division.groups) == sum(
        end - begin for parts in found.values() for begin, end, split in parts if split == GAP
    )
    for split, name in ((VALIDATION, "validation"), (TEST, "test")):
        there = sum(end - begin for parts in found.values() for begin, end, own in parts if own == split)
        assert there == sum(getattr(group, f"{name}_bytes") for group in division.groups)
        assert there == 0 or getattr(SplitOptions(*shares), name) > 0
    splits: dict[str, set[int]] = defaultdict(set)
    for text, parts in found.items():
        splits[text.project] |= {split for _, _, split in parts}
    on_several = sum(len(own) > 1 for own in splits.values())
    assert on_several <= sum(group.projects for group in division.groups if group.divides_projects)
    if not any(group.divides_projects for group in division.groups):
        assert on_several == 0


@given(CORPORA, SHARES)
def test_shares_are_met_as_well_as_the_largest_project_allows(texts: list[Text], shares: tuple[float, float]) -> None:
    """Where a project is of one group only, so that groups don't touch."""
    texts = [text._replace(project=f"{text.project} of {text.source} {text.language}") for text in texts]
    texts = [text._replace(size=text.size + LITTLE_BYTES) for text in texts]  # no language has little
    totals: dict[tuple[str, str], int] = defaultdict(int)
    for text in texts:
        totals[text.source, text.language] += text.size
    of_source = {source: sum(size for key, size in totals.items() if key[0] == source) for source, _ in totals}
    assume(all(size >= 0.01 * of_source[source] for (source, _), size in totals.items()))
    largest: dict[tuple[str, str], int] = defaultdict(int)
    sizes: dict[tuple[str, str, str], int] = defaultdict(int)
    for text in texts:
        sizes[text.source, text.language, text.project] += text.size
    for (source, language, _), size in sizes.items():
        largest[source, language] = max(largest[source, language], size)
    options = SplitOptions(*shares)
    division = divided(texts, options)
    assert {(group.source, group.language) for group in division.groups} == set(totals)
    for group in division.groups:
        key = group.source, str(group.language)
        for split in ("validation", "test"):
            asked, got = getattr(options, split) * totals[key], getattr(group, f"{split}_bytes")
            if not asked:
                assert (got, getattr(group, split)) == (0, "")
                continue
            assert asked / 2 - 1 <= got <= 2 * asked + 1, (group, split)
            if getattr(group, split) == "project":
                assert abs(got - asked) <= largest[key] / 2
            elif getattr(group, split) == "place":
                assert abs(got - asked) <= 1


@given(CORPORA, st.randoms(use_true_random=False))
def test_no_order_changes_anything(texts: list[Text], rng: object) -> None:
    shuffled = [*texts]
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = divided(texts, SplitOptions(0.1, 0.2)), divided(shuffled, SplitOptions(0.1, 0.2))
    assert stretches(texts, one) == stretches(shuffled, other)
    assert one.groups == other.groups


@given(st.lists(st.integers(0, 40), max_size=7), st.integers(1, 60), st.integers(0, 20))
def test_a_share_is_met_if_any_choice_meets_it(sizes: list[int], asked: int, there: int) -> None:
    taken = _taken(np.array(sizes, np.int64), asked - there, asked)
    sums = {there + sum(size for size, own in zip(sizes, chosen, strict=True) if own)
            for chosen in product((False, True), repeat=len(sizes))}  # fmt: skip
    possible = any(asked / 2 <= one <= 2 * asked for one in sums) or there > 2 * asked
    assert (taken is not None) == possible
    if taken is not None and there <= 2 * asked:
        assert asked / 2 <= there + int(np.array(sizes, np.int64)[taken].sum()) <= 2 * asked


def many(count: int, sources: int = 2) -> list[Text]:
    """Projects of one to five files, some of them in two sources, the largest a hundred times the smallest."""
    rng = np.random.default_rng(5)
    return [
        Text(f"s{p % sources}", "go" if p % 3 else "c", f"p{p}", int(rng.lognormal(9, 1.2)) + 1, f"p{p}/{n}")
        for p in range(count)
        for n in range(1 + p % 5)
    ]


def test_with_many_projects_shares_are_exact_in_every_group() -> None:
    division = divided(many(3000), SplitOptions())
    assert len(division.groups) == 4
    for group in division.groups:
        assert (group.validation, group.test) == ("project", "project")
        assert group.validation_bytes / group.bytes == pytest.approx(0.05, abs=0.0001)
        assert group.test_bytes / group.bytes == pytest.approx(0.1, abs=0.0001)


def test_most_projects_stay_where_they_are_when_a_corpus_grows() -> None:
    texts = many(3300)
    old = [text for text in texts if int(text.project[1:]) % 11]
    before = {text.project: split for text, split in zip(old, divided(old, SplitOptions()).split.tolist(), strict=True)}
    after = {
        text.project: split for text, split in zip(texts, divided(texts, SplitOptions()).split.tolist(), strict=True)
    }
    moved = [project for project in before if before[project] != after[project]]
    assert len(moved) < 0.02 * len(before), len(moved)


def test_salt_draws_another_split() -> None:
    texts = many(2000)
    one, other = (
        divided(texts, SplitOptions(0.2, 0.3)).split,
        divided(texts, SplitOptions(0.2, 0.3, salt="again")).split,
    )
    assert np.mean(one == other) == pytest.approx(0.5**2 + 0.2**2 + 0.3**2, abs=0.06)
    assert not np.array_equal(
        divided(texts, SplitOptions(salt="ab")).split, divided(texts, SplitOptions(salt="a")).split
    )


def test_few_repositories_beside_much_english() -> None:
    """The fault that this rule is for: held-out text held no code."""
    code = [Text("code", "python", f"repo{r}", 3000 + 40 * f, f"repo{r}/{f}") for r in range(8) for f in range(20)]
    english = [Text("web", "english", f"d{n}", 2000 + n, f"d{n}") for n in range(2000)]
    python, web = divided(code + english, SplitOptions()).groups
    assert (python.validation, python.test) == ("file", "project")
    assert python.validation_bytes / python.bytes == pytest.approx(0.05, abs=0.01)
    assert python.test_bytes / python.bytes == pytest.approx(0.125)
    assert (web.validation, web.test) == ("project", "project")
    four = divided(code[:80] + english, SplitOptions()).groups[0]
    assert (four.validation, four.test) == ("file", "file")


def test_a_project_of_several_languages_and_sources_is_on_one_split() -> None:
    texts = many(900) + [Text("notes", "markdown", f"p{p}", 900, f"p{p}.md") for p in range(0, 900, 2)]
    division = divided(texts, SplitOptions(0.1, 0.1))
    splits: dict[str, set[int]] = defaultdict(set)
    for text, split in zip(texts, division.split.tolist(), strict=True):
        splits[text.project].add(split)
    assert all(len(own) == 1 for own in splits.values())
    notes = [split for text, split in zip(texts, division.split.tolist(), strict=True) if text.source == "notes"]
    assert notes.count(TEST) / len(notes) == pytest.approx(0.1, abs=0.05)


def test_a_language_of_which_all_is_rejected_is_none() -> None:
    texts = [Text("s", "c", f"p{n}", 100, f"f{n}") for n in range(9)]
    groups = divided(texts, SplitOptions(), rejected=(("s", "json"), ("s", ""), ("t", "c"))).groups
    assert [(group.source, group.language, group.languages) for group in groups] == [("s", "c", 1)]


def test_languages_with_little_text_are_split_together() -> None:
    texts = many(600, sources=1) + [Text("s0", f"l{n}", f"q{n}", 800 + n, f"q{n}") for n in range(60)]
    groups = divided(texts, SplitOptions()).groups
    assert [(group.language, group.languages) for group in groups] == [("c", 1), ("go", 1), (None, 60)]
    assert groups[2].validation == groups[2].test == "project"


@pytest.mark.parametrize("salt", ["", "a", "b"])
@pytest.mark.parametrize("pieces", [1, 3, 400])
def test_one_text_is_cut_by_place_with_gaps(salt: str, pieces: int) -> None:
    total = 1_000_000
    edges = [total * n // pieces for n in range(pieces + 1)]
    texts = [Text("a", "", "a", edges[n + 1] - edges[n], "a", n) for n in range(pieces)]
    options = SplitOptions(salt=salt)
    division = divided(texts, options)
    found = stretches(texts, division)
    line: list[int] = []
    lengths: list[int] = []
    for text in texts:
        for begin, end, split in found[text]:
            if line and line[-1] == split:
                lengths[-1] += end - begin
            else:
                line.append(split)
                lengths.append(end - begin)
    assert line == [TRAIN, GAP, VALIDATION, GAP, TEST, *([GAP, TRAIN] if salt else [])]
    assert [length for split, length in zip(line, lengths, strict=True) if split == GAP] == [4096] * (3 if salt else 2)
    assert sum(length for split, length in zip(line, lengths, strict=True) if split == VALIDATION) == 50_000
    assert sum(length for split, length in zip(line, lengths, strict=True) if split == TEST) == 100_000
    (group,) = division.groups
    assert (group.validation, group.test, group.projects) == ("place", "place", 1)
    assert (group.validation_bytes, group.test_bytes) == (50_000, 100_000)


def test_salts_cut_in_different_places() -> None:
    texts = [Text("a", "", "a", 10_000, "a", n) for n in range(100)]
    assert len({divided(texts, SplitOptions(salt=salt)).split.tobytes() for salt in "abcdefgh"}) == 8


def test_too_little_text_is_left_whole() -> None:
    division = divided([Text("a", "", "a", LITTLE_BYTES - 1, "a")], SplitOptions())
    assert division.split.tolist() == [TRAIN]
    assert (division.groups[0].validation, division.groups[0].test) == ("", "")
    assert divided([Text("a", "", "a", LITTLE_BYTES, "a")], SplitOptions()).cuts


def test_named_projects_are_held_out_and_count() -> None:
    texts = many(900)
    options = SplitOptions(0.1, 0.1, hold_out=("p7", "validation:p8", "s1/p9"))
    division = divided(texts, options)
    splits = {text.project: split for text, split in zip(texts, division.split.tolist(), strict=True)}
    assert (splits["p7"], splits["p8"], splits["p9"]) == (TEST, VALIDATION, TEST)
    for group in division.groups:
        assert group.test_bytes / group.bytes == pytest.approx(0.1, abs=0.002)
    alone = divided(texts, SplitOptions(0, 0, hold_out=("p7",)))
    held = {text.project for text, split in zip(texts, alone.split.tolist(), strict=True) if split != TRAIN}
    assert held == {"p7"}


@pytest.mark.parametrize(
    ("hold_out", "said"),
    [
        (("p70000",), "no project 'p70000' to hold out among 900: are you looking for p700"),
        (("P71",), "are you looking for p71"),
        (("s0/p9",), "no project 's0/p9'"),
        (("validation:q",), "there are p0, p1, p2"),
    ],
)
def test_a_name_that_no_project_has_is_refused(hold_out: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        divided(many(900), SplitOptions(hold_out=hold_out))


def test_a_project_under_two_names_is_on_one_split() -> None:
    texts = [text._replace(source=source) for text in many(20) for source in ("s0", "s1")]
    for hold_out in (("p7", "validation:s1/p7"), ("validation:s0/p7", "s1/p7")):
        with pytest.raises(InputError, match="p7 in both held-out splits: name it once"):
            divided(texts, SplitOptions(hold_out=hold_out))
    splits = divided(texts, SplitOptions(0, 0, hold_out=("p7", "s0/p7"))).split.tolist()
    assert {split for text, split in zip(texts, splits, strict=True) if text.project == "p7"} == {TEST}


def test_sides_of_projects_are_those_of_one_group() -> None:
    sizes = {f"p{n}": 100 + n * 37 % 900 for n in range(200)}
    splits = splits_of_projects(sizes, SplitOptions(0.1, 0.2))
    texts = [Text("s", "", name, size + LITTLE_BYTES * 0, name) for name, size in sizes.items()]
    found = divided(texts, SplitOptions(0.1, 0.2)).split.tolist()
    assert splits == {text.project: SPLITS[split] for text, split in zip(texts, found, strict=True)}


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("field", ["validation", "test"])
def test_impossible_fraction_is_refused_by_name(field: str, fraction: float) -> None:
    with pytest.raises(InputError, match=f"split.{field}"):
        SplitOptions(validation=fraction) if field == "validation" else SplitOptions(test=fraction)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        SplitOptions(validation=0.5, test=0.5)
    with pytest.raises(InputError, match="both held-out splits"):
        SplitOptions(hold_out=("a", "validation:a"))
    with pytest.raises(InputError, match="no name"):
        SplitOptions(hold_out=("validation:",))
