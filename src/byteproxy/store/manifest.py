"""The manifest of a prepared corpus: what it says, how it is written, and that nothing in it is believed unchecked."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from byteproxy.corpus.records import Rules
from byteproxy.corpus.split import SPLITS, Split, SplitGroup, SplitOptions
from byteproxy.errors import InputError, did_you_mean
from byteproxy.files import inside, write_aside
from byteproxy.parsing import read_json
from byteproxy.store.format import FORMAT, MANIFEST, MANIFEST_VERSION, VERSION, VIEW_NAME, FileInfo

NearDuplicates = Literal["held_out", "train", "keep"]


@dataclass(frozen=True)
class SourceInfo:
    """What was read from one source, duplicates included, and how often it is shown relative to its size.

    sha256 covers the ids, projects, languages and texts in order.
    """

    documents: int
    bytes: int
    sha256: str
    weight: float = 1.0


@dataclass(frozen=True)
class SplitInfo:
    """What one split holds."""

    documents: int
    bytes: int
    projects: int


@dataclass(frozen=True)
class ShardInfo:
    """One shard: its file, the split that all its documents are on, and how much it holds."""

    file: FileInfo
    split: Split
    documents: int
    text_bytes: int


@dataclass(frozen=True)
class ViewInfo:
    """One view of the whole corpus: `files` has one entry per shard, in the shards' order.

    units: symbols with a span above 0, each of which ends a unit; 0 of a view that isn't aligned.
    artefact: the file of the view itself; None for a kind that isn't trained.
    spec: what such a kind is built from, as in `views.registry`; empty where that wasn't said.
    """

    name: str
    fingerprint: str
    alphabet_size: int
    aligned: bool
    symbols: int
    units: int
    bytes_per_symbol: float
    files: tuple[FileInfo, ...]
    artefact: FileInfo | None = None
    spec: str = ""


@dataclass(frozen=True)
class Manifest:
    """Everything about a prepared corpus.

    records: all that were read; each is a document of a split or rejected.
    sources: in the order in which they were read. rejected: how many for each reason that occurred; `rejected_file`
        lists them. views: in the order in which they were added. groups: how the text of each source and language was
        split; empty of a corpus of format 3, whose projects' hashes alone decided.
    lost_records, lost_bytes: of the rejected, about how many could not be read, and their bytes on disk.
    """

    split: SplitOptions
    shard_bytes: int
    rules: Rules
    near_duplicates: NearDuplicates
    records: int
    sources: dict[str, SourceInfo]
    splits: dict[str, SplitInfo]
    rejected: dict[str, int]
    rejected_file: FileInfo | None
    shards: tuple[ShardInfo, ...]
    views: tuple[ViewInfo, ...] = ()
    groups: tuple[SplitGroup, ...] = ()
    lost_records: int = 0
    lost_bytes: int = 0

    def view(self, name: str) -> ViewInfo:
        """The view of that name; InputError naming those that there are."""
        for view in self.views:
            if view.name == name:
                return view
        there = ", ".join(view.name for view in self.views) or "none"
        raise InputError(
            f"the corpus has no view {name!r} (there are: {there}): add it or name another"
            f"{did_you_mean(name, (view.name for view in self.views))}"
        )

    @property
    def files(self) -> list[FileInfo]:
        """Every file beside the manifest."""
        views = [file for view in self.views for file in (*view.files, view.artefact)]
        return [file for file in (*(shard.file for shard in self.shards), *views, self.rejected_file) if file]

    @property
    def cutting_view(self) -> ViewInfo | None:
        """The view at whose anchors passages are cut when none is named: the first aligned one."""
        return next((view for view in self.views if view.aligned), None)

    @property
    def fingerprint(self) -> str:
        """A hash of all that the corpus holds, every view included."""
        return hashlib.sha256(json.dumps(_content(self), sort_keys=True).encode()).hexdigest()

    def fingerprint_for(self, view_names: tuple[str, ...]) -> str:
        """A hash of what a run with these views reads, and of no more: it outlives the addition of other views."""
        cutting = () if view_names or self.cutting_view is None else (self.cutting_view,)
        return replace(self, views=tuple(map(self.view, view_names)) or cutting).fingerprint


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json, readable and the same for the same corpus."""
    version = MANIFEST_VERSION if manifest.groups or manifest.lost_records else VERSION
    content = {"format": FORMAT, "version": version, "fingerprint": manifest.fingerprint, **_content(manifest)}
    text = json.dumps(content, indent=2) + "\n"
    write_aside(folder / MANIFEST, text.encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared corpus; InputError naming the file if it is missing, damaged or of another version."""
    path = Path(folder) / MANIFEST
    try:
        content = read_json(path)
        found = content.pop("format"), content.pop("version")
        if found in ((FORMAT, VERSION), (FORMAT, MANIFEST_VERSION)):
            fingerprint = content.pop("fingerprint")
            manifest = _manifest_from(content)
            _ensure_possible(manifest, path)
            if manifest.fingerprint == fingerprint:
                return manifest
            raise ValueError("its content doesn't match its fingerprint")
    except OSError as error:
        raise InputError(
            f"{folder} holds no finished corpus (cannot read {path}: {error.strerror}): run the preparation (again)"
        ) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"there is no {error}" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is damaged ({reason}): restore it or prepare into another folder") from error
    raise InputError(
        f"{path} says format {found[0]} version {found[1]}, but this byteproxy reads {FORMAT} versions {VERSION} and "
        f"{MANIFEST_VERSION}: "
        "prepare the corpus again into another folder"
    )


def _content(manifest: Manifest) -> dict[str, Any]:
    """What a manifest says; one of format 3 as it was written then, so that it keeps its fingerprint."""
    content = asdict(manifest)
    # A corpus outlives the names in code: what manifest.json calls a side is a split.
    content["sides"] = content.pop("splits")
    for shard in content["shards"]:
        shard["side"] = shard.pop("split")
    if not manifest.lost_records:
        del content["lost_records"], content["lost_bytes"]
    if not manifest.groups:
        del content["groups"], content["split"]["hold_out"]
    return content


def _manifest_from(content: dict[str, Any]) -> Manifest:
    rejected_file, split = content.pop("rejected_file"), content.pop("split")
    return Manifest(
        split=SplitOptions(**{**split, "hold_out": tuple(split.get("hold_out", ()))}),
        groups=tuple(SplitGroup(**group) for group in content.pop("groups", ())),
        rules=Rules(**content.pop("rules")),
        sources={name: SourceInfo(**source) for name, source in content.pop("sources").items()},
        splits={name: SplitInfo(**one) for name, one in content.pop("sides").items()},
        rejected_file=FileInfo(**rejected_file) if rejected_file else None,
        shards=tuple(ShardInfo(FileInfo(**one.pop("file")), one.pop("side"), **one) for one in content.pop("shards")),
        views=tuple(_view_from(**view) for view in content.pop("views")),
        **content,
    )


def _ensure_possible(manifest: Manifest, path: Path) -> None:
    """ValueError or InputError where a manifest says what no corpus has; whoever wrote it also wrote its fingerprint.

    What comes after takes names, counts and sizes as they are.
    """
    for file in manifest.files:
        inside(path.parent, file.name, path)
        if not isinstance(file.sha256, str):
            raise ValueError(f"{file.name} has no hash")
    counts: list[object] = [manifest.records, manifest.shard_bytes, *manifest.rejected.values()]
    counts += [file.size for file in manifest.files]
    counts += [count for one in manifest.sources.values() for count in (one.documents, one.bytes)]
    counts += [count for one in manifest.splits.values() for count in (one.documents, one.bytes, one.projects)]
    counts += [count for one in manifest.shards for count in (one.documents, one.text_bytes)]
    counts += [count for one in manifest.views for count in (one.symbols, one.units)]
    if not all(type(count) is int and 0 <= count < 1 << 62 for count in counts):
        raise ValueError("a count is no whole number, or below 0")
    weights = [one.weight for one in manifest.sources.values()]
    rates = [one.bytes_per_symbol for one in manifest.views]
    if not all(type(one) in (int, float) and 0 <= one < math.inf for one in (*weights, *rates)):
        raise ValueError("a weight or rate is no number, or below 0")
    if not all(isinstance(name, str) for name in (*manifest.sources, *manifest.rejected)):
        raise ValueError("a source has no name")
    if wrong := {shard.split for shard in manifest.shards} - set(SPLITS):
        raise ValueError(f"a shard is of split {wrong.pop()!r}")
    if not set(manifest.splits) <= set(SPLITS):
        raise ValueError("it has other splits than " + ", ".join(SPLITS))
    names = [view.name for view in manifest.views]
    if len(set(names)) < len(names) or not all(isinstance(one, str) and VIEW_NAME.fullmatch(one) for one in names):
        raise ValueError("two views have one name, or one has none")
    for view in manifest.views:
        if type(view.alphabet_size) is not int or not 1 <= view.alphabet_size <= 1 << 32:
            raise ValueError(f"view {view.name} has an alphabet of {view.alphabet_size!r}")
        if type(view.aligned) is not bool or not isinstance(view.fingerprint, str) or not isinstance(view.spec, str):
            raise ValueError(f"view {view.name} doesn't say what it is")
        if len(view.files) != len(manifest.shards):
            raise ValueError(f"view {view.name} has {len(view.files)} files for {len(manifest.shards)} shards")


def _view_from(files: list[dict[str, Any]], artefact: dict[str, Any] | None, **rest: Any) -> ViewInfo:
    return ViewInfo(
        files=tuple(FileInfo(**file) for file in files), artefact=FileInfo(**artefact) if artefact else None, **rest
    )
