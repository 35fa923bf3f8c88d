"""The list of rejected records, as lines of JSON, and the error if too many of them are faulty.

A line stands for one record. If several records were lost together, it says for how many it stands (`records`, often an
estimate) and for how many bytes on disk (`lost_bytes`), and counts as that many.

Both need a pass over the staged records, without their texts.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from byteproxy.corpus.records import BETWEEN_SPLITS, EXACT_DUPLICATE, FAULTY, INVALID_UTF8, NEAR_DUPLICATE
from byteproxy.errors import InputError
from byteproxy.store.format import REJECTED_FILE, FileInfo, HashingFile, file_info, write_whole
from byteproxy.store.manifest import Manifest
from byteproxy.store.select import (
    BETWEEN,
    DUPLICATE,
    LIKE_EARLIER,
    LIKE_HELD_OUT,
    LIKE_TRAIN,
    REJECTED,
    Selection,
    as_read,
    by_part,
)
from byteproxy.store.staging import Parts, Staged

MIN_RECORDS = 1000  # of fewer, one bad record would be a large share
PLACES_SHOWN = 3

_SIMILAR = {
    LIKE_TRAIN: "similar to a train document",
    LIKE_EARLIER: "similar to an earlier held-out document",
    LIKE_HELD_OUT: "similar to a held-out document",
}


class Faults:
    """Counts damaged records unit by unit, in their order, until they are too many."""

    def __init__(self, out: Path, staged: Path, most: float, listed: bool) -> None:
        """listed: whether the list may be written into the folder."""
        self.out, self.staged, self.most, self.listed = out, staged, most, listed
        self.units: list[Staged] = []
        self.records = self.lost_records = self.lost_bytes = 0
        self.reasons: Counter[str] = Counter()

    def add(self, unit: Staged) -> None:
        """Count the next unit; InputError if that is too much, once there are enough records to tell."""
        self.units.append(unit)
        self.records += unit.records
        self.lost_records += unit.lost_records
        self.lost_bytes += unit.lost_bytes
        self.reasons.update(unit.reasons)
        if self.records >= MIN_RECORDS:
            self.check()

    def check(self) -> None:
        """InputError if the share of damaged records is above what is allowed; they are listed first."""
        faulty = Counter({reason: self.reasons[reason] for reason in FAULTY if self.reasons[reason]})
        share = faulty.total() / max(self.records, 1)
        if share <= self.most:
            return
        repaired = " or repair their text (invalid: repair)" if faulty[INVALID_UTF8] else ""
        where = self.listing() or "the list of them would overwrite that of the corpus which is there"
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in faulty.most_common(PLACES_SHOWN))
        if self.lost_records:
            reasons += (
                f"; about {self.lost_records:,} of them, {self.lost_bytes:,} bytes on disk, lost in damaged files"
            )
        raise InputError(
            f"{faulty.total():,} of {self.records:,} records are faulty, {100 * share:.3g} % and more than the "
            f"{100 * self.most:.3g} % allowed ({reasons}; first: {'; '.join(self._first_places())}; {where}): "
            f"mend the sources{repaired}, or allow a larger share"
        )

    def refuse_empty(self, sources: Sequence[str], of_units: Sequence[str]) -> None:
        """InputError if a source gave no document while others did: it was named on purpose.

        of_units: the source of each unit, in the units' order.
        """
        own: dict[str, list[Staged]] = {name: [] for name in sources}
        for name, unit in zip(of_units, self.units, strict=True):
            own.setdefault(name, []).append(unit)
        if not any(unit.documents for unit in self.units):
            return
        for name, units in own.items():
            if any(unit.documents for unit in units):
                continue
            reasons = sum((unit.reasons for unit in units), Counter[str]())
            said = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(PLACES_SHOWN))
            listing = self.listing()
            raise InputError(
                f"source {name} gives no document: {f'its records are rejected ({said})' if said else 'it is empty'}"
                f"{'; ' * bool(said and listing)}{listing if said else ''}; mend it, or leave it out"
            )

    def listing(self) -> str:
        """List what was rejected so far, and say where; empty where that may not be."""
        if not self.listed:
            return ""
        parts = Parts(self.staged, self.units)
        write_rejected(self.out, parts, as_read(parts), finished=None)
        return f"all are listed in {self.out / REJECTED_FILE}"

    def _first_places(self) -> list[str]:
        places: list[str] = []
        for batch in Parts(self.staged, self.units):
            rows = np.flatnonzero(np.isin(batch.column("reason").to_numpy(zero_copy_only=False), FAULTY))
            columns = batch.select(["source", "file", "line"])
            for row in columns.take(pa.array(rows[: PLACES_SHOWN - len(places)])).to_pylist():
                places.append(f"{row['source']}, {row['file']}" + (f":{row['line']}" if row["line"] else ""))
            if len(places) == PLACES_SHOWN:
                break
        return places


def write_rejected(out: Path, parts: Parts, selection: Selection, finished: Manifest | None) -> FileInfo | None:
    """Write rejected.jsonl, unless it is there as it should be; None, and no file, where nothing was rejected.

    finished: the corpus that the folder holds; nothing is written that isn't its own.
    """
    path = out / REJECTED_FILE
    if not len(selection.rejected):
        if finished is None:
            path.unlink(missing_ok=True)
        return None
    if finished is not None or path.exists():
        hashing = HashingFile()
        _write_lines(hashing, parts, selection)
        info = hashing.info(path.name)
        if finished is not None and finished.rejected_file != info:
            return info
        if path.exists() and file_info(path) == info:
            return info
    return write_whole(path, lambda file: _write_lines(file, parts, selection))


def count_rejected(units: list[Staged], selection: Selection) -> dict[str, int]:
    """How many records were rejected for each reason that occurred, sorted by reason."""
    counts: Counter[str] = Counter()
    for unit in units:
        counts.update(unit.reasons)
    counts[EXACT_DUPLICATE] += len(selection.copies)
    counts[NEAR_DUPLICATE] += int(np.isin(selection.fate, list(_SIMILAR)).sum())
    counts[BETWEEN_SPLITS] += int((selection.fate == BETWEEN).sum())
    return {reason: count for reason, count in sorted(counts.items()) if count}


def _write_lines(file: HashingFile, parts: Parts, selection: Selection) -> None:
    for part, rows in by_part(selection.starts, selection.rejected):
        fates = selection.fate[rows]
        found = parts[part].select(["source", "file", "line", "reason", "detail", "records", "lost_bytes"])
        lines = found.take(pa.array(rows - selection.starts[part])).to_pylist()
        kept = iter(_kept_names(parts, selection, rows[fates == DUPLICATE]))
        for line, fate in zip(lines, fates.tolist(), strict=True):
            if fate == DUPLICATE:
                line |= {"reason": EXACT_DUPLICATE, "detail": next(kept)}
            elif fate == BETWEEN:
                line |= {"reason": BETWEEN_SPLITS}
            elif fate != REJECTED:
                line |= {"reason": NEAR_DUPLICATE, "detail": _SIMILAR[fate]}
            if line["records"] == 1 and not line["lost_bytes"]:
                del line["records"], line["lost_bytes"]
        file.write("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode())


def _kept_names(parts: Parts, selection: Selection, copies: np.ndarray) -> list[str]:
    """The documents that these records are copies of, each as source and id."""
    originals = selection.originals[np.searchsorted(selection.copies, copies)]
    wanted, places = np.unique(originals, return_inverse=True)
    names: list[str] = []
    for part, rows in by_part(selection.starts, wanted):
        found = parts[part].select(["source", "id"]).take(pa.array(rows - selection.starts[part]))
        names += [f"{row['source']}/{row['id']}" for row in found.to_pylist()]
    return [names[place] for place in places.tolist()]
