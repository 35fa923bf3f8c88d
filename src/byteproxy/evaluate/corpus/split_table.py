"""What each split holds of each source and language, beside what was asked for, and what that took."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from byteproxy.corpus.dividing import LITTLE_SHARE, WITHIN
from byteproxy.corpus.split import SPLITS
from byteproxy.evaluate.corpus.tables import DASH, Figures, percent, sized

SOURCES_SHOWN, LANGUAGES_SHOWN, NOTES_SHOWN = 8, 6, 6
_HELD_OUT = ("validation", "test")


def by_source_and_language(figures: Mapping[str, Any]) -> Figures:
    """A row for all, for each source, and for each of its languages; what is not among the largest is one row."""
    asked = figures["split"]["asked"]
    columns = [("train", "docs"), ("", "text")]
    for split, short in (("validation", "valid."), ("test", "test")):
        columns += [(short, "docs"), ("", "text"), (f"of {100 * asked[split]:.3g}", "%")]
    columns.append(("split", "by"))
    rows = []
    for source, parts in _by_source(figures["split"]["parts"]):
        alone = len(parts) == 1 and source is not None
        groups = [group for group in figures["split"]["groups"] if group["source"] == source]
        heading = f"{len({one['source'] for one in parts}):,} others" if source is None else source
        if alone and parts[0]["language"] not in ("", source):
            heading = f"{source}, {parts[0]['language']}"
        rows.append((heading, [*_cells(parts), _by(groups) if alone else ""]))
        if source is None or alone:
            continue
        for part in parts[:LANGUAGES_SHOWN]:
            own = [group for group in groups if group["language"] == part["language"]]
            own = own or [group for group in groups if group["language"] is None]
            rows.append((f"  {part['language'] or 'unknown'}", [*_cells([part]), _by(own)]))
        if others := parts[LANGUAGES_SHOWN:]:
            rows.append((f"  {len(others):,} others", [*_cells(others), ""]))
    if len(rows) > 1:
        rows.append(("all", [*_cells(figures["split"]["parts"]), ""]))
    return Figures("Split", "", columns, rows)


def split_notes(figures: Mapping[str, Any]) -> list[str]:
    """What should be known about a split before anything is measured with it, a sentence or two for each group."""
    groups = sorted(figures["split"]["groups"], key=lambda group: -group["bytes"])
    total = sum(group["bytes"] for group in groups)
    notes = [note for group in groups if (note := _note(group, figures["split"]["asked"], total))]
    if len(notes) > NOTES_SHOWN:
        notes[NOTES_SHOWN:] = [f"{len(notes) - NOTES_SHOWN:,} more groups of text were not split by project either."]
    for split in _HELD_OUT:
        asked, got = figures["split"]["asked"][split], figures["splits"].get(split, {}).get("bytes", 0)
        if groups and got < asked * figures["bytes"] / WITHIN:
            before = sum(group[f"{split}_bytes"] for group in groups)
            share, why = percent(got, figures["bytes"]), ""
            if got < before / WITHIN:
                why = f": {sized(before - got)} more were near-duplicates (--near-duplicates keep leaves them in)"
            notes.append(f"The {split} split holds {share} % of the text, and {100 * asked:.3g} % were asked for{why}.")
    return notes


def _note(group: Mapping[str, Any], asked: Mapping[str, float], total: int) -> str:
    """What is to be said of one group; nothing if all went by project, or if it is a small part of all."""
    by = {split: group[split] for split in _HELD_OUT if asked[split] > 0}
    language = f"its {group['languages']} smaller languages" if group["language"] is None else group["language"]
    name = ", ".join(dict.fromkeys(filter(None, (group["source"], language))))
    projects = f"{group['projects']:,} project{'s' * (group['projects'] != 1)}"
    said = []
    if files := [split for split, what in by.items() if what == "file"]:
        share = "its share" if len(files) == 1 else "their shares"
        said.append(
            f"{projects} can't give {_named(files)} {share}, so files were split one by one: held-out text is of "
            "projects that are trained on"
        )
    if places := [split for split, what in by.items() if what == "place"]:
        said.append(
            f"too few files for {_named(places)}, so the text was cut by place, with {sized(group['gap_bytes'])} "
            "between splits that none of them has"
        )
    nothing = [split for split, what in by.items() if not what]
    if nothing and group["bytes"] >= LITTLE_SHARE * total:
        said.append(f"{sized(group['bytes'])} are too little to give {_named(nothing)} any")
    return f"{name}: {'; '.join(said)}." if said else ""


def _named(splits: Sequence[str]) -> str:
    return f"the {' and '.join(splits)} split{'s' * (len(splits) > 1)}"


def _by_source(parts: Iterable[Mapping[str, Any]]) -> list[tuple[str | None, list[Mapping[str, Any]]]]:
    """The parts of each source, those of the largest sources first, and those of all others under None."""
    sources: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        sources.setdefault(part["source"], []).append(part)
    found = sorted(sources.items(), key=lambda item: -sum(_bytes(part) for part in item[1]))
    shown: list[tuple[str | None, list[Mapping[str, Any]]]] = [*found[:SOURCES_SHOWN]]
    if others := [part for _, own in found[SOURCES_SHOWN:] for part in own]:
        shown.append((None, others))
    return shown


def _cells(parts: Iterable[Mapping[str, Any]]) -> list[str]:
    parts = list(parts)
    total = sum(map(_bytes, parts))
    cells = []
    for split in SPLITS:
        documents, text_bytes = (sum(part[split][key] for part in parts) for key in ("documents", "bytes"))
        cells += [_counted(documents), sized(text_bytes)]
        if split != "train":
            cells.append(percent(text_bytes, total))
    return cells


def _bytes(part: Mapping[str, Any]) -> int:
    return sum(int(part[split]["bytes"]) for split in SPLITS)


def _by(groups: Iterable[Mapping[str, Any]]) -> str:
    """What went to the splits of some groups as a whole, if it was the same for all."""
    found = list(dict.fromkeys(group[split] for group in groups for split in _HELD_OUT if group[split]))
    return DASH if not found else found[0] if len(found) == 1 else "mixed"


def _counted(count: int) -> str:
    """A number in five characters."""
    return f"{count:,}" if count < 10_000 else sized(count).removesuffix("B").replace(" ", "")
