"""What `byteproxy convert` prints: a plan before, and the figures afterwards, as tables."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from byteproxy.cli.plan_table import two_columns
from byteproxy.convert.conversion_plan import ConversionPlan
from byteproxy.evaluate.amounts import sized, timed


def plan_table(plan: ConversionPlan) -> Table:
    """The figures of a conversion before it."""
    run = plan.run
    return two_columns(
        [
            (
                "parameters",
                sized(run.parameters),
                f"{run.parameters:,} while training, {sized(run.raw_parameters)} of them exported",
            ),
            ("  trained", sized(run.trained_parameters), "with gradients and moments"),
            ("memory", sized(run.memory_bytes, "B"), f"about, {run.pass_positions:,} positions a pass, {run.dtype}"),
            (
                "disk",
                sized(plan.disk_bytes, "B"),
                f"at most: corpus, checkpoints, export of {sized(plan.exported_bytes, 'B')}",
            ),
            ("text", sized(plan.corpus_bytes, "B"), "that the sources hold, about"),
            (
                "steps",
                f"{run.steps:,}",
                f"of {run.step_positions:,.0f} positions, {100 * run.compressed_share:.0f} % of them tokens",
            ),
            ("  positions", sized(run.positions), ""),
            ("  text shown", sized(run.text_bytes, "B"), ""),
            ("  extra FLOPs", f"{run.flops:.3g}", ""),
            ("  time", timed(plan.seconds), f"at {run.rate:.3g} FLOPs a second"),
            ("evaluations", timed(plan.evaluation_seconds), "on top"),
        ]
    )


def result_table(results: Mapping[str, Any]) -> Table:
    """What was reached, what was kept, what it cost."""
    before, after, cost = results["before"], results["after"], results["cost"]
    return two_columns(
        [
            ("raw bytes", f"{after['raw_bpb']:.3f}", f"bits per byte of held-out text; {before['raw_bpb']:.3f} before"),
            ("its own tokens", f"{before['token_bpb']:.3f}", "before: the ceiling"),
            ("  afterwards", f"{after['token_bpb']:.3f}", f"{results['tokens_kept']:.3f} times as many bits"),
            ("raw over the ceiling", f"{results['raw_over_ceiling']:.3f}", ""),
            ("positions", sized(cost["positions"]), f"in {cost['steps']:,} steps"),
            ("extra FLOPs", f"{cost['flops']:.3g}", ""),
            ("training time", timed(cost["seconds"]), f"{timed(cost['wall_seconds'])} with evaluations"),
            ("memory", sized((cost["memory_mb"] or 0) * 2**20, "B"), "at the peak"),
            *_speed_rows(results.get("speed") or {}),
        ]
    )


def _speed_rows(speed: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """How fast it writes, as bytes and as tokens."""
    sides = {"writes tokens": "tokens", "writes bytes": "plain", "  with heads": "heads"}
    rows = []
    for name, side in sides.items():
        found = speed.get(side)
        if found is not None:
            note = "" if side == "tokens" else f", {found['over_tokens'] or 0:.2f} times as fast"
            said = f"{found['bytes_per_pass']:.2f} bytes a pass{note}"
            rows.append((name, f"{found['bytes_per_second']:.0f} B/s", said))
    return rows
