"""Plan a study on this machine before it runs: FLOPs are counted, and time follows from a rate.

The rate of an arm at a size is that of its finished runs, scoring included. Without any, a few steps of training are
timed, thrown away, and remembered. These steps are small, because a recipe for an accelerator may be planned on a
laptop.
"""

from dataclasses import replace
from typing import Any

from byteproxy.progress import Stage, quietly
from byteproxy.study.queue import Job, Queue
from byteproxy.study.study_folder import Notes
from byteproxy.train.budget import training_rate
from byteproxy.train.identity import identity

_MEASURED_POSITIONS = 4096  # of a step, at most
LONG_MINUTES = 15
"""A run that takes longer is warned of."""


def plan_study(queue: Queue, stage: Stage = quietly) -> dict[str, Any]:
    """Every wanted run with its FLOPs, steps and minutes, and whether it is done."""
    rates = _rates(queue, stage)
    runs: list[dict[str, Any]] = []
    for key in queue.wanted():
        job, result = queue.job(key), queue.result(key)
        rate = rates[f"{key.arm} at size {key.size}"]["flops_per_second"]
        steps = None if job is None else queue.resolved(job).config.steps
        runs.append(
            {
                "key": key.name,
                "flops": key.flops,
                "steps": steps,
                "minutes": key.flops / rate / 60,
                "state": "done" if result is not None else "waits for trials" if job is None else "to do",
            }
        )
    left = sum(run["minutes"] for run in runs if run["state"] != "done")
    return {"runs": runs, "minutes_left": left, "rates": rates}


def _rates(queue: Queue, stage: Stage) -> dict[str, dict[str, Any]]:
    """FLOPs per second by arm and size."""
    notes = Notes(queue.out, "rates")
    found: dict[str, dict[str, Any]] = {}
    pairs = dict.fromkeys((key.arm, key.size) for key in queue.wanted())
    with stage("measure this machine (under a minute, minutes where it is busy)", "arms") as progress:
        for done, (arm, size) in enumerate(pairs, start=1):
            keys = [key for key in queue.keys if (key.arm, key.size) == (arm, size)]
            results = [result for key in keys if (result := queue.result(key)) is not None]
            flops, seconds = (sum(result[what] for result in results) for what in ("flops", "wall_seconds"))
            if flops and seconds:
                known = {"flops_per_second": flops / seconds, "from": f"of {len(results)} runs that are done"}
            else:
                jobs = (queue.job(key) for key in keys)
                job = next(job for job in jobs if job is not None)
                known = {"flops_per_second": _measured(job, queue, notes), "from": "of a few steps, without scoring"}
            found[f"{arm} at size {size}"] = known
            progress(done, len(pairs))
    return found


def _measured(job: Job, queue: Queue, notes: Notes) -> float:
    key = identity(job.config)
    rate = notes.get(key)
    if rate is None:
        config = queue.resolved(job).config
        rows = min(config.shape.sequences_per_step, max(1, _MEASURED_POSITIONS // config.shape.sequence_length))
        rate = training_rate(replace(config, shape=replace(config.shape, sequences_per_step=rows)), queue.store)
        notes.put(key, rate)
    return float(rate)
