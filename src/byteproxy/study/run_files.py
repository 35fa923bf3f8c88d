"""The files that a run of a study leaves in its folder, each bound to what it was made with.

begun.json     the configuration and corpus that the folder was begun with
result.json    figures, configuration and curve of a finished run
scores-*.json  of a final run, bits of each held-out document, a file per split
sealed.json    the scores of the test split of a run that keeps no model, which nobody reads before its claim is opened
viewer.json    of some final runs, bits of each byte of the excerpts
failed.json    why the run failed the last time
"""

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from byteproxy.checksummed import known, write_checksummed
from byteproxy.evaluate.held_out import RULE
from byteproxy.generate.score import Scored
from byteproxy.store.store import Store
from byteproxy.study.recipe import Scoring

if TYPE_CHECKING:
    from byteproxy.study.queue import Job

HeldOut = Literal["validation", "test"]
BEGUN, RESULT, VIEWER, FAILED = "begun.json", "result.json", "viewer.json", "failed.json"
SEALED = "sealed.json"


class RunScores(NamedTuple):
    """What the documents of a split cost a run. main: what its arm is judged by. tokens: as its model's own tokens.

    tokens is None where the run has no such view, or is judged by it.
    """

    main: Scored
    tokens: Scored | None = None


def scores_file(split: HeldOut) -> str:
    """The name of a split's scores."""
    return f"scores-{split}.json"


def write_scores(job: "Job", store: Store, split: HeldOut, scored: RunScores) -> None:
    """Leave what each document of a split costs a run."""
    write_checksummed(job.folder / scores_file(split), _written(job, store, split, scored))


def _written(job: "Job", store: Store, split: HeldOut, scored: RunScores) -> dict[str, Any]:
    main, tokens = scored
    return {
        "made_with": _scored_with(job, store, split),
        "bpb": main.bpb,
        "bits": main.bits.tolist(),
        "bytes": main.bytes.tolist(),
        **({} if tokens is None else {"token_bpb": tokens.bpb, "token_bits": tokens.bits.tolist()}),
    }


def scores(job: "Job", store: Store, split: HeldOut) -> RunScores | None:
    """The bits of a run's documents; None if they aren't known for this run and text."""
    found = known(job.folder / scores_file(split))
    if found is None or found["made_with"] != _scored_with(job, store, split):
        return None
    sizes, tokens = np.array(found["bytes"], np.int64), found.get("token_bits")
    if job.tokens and tokens is None:
        return None
    return RunScores(Scored(np.array(found["bits"]), sizes), tokens and Scored(np.array(tokens), sizes))


def seal_scores(job: "Job", store: Store, scored: RunScores) -> None:
    """Leave what the documents of the test split cost a run where no figure is read by accident."""
    written = json.dumps(_written(job, store, "test", scored)).encode()
    values = {"made_with": _scored_with(job, store, "test"), "sealed": base64.b64encode(written).decode()}
    write_checksummed(job.folder / SEALED, values)


def unseal_scores(job: "Job", store: Store) -> bool:
    """Let sealed scores be those of the test split; False where there are none of this run and text.

    The caller has said in `opened.jsonl` that they are opened.
    """
    found = known(job.folder / SEALED)
    if found is None or found["made_with"] != _scored_with(job, store, "test"):
        return False
    write_checksummed(job.folder / scores_file("test"), json.loads(base64.b64decode(found["sealed"])))
    (job.folder / SEALED).unlink()
    return True


def _scored_with(job: "Job", store: Store, split: HeldOut) -> str:
    """A hash of a run and of the text that it is scored on."""
    most = getattr(job.scoring, f"{split}_bytes")
    what = [job.made_with, begun(job), store.manifest.fingerprint_for(()), most, job.scoring.document_bytes]
    return _hash([*what, job.scoring.stride, RULE])


def begun(job: "Job") -> dict[str, Any] | None:
    """The settings that a run's folder was begun with; None if they aren't known."""
    return known(job.folder / BEGUN)


def write_viewed(job: "Job", store: Store, bits: dict[str, list[float]]) -> None:
    """Leave bits of bytes for the viewer, by document."""
    write_checksummed(job.folder / VIEWER, {"made_with": _viewer_key(store, job.scoring), "bits": bits})


def viewed(job: "Job", store: Store) -> dict[str, list[float]] | None:
    """The bits that a run left for the viewer; None without any, or for other excerpts."""
    found = known(job.folder / VIEWER)
    if found is None or found["made_with"] != _viewer_key(store, job.scoring):
        return None
    bits: dict[str, list[float]] = found["bits"]
    return bits


def _viewer_key(store: Store, scoring: Scoring) -> str:
    """What decides the excerpts."""
    return f"{store.manifest.fingerprint_for(())} {scoring.viewer_documents} {scoring.viewer_bytes}"


def _hash(what: Any) -> str:
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
