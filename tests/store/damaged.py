"""Damages a corpus in one place after the other and uses it each time, each kind of damage in a fork, which may die.

Each trial prints what it is about to do and then "same" (the same documents and rows came out), "other", or "refused"
and the message; anything else is a traceback. What a kind of damage printed is left in a folder as KIND.out and
KIND.err.
"""

import json
import os
import shutil
import sys
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
from tests.forks import begun, ended

from byteproxy.corpus.split import SPLITS
from byteproxy.errors import InputError
from byteproxy.mixture.loader import Shape, Stream
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.store import passage_index
from byteproxy.store.format import FileInfo, file_info
from byteproxy.store.integrity import checksummed, identity
from byteproxy.store.manifest import Manifest, read_manifest, write_manifest
from byteproxy.store.store import Store

NAMES = ("words", "halves")
EXTREMES = [0, 1, -1, 2, 255, 1 << 16, 1 << 31, 1 << 40, -(1 << 40), (1 << 62), -(1 << 63), (1 << 63) - 1]


def used(folder: Path) -> str:
    """A hash of all that is read of a corpus."""
    store = Store.open(folder)
    store.ensure_unaltered()
    digest = sha256(store.manifest.fingerprint_for(NAMES).encode())
    for split in SPLITS:
        for document in store.documents(split):
            digest.update(repr(document).encode())
    for number in range(len(store.manifest.shards)):
        for name in ("words", "halves", "opaque"):
            for row in range(store.manifest.shards[number].documents):
                digest.update(store.symbols(name, number, row).tobytes())
    for names, composed, spelled, mode in (((NAMES[0],), False, True, "one"), (NAMES, True, True, "switch")):
        mixture = Mixture(phases=(Phase(1.0, mode, 0.6),))  # type: ignore[arg-type]
        stream = Stream(store, names, mixture, Shape(3, 400, 60), 1, 4, composed=composed, expanded=spelled)
        for plan in stream.plans():
            rows = stream.rows(plan)
            assert int(rows.symbols.max()) < stream.vocab.size
            for part in (*rows[:4], *(rows.expanded or ())):
                digest.update(part.tobytes())
    return digest.hexdigest()


def flip(path: Path, random: Random) -> str:
    """One bit, with the time of writing put back."""
    content, found = bytearray(path.read_bytes()), path.stat()
    place, bit = random.randrange(len(content)), random.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    return f"bit {bit} of byte {place} of {path.name}"


def agree(folder: Path, path: Path) -> None:
    """Let the manifest say that a file is as it is now."""
    manifest, now = read_manifest(folder), file_info(path)

    def same(file: FileInfo | None) -> FileInfo | None:
        return now if file is not None and file.name == path.name else file

    shards = tuple(replace(shard, file=same(shard.file)) for shard in manifest.shards)
    views = tuple(replace(view, files=tuple(map(same, view.files))) for view in manifest.views)  # type: ignore[arg-type]
    write_manifest(folder, replace(manifest, shards=shards, views=views, rejected_file=same(manifest.rejected_file)))


def any_file(folder: Path, random: Random) -> str:
    return flip(
        random.choice([path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]), random
    )


def agreed_bit(folder: Path, random: Random) -> str:
    path = random.choice(sorted(folder.glob("shard-*.arrow")))
    said = flip(path, random)
    agree(folder, path)
    return said


def agreed_number(folder: Path, random: Random) -> str:
    """A number of a column, or of its offsets."""
    path = random.choice(sorted(folder.glob("shard-*.arrow")))
    content = bytearray(path.read_bytes())
    whole = pa.py_buffer(content)
    with pa.ipc.open_file(whole) as reader:
        batch = reader.get_batch(0)
    column = random.randrange(batch.num_columns)
    number, buffer = random.choice([pair for pair in enumerate(batch.column(column).buffers()) if pair[1]])
    kind = np.dtype(random.choice(["int64", "int32", "uint16", "uint8"]))
    place, value = random.randrange(max(1, buffer.size // kind.itemsize)), random.choice(EXTREMES)
    at = buffer.address - whole.address + place * kind.itemsize
    content[at : at + kind.itemsize] = np.array(value).astype(kind).tobytes()
    path.write_bytes(content)
    agree(folder, path)
    return f"{value} as {kind} at {place} of buffer {number} of {batch.schema.names[column]} in {path.name}"


def manifest_number(folder: Path, random: Random) -> str:
    """A number anywhere in the manifest, or another kind of thing, with a fingerprint that fits."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    places = list(_places(content))
    parent, key = random.choice(places)
    value = random.choice([*EXTREMES, "../x", "", None, [], {}, True, 1e300, float("nan"), "\0", "x" * 300])
    said = f"{key} = {str(value)[:20]!r} in the manifest"
    parent[key] = value
    path.write_text(json.dumps(content))
    try:
        fields = {name: one for name, one in content.items() if name not in ("format", "version", "fingerprint")}
        from byteproxy.store.manifest import _manifest_from

        manifest: Manifest = _manifest_from(json.loads(json.dumps(fields)))
        path.write_text(json.dumps({**content, "fingerprint": manifest.fingerprint}))
    except Exception:  # then it stays one that doesn't fit
        pass
    return said


def _places(content: object) -> list[tuple[object, object]]:
    found: list[tuple[object, object]] = []
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inside:
        found += _places(value) if isinstance(value, dict | list) else [(content, key)]
    return found


def agreed_row(folder: Path, random: Random) -> str:
    """A number of a table of passages, with all that is told of it made to fit."""
    told = random.choice(sorted((folder / passage_index.FOLDER).glob("*.json")))
    path = told.with_suffix(".i64")
    rows = np.fromfile(path, np.int64)
    place, value = random.randrange(len(rows)), random.choice([*EXTREMES, 1 << 41, 3 << 40, 1000, 100_000])
    rows[place] = value
    path.write_bytes(rows.tobytes())
    content = json.loads(told.read_text())
    content["rows"]["sha256"] = file_info(path).sha256
    content["state"] = identity(path.stat()) if random.random() < 0.5 else None
    content.pop("sha256")
    told.write_text(json.dumps({**content, "sha256": checksummed(content)}))
    return f"{value} at {place} of {path.name}, noted {content['state'] is not None}"


def told_number(folder: Path, random: Random) -> str:
    """A number in what is told of a table, with a checksum that fits."""
    told = random.choice(sorted((folder / passage_index.FOLDER).glob("*.json")))
    content = json.loads(told.read_text())
    content.pop("sha256")
    parent, key = random.choice([(p, k) for p, k in _places(content)])
    parent[key] = random.choice([*EXTREMES, "x", None, [], True, 1e300])  # type: ignore[index]
    told.write_text(json.dumps({**content, "sha256": checksummed(content)}))
    return f"{key} = {parent[key]!r} in {told.name}"  # type: ignore[index]


DAMAGES = {one.__name__: one for one in (any_file, agreed_bit, agreed_number, manifest_number, agreed_row, told_number)}


def trials(corpus: Path, folder: Path, kind: str, seed: int, count: int, wanted: str) -> None:
    """Damage a copy of the corpus in one way again and again; `wanted` is what all that is read of it comes to."""
    for trial in range(count):
        random = Random(f"{kind} {seed} {trial}")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(corpus, folder)
        print(trial, DAMAGES[kind](folder, random), end=": ", flush=True)
        try:
            print("same" if used(folder) == wanted else "other", flush=True)
        except InputError as error:
            print(f"refused {str(error)[:300]!r}", flush=True)


def damaged(corpus: Path, folder: Path, seed: int, count: int) -> dict[str, int]:
    """How the forks for all kinds of damage ended."""
    wanted, found = used(corpus), {}
    for kind in DAMAGES:

        def run(kind: str = kind) -> None:
            sys.stdout, sys.stderr = ((folder / f"{kind}.{name}").open("w") for name in ("out", "err"))
            os.dup2(sys.stderr.fileno(), 2)
            trials(corpus, folder / kind, kind, seed, count, wanted)

        found[kind] = ended(begun(run))
    return found
