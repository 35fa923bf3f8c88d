"""Divide documents between train, validation and test.

The requested shares are met within every *group*, the text of one source in one language, so that a held-out split
holds a bit of everything that is trained on. Languages with little text (under 1 % of their source, or under 32 KiB)
form one group. A project belongs to the group that most of its text is in, and goes into one split as a whole, so
held-out means new code. Within a group, projects are ordered by a hash of salt and name, and each goes into the split
that is being filled if there is room. The last one may exceed the room if that brings the share closer to the request.
So a share is off by half a project at most.

A share counts as *met* between half and twice the request. If no choice of whole projects meets it, files are chosen in
the same way, by a hash of their text, and a project may be in two splits. If no file is small enough either, the
group's text is cut by position: train first, then validation, then test, as is the custom with enwik8, with gaps that
nobody sees. Another salt moves the position. `SplitGroup` reports what was done in each group.

The split is a pure function of the set of documents (each with its names and text) and of the options. The price of
meeting shares is that a document's split depends on the other documents: when a corpus grows, thresholds move a little
and some projects near them change splits; hashes stay, so most projects don't. Cost: a few sorts of all documents,
about 60 bytes per document, and one hash per project.
"""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from byteproxy.corpus.split import SPLITS, By, Split, SplitGroup, SplitOptions
from byteproxy.errors import InputError

GAP = -1
"""The number of a document between two splits, which is in none."""
WITHIN = 2.0
"""A share is met from 1/2 of what was asked to 2 times that."""
LITTLE_SHARE, LITTLE_BYTES = 0.01, 32 << 10
"""Languages with less of a source's text form one group; a group with less than these bytes isn't cut."""
GAP_BYTES, GAP_SHARE = 4096, 0.01
"""The stretch between two splits that were cut apart: so many bytes, but at most this share of the text."""
NAMES_COMPARED, NAMES_SHOWN = 100_000, 3

_HELD_OUT = (SPLITS.index("test"), SPLITS.index("validation"))


class Documents(NamedTuple):
    """N documents to split, as columns.

    project, group: int [N], into the names below. size: int64 [N], bytes of text.
    file: int64 [N], equal for pieces of one file. draw: uint64 [N], a hash of the text, different for each.
    projects: their names. groups: source and language of each.
    """

    project: np.ndarray
    group: np.ndarray
    size: np.ndarray
    file: np.ndarray
    draw: np.ndarray
    projects: Sequence[str]
    groups: Sequence[tuple[str, str]]


class Cut(NamedTuple):
    """A document that is in several splits: (begin, end, split) in bytes, a split being GAP between two others."""

    document: int
    parts: list[tuple[int, int, int]]


class Division(NamedTuple):
    """split: int8 [N], the number of each document's split, or GAP; of a cut one, that of its first part."""

    split: np.ndarray
    cuts: list[Cut]
    groups: tuple[SplitGroup, ...]


def divide(documents: Documents, options: SplitOptions, in_place: Callable[[np.ndarray], np.ndarray]) -> Division:
    """The split of each document.

    in_place: brings documents, int64, into the order of their source, file, and place in it.
    Raises InputError, with names that are alike, where a project to hold out isn't there.
    """
    return _Dividing(documents, options, in_place).divided()


def splits_of_projects(sizes: dict[str, int], options: SplitOptions) -> dict[str, Split]:
    """The split of each project of one group, by its bytes of text; projects are never cut."""
    names = sorted(sizes, key=options.draw)
    chosen = _by_whole(np.array([sizes[name] for name in names], np.int64), _asked(options, sum(sizes.values())))
    splits: dict[str, Split] = dict.fromkeys(names, "train")
    for split, own in chosen.items():
        splits |= {names[number]: SPLITS[split] for number in np.flatnonzero(own)}
    return splits


class _Dividing:
    """The division of documents, group after group, the one with most text first."""

    def __init__(
        self, documents: Documents, options: SplitOptions, in_place: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        self.documents, self.options, self.in_place = documents, options, in_place
        self.names, self.group = _groups(documents)
        self.split = np.zeros(len(documents.size), np.int8)
        self.project_split = np.zeros(len(documents.projects), np.int8)
        self.amounts = np.zeros((len(self.names), len(SPLITS)), np.int64)  # bytes that are decided on, of each group
        self.projects, self.project_group, self.project_bytes = _amounts(documents.project, self.group, documents.size)
        self.main = _main_groups(self.projects, self.project_group, self.project_bytes, len(documents.projects))
        self.draws = np.array([options.draw(name) for name in documents.projects], np.uint64)
        self.cuts: list[Cut] = []
        self.split_groups: dict[int, SplitGroup] = {}

    def divided(self) -> Division:
        held = self._hold_out()
        by_main = np.argsort(self.main[self.documents.project], kind="stable")
        bounds = np.searchsorted(self.main[self.documents.project][by_main], np.arange(len(self.names) + 1))
        members = [by_main[first:last] for first, last in pairwise(bounds)]
        largest_first = sorted(range(len(members)), key=lambda g: (-int(self.documents.size[members[g]].sum()), g))
        for group in largest_first:
            if len(members[group]):
                self._divide(group, members[group], held)
        return Division(self.split, self.cuts, tuple(self.split_groups[group] for group in sorted(self.split_groups)))

    def _hold_out(self) -> np.ndarray:
        """Put the named projects on their splits, and return which those are: bool [projects]."""
        held = np.zeros(len(self.documents.projects), bool)
        for split, name in self.options.named:
            own = self._named(name)
            if any(held[number] and self.project_split[number] != split for number in own):
                raise InputError(
                    f"split.hold_out puts the project of {name} in both held-out splits: name it once, as a project of "
                    "several sources is in one split"
                )
            held[own] = True
            self.project_split[own] = split
        rows = np.flatnonzero(held[self.documents.project])
        self.split[rows] = self.project_split[self.documents.project[rows]]
        self._decide(rows)
        return held

    def _named(self, name: str) -> list[int]:
        there = self.documents.projects
        found = [number for number, own in enumerate(there) if own == name]
        if found:
            return found
        for source in sorted({source for source, _ in self.documents.groups}):
            if name.startswith(f"{source}/"):
                own = [number for number, one in enumerate(there) if one == name[len(source) + 1 :]]
                cells = [number for number, cell in enumerate(self.documents.groups) if cell[0] == source]
                if own and np.any(np.isin(self.documents.group, cells) & (self.documents.project == own[0])):
                    return own
        inside = [one for one in there if name.casefold() in one.casefold()]
        alike = inside[:NAMES_SHOWN] or get_close_matches(name, there[:NAMES_COMPARED], NAMES_SHOWN)
        names = f"are you looking for {' or '.join(alike)}?" if alike else f"there are {', '.join(there[:NAMES_SHOWN])}"
        raise InputError(f"there is no project {name!r} to hold out among {len(there):,}: {names}")

    def _decide(self, rows: np.ndarray) -> None:
        """Count documents, whose splits are set, as decided on."""
        rows = rows[self.split[rows] != GAP]
        np.add.at(self.amounts, (self.group[rows], self.split[rows]), self.documents.size[rows])

    def _divide(self, group: int, rows: np.ndarray, held: np.ndarray) -> None:
        """Split the documents `rows` of the projects that count for a group."""
        size, project = self.documents.size, self.documents.project
        free = rows[~held[project[rows]]]
        total = int(size[rows].sum())
        by: dict[int, By] = {}
        gap = 0
        if len(free):
            chosen = self._whole_projects(group, held)
            for split, own in chosen.items():
                self.project_split[own] = split
                by[split] = "project"
            self.split[free] = self.project_split[project[free]]
            missing = {split: asked for split, asked in _asked(self.options, total).items() if split not in by}
            for split in missing:
                missing[split] -= int(size[rows[self.split[rows] == split]].sum())
            missing = {split: room for split, room in missing.items() if room > 0}
            for split, own in self._whole_files(free, missing).items():
                self.split[own] = split
                by[split] = "file"
                del missing[split]
            rest = free[(self.split[free] == 0) & (size[free] > 0)]
            if missing and total >= LITTLE_BYTES and len(rest):
                gap = self._places(rest, missing)
                by |= dict.fromkeys(missing, "place")
            self._decide(free)
        if not len(free):
            by = {split: "project" for split in _HELD_OUT if (self.split[rows] == split).any()}
        self.split_groups[group] = self._split_group(group, rows, by, gap)

    def _whole_projects(self, group: int, held: np.ndarray) -> dict[int, np.ndarray]:
        """The projects for each split whose share of the group whole projects meet."""
        own = np.flatnonzero((self.project_group == group) & (self.main[self.projects] == group))
        own = own[~held[self.projects[own]]]
        own = own[np.argsort(self.draws[self.projects[own]], kind="stable")]
        sizes = self.project_bytes[own]
        decided = self.amounts[group]
        asked = _asked(self.options, int(sizes.sum() + decided.sum()))
        chosen = _by_whole(sizes, asked, {split: int(decided[split]) for split in asked})
        return {split: self.projects[own[taken]] for split, taken in chosen.items()}

    def _whole_files(self, rows: np.ndarray, missing: dict[int, float]) -> dict[int, np.ndarray]:
        """The documents for each missing split whose share whole files meet."""
        rows = rows[self.split[rows] == 0]
        if not missing or not len(rows):
            return {}
        _, file = np.unique(self.documents.file[rows], return_inverse=True)
        sizes = np.zeros(file.max() + 1, np.int64)
        np.add.at(sizes, file, self.documents.size[rows])
        draws = np.full(len(sizes), np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(draws, file, self.documents.draw[rows])
        order = np.argsort(draws, kind="stable")
        found = {}
        for split, taken in _by_whole(sizes[order], missing).items():
            own = np.zeros(len(sizes), bool)
            own[order[taken]] = True
            found[split] = rows[own[file]]
        return found

    def _places(self, rows: np.ndarray, missing: dict[int, float]) -> int:
        """Cut documents, end to end, into splits; returns how many bytes are between these."""
        rows = self.in_place(rows)
        sizes = self.documents.size[rows]
        ends = np.cumsum(sizes)
        regions = _regions(int(ends[-1]), missing, self.options)
        begins = np.array([begin for begin, _, _ in regions], np.int64)
        first = np.searchsorted(begins, ends - sizes, side="right") - 1
        last = np.searchsorted(begins, ends - 1, side="right") - 1
        self.split[rows] = np.array([split for _, _, split in regions], np.int8)[first]
        for number in np.flatnonzero(first != last).tolist():
            begin, end = int(ends[number] - sizes[number]), int(ends[number])
            parts = [
                (max(low, begin) - begin, min(high, end) - begin, split)
                for low, high, split in regions[first[number] : last[number] + 1]
            ]
            self.cuts.append(Cut(int(rows[number]), parts))
        return sum(high - low for low, high, split in regions if split == GAP)

    def _split_group(self, group: int, rows: np.ndarray, by: dict[int, By], gap: int) -> SplitGroup:
        split, size = self.split[rows], self.documents.size[rows]
        got = {number: int(size[split == number].sum()) for number in _HELD_OUT}
        cut = {cut.document: cut.parts for cut in self.cuts}
        for row in rows[np.isin(rows, list(cut))].tolist() if gap else ():
            before = int(self.split[row])
            got |= {before: got[before] - int(self.documents.size[row])} if before in got else {}
            for begin, end, number in cut[row]:
                got |= {number: got[number] + end - begin} if number in got else {}
        source, language, languages = self.names[group]
        test, validation = _HELD_OUT
        return SplitGroup(
            source=source,
            language=language,
            languages=languages,
            documents=len(rows),
            bytes=int(size.sum()),
            projects=len(np.unique(self.documents.project[rows])),
            validation=by.get(validation, ""),
            test=by.get(test, ""),
            validation_bytes=got[validation],
            test_bytes=got[test],
            gap_bytes=gap,
        )


def _groups(documents: Documents) -> tuple[list[tuple[str, str | None, int]], np.ndarray]:
    """Source, language and number of languages of each group, sorted, and the group of each document, int64 [N]."""
    cells = documents.groups
    there = np.bincount(documents.group, minlength=len(cells)) > 0  # all that was read of a language may be rejected
    sizes = np.bincount(documents.group, weights=documents.size, minlength=len(cells))
    of_source: dict[str, float] = {}
    for (source, _), size in zip(cells, sizes.tolist(), strict=True):
        of_source[source] = of_source.get(source, 0.0) + size
    small: dict[str, list[str]] = {}
    for (source, language), size, some in zip(cells, sizes.tolist(), there.tolist(), strict=True):
        if some and size < max(LITTLE_SHARE * of_source[source], LITTLE_BYTES):
            small.setdefault(source, []).append(language)
    named: dict[tuple[str, str], tuple[str, str | None, int]] = {
        (source, language): (source, None, len(small[source]))
        if language in small.get(source, ()) and len(small[source]) > 1
        else (source, language, 1)
        for source, language in cells
    }
    names = sorted(set(named.values()), key=lambda name: (name[0], name[1] is None, name[1] or ""))
    numbers = {name: number for number, name in enumerate(names)}
    return names, np.array([numbers[named[cell]] for cell in cells], np.int64)[documents.group]


def _amounts(project: np.ndarray, group: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project, group and bytes of text for each pair of project and group that there is."""
    groups = int(group.max(initial=0)) + 1
    pair = project.astype(np.int64) * groups + group
    order = np.argsort(pair, kind="stable")
    pair = pair[order]
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    found = pair[starts]
    total = np.add.reduceat(size[order], starts) if len(starts) else np.empty(0, np.int64)
    return found // groups, found % groups, total


def _main_groups(projects: np.ndarray, groups: np.ndarray, sizes: np.ndarray, count: int) -> np.ndarray:
    """The group with most text of each project, of several the first: int64 [count]."""
    main = np.zeros(count, np.int64)
    order = np.lexsort((-groups, sizes))  # what is written last stays
    main[projects[order]] = groups[order]
    return main


def _asked(options: SplitOptions, total: int) -> dict[int, float]:
    """The bytes that are asked for on each held-out split, where any are, out of a total."""
    shares = {SPLITS.index("test"): options.test, SPLITS.index("validation"): options.validation}
    return {split: share * total for split, share in shares.items() if share * total > 0}


def _by_whole(sizes: np.ndarray, asked: dict[int, float], there: dict[int, int] | None = None) -> dict[int, np.ndarray]:
    """Which of some things, int64 [things] in their order, go to each split whose share they meet: bool [things] each.

    asked: bytes for each split. there: bytes that it has already.
    A split that can't be met has no entry; if one of two can't, the earlier one is met alone, or else the later one.
    """
    there = there or {}
    best: dict[int, np.ndarray] = {}
    for order in (list(asked), list(asked)[::-1]):
        found: dict[int, np.ndarray] = {}
        free = np.ones(len(sizes), bool)
        for split in order:
            taken = _taken(np.where(free, sizes, -1), asked[split] - there.get(split, 0), asked[split])
            if taken is not None:
                found[split] = taken
                free &= ~taken
        if len(found) > len(best):
            best = found
    return best


def _taken(sizes: np.ndarray, room: float, asked: float) -> np.ndarray | None:
    """Which things fill a room: one after the other if it fits, then one that brings it closer though it doesn't.

    None if no choice of them meets the share: where those that were taken fall short, every other one is larger than
    what was asked for, so either one of them alone is small enough or nothing helps. Sizes below 0 don't count.
    """
    taken = np.zeros(len(sizes), bool)
    full = room
    left = np.flatnonzero((sizes >= 0) & (sizes <= room))
    while len(left):
        filled = np.cumsum(sizes[left])
        count = int(np.searchsorted(filled, room, side="right"))  # the first of all that are left always fits
        taken[left[:count]] = True
        room -= int(filled[count - 1])
        left = left[count:]
        left = left[sizes[left] <= room]
    closer = np.flatnonzero(~taken & (sizes >= 0) & (sizes < 2 * room))
    if len(closer):
        last = closer[np.argmin(np.abs(sizes[closer] - room))]
        taken[last] = True
        room -= int(sizes[last])
    if room <= asked * (1 - 1 / WITHIN):
        return taken
    alone = np.flatnonzero(~taken & (sizes >= full - asked * (1 - 1 / WITHIN)) & (sizes <= full + asked * (WITHIN - 1)))
    if not len(alone):
        return None
    taken[:] = False
    taken[alone[np.argmin(np.abs(sizes[alone] - full))]] = True
    return taken


def _regions(total: int, missing: dict[int, float], options: SplitOptions) -> list[tuple[int, int, int]]:
    """Begin, end and split of each stretch of a text, GAP between splits; without a salt the held-out ones are last."""
    gap = min(GAP_BYTES, int(total * GAP_SHARE))
    splits = [split for split in sorted(missing) if missing[split] >= 1]
    block = sum(int(missing[split]) for split in splits) + gap * (len(splits) + bool(options.salt))
    train = max(total - block, 0)
    before = train if not options.salt else train * options.draw("place") >> 64
    lengths: list[tuple[int, int]] = [(before, 0)]
    for split in splits:
        lengths += [(gap, GAP), (int(missing[split]), split)]
    if options.salt:
        lengths += [(gap, GAP), (train - before, 0)]
    regions, begin = [], 0
    for length, split in lengths:
        end = min(begin + length, total)
        if end > begin:
            regions.append((begin, end, split))
        begin = end
    last = regions[-1]
    return [*regions[:-1], (last[0], total, last[2])]
