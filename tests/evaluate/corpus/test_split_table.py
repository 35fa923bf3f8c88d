"""The table of the split: lined up within 80 characters, whatever there is, and no document left out of its sums."""

import io
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from byteproxy.evaluate.corpus.corpus_terminal import lined_up
from byteproxy.evaluate.corpus.split_table import LANGUAGES_SHOWN, SOURCES_SHOWN, by_source_and_language, split_notes

SPLITS = ("train", "validation", "test")
NOTHING = {split: {"documents": 0, "bytes": 0} for split in ("validation", "test")}
COUNTS = st.integers(0, 10**10)
AMOUNTS = st.builds(
    lambda documents, size: {"documents": documents, "bytes": documents * size}, COUNTS, st.integers(1, 10**4)
)
NAMES = st.text("abcdefgh [/]\n", min_size=1, max_size=30)


def figures_of(parts: list[dict[str, Any]], groups: list[dict[str, Any]]) -> dict[str, Any]:
    splits = {split: {"bytes": sum(part[split]["bytes"] for part in parts)} for split in SPLITS}
    return {
        "bytes": sum(one["bytes"] for one in splits.values()),
        "splits": splits,
        "split": {"asked": {"validation": 0.05, "test": 0.125}, "parts": parts, "groups": groups},
    }


def part(source: str, language: str, **amounts: dict[str, int]) -> dict[str, Any]:
    return {"source": source, "language": language, **amounts}


def group(source: str, language: str | None, by: str, size: int, languages: int = 1) -> dict[str, Any]:
    return {
        **{
            "source": source,
            "language": language,
            "languages": languages,
            "documents": 9,
            "bytes": size,
            "projects": 2,
        },
        **{"validation": by, "test": by, "validation_bytes": size // 20, "test_bytes": size // 8, "gap_bytes": 0},
    }


PARTS = st.dictionaries(
    st.tuples(st.integers(0, 11), st.integers(0, 30)), st.tuples(AMOUNTS, AMOUNTS, AMOUNTS), max_size=60
)


@settings(max_examples=40)
@given(PARTS, st.lists(NAMES, min_size=31, max_size=31, unique=True))
def test_it_lines_up_with_many_languages(
    found: dict[tuple[int, int], tuple[dict[str, int], ...]], names: list[str]
) -> None:
    parts = [part(f"source{s}", names[n], **dict(zip(SPLITS, splits, strict=True))) for (s, n), splits in found.items()]
    table = by_source_and_language(figures_of(parts, []))
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(lined_up(table))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines), default=0) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in out.getvalue()
    for _, cells in table.rows:
        for cell in cells:
            assert cell in out.getvalue()
    assert len(table.rows) <= (SOURCES_SHOWN * (LANGUAGES_SHOWN + 2)) + 2


def test_the_largest_come_first_and_others_are_together() -> None:
    splits = [{key: {"documents": 1, "bytes": 1000 - n} for key in SPLITS} for n in range(20)]
    parts = [part("web", f"l{n:02d}", **own) for n, own in enumerate(splits)]
    parts.append(
        part(
            "code",
            "",
            train={"documents": 12_345, "bytes": 900},
            **NOTHING,
        )
    )
    groups = [group("web", f"l{n:02d}", "project", 3000) for n in range(2)]
    groups += [group("web", None, "file", 9000, 18), group("code", "", "place", 900)]
    table = by_source_and_language(figures_of(parts, groups))
    headings = [name for name, _ in table.rows]
    assert headings == ["web", *(f"  l{n:02d}" for n in range(6)), "  14 others", "code", "all"]
    by = {name: cells[-1] for name, cells in table.rows}
    assert [by[name] for name in ("web", "  l00", "  l02", "code", "all")] == ["", "project", "file", "place", ""]
    assert dict(table.rows)["code"][:2] == ["12.3k", "900 B"]
    web = dict(table.rows)["web"]
    assert web[0] == "20"
    assert web[4] == web[7] == "33.3"


def test_notes_say_what_was_not_by_project() -> None:
    text = {split: {"documents": 5, "bytes": 1000} for split in SPLITS}
    groups = [
        group("web", "english", "project", 5_000_000),
        group("code", "python", "file", 100_000),
        group("code", None, "place", 90_000, languages=3),
        group("notes", "", "", 80_000),
        group("tiny", "", "", 100),
    ]
    notes = split_notes(figures_of([part("web", "english", **text)], groups))
    assert [note.partition(":")[0] for note in notes] == ["code, python", "code, its 3 smaller languages", "notes"]
    assert "files were split one by one" in notes[0]
    assert "cut by place" in notes[1]
    assert "too little" in notes[2]
    many = [group("code", f"l{n}", "file", 1000 - n) for n in range(20)]
    notes = split_notes(figures_of([part("code", "l0", **text)], many))
    assert notes[-1] == "14 more groups of text were not split by project either."


def test_a_side_that_near_duplicates_emptied_is_said() -> None:
    splits = {"train": {"documents": 5, "bytes": 100_000}, **NOTHING}
    notes = split_notes(figures_of([part("web", "", **splits)], [group("web", "", "project", 120_000)]))
    assert notes == [
        "The validation split holds 0.0 % of the text, and 5 % were asked for: 6.00 kB more were near-duplicates "
        "(--near-duplicates keep leaves them in).",
        "The test split holds 0.0 % of the text, and 12.5 % were asked for: 15.0 kB more were near-duplicates "
        "(--near-duplicates keep leaves them in).",
    ]
