"""What `byteproxy train` prints: a plan before a run, and the figures after it, as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from byteproxy.evaluate.amounts import sized, timed
from byteproxy.train.run_plan import RunPlan


def plan_table(plan: RunPlan) -> Table:
    """The figures of a run before it."""
    about = "" if plan.exact else f"means over {plan.planned_steps} steps of the run"
    softmax = plan.parameters - plan.raw_parameters
    rows = [
        ("parameters", f"{sized(plan.parameters)}", f"{plan.parameters:,}"),
        ("  in matrices", sized(plan.matrix_parameters), "what every position passes through"),
        ("  of the raw-byte part", sized(plan.raw_parameters), f"{sized(softmax)} go with the compressor"),
        ("  trained", sized(plan.trained_parameters), "with gradients and moments"),
        *_memory_rows(plan),
        ("a step: positions", f"{plan.step_positions:,.0f}", f"{100 * plan.compressed_share:.0f} % of them compressed"),
        ("  text", sized(plan.step_text_bytes, "B"), about),
        ("  FLOPs", f"{plan.step_flops:.3g}", about),
        ("FLOPs a byte of text", f"{plan.flops_per_text_byte:.3g}", ""),
        ("the run: steps", f"{plan.steps:,}", ""),
        ("  positions", sized(plan.positions), f"{plan.positions / plan.matrix_parameters:.1f} a matrix parameter"),
        ("  text", sized(plan.text_bytes, "B"), _times(plan)),
        ("  FLOPs", f"{plan.flops:.3g}", ""),
        ("  time", timed(plan.seconds), f"at {plan.rate:.3g} FLOPs a second"),
        ("  a checkpoint", sized(plan.checkpoint_bytes, "B"), "weights and moments"),
    ]
    return two_columns(rows)


def _memory_rows(plan: RunPlan) -> list[tuple[str, str, str]]:
    a_pass = f"{plan.pass_positions:,} positions a pass, {plan.dtype}"
    if plan.cluster is None:
        return [("memory", sized(plan.memory_bytes, "B"), f"about, {a_pass}")]
    cluster, memory = plan.cluster, plan.cluster.memory
    again = cluster.activation_checkpointing
    return [
        ("a rank of", f"{cluster.ranks:,}", f"on {cluster.card.name}, {sized(cluster.card.memory, 'B')} each"),
        ("  memory", sized(memory.peak, "B"), f"measured, of {sized(cluster.room, 'B')} for tensors; {a_pass}"),
        ("    weights", sized(memory.weights, "B"), "its part"),
        ("    gradients", sized(memory.gradients, "B"), ""),
        ("    moments", sized(memory.moments, "B"), ""),
        ("    other", sized(memory.other, "B"), "activations, whole blocks, whole gradients"),
        (
            "  --micro-sequences",
            f"{cluster.micro_sequences}",
            "one pass a step" if cluster.passes == 1 else f"{cluster.passes} passes a step",
        ),
        ("  --activation-checkpointing", again, f"{100 * cluster.recomputed:.0f} % more FLOPs than the formula's"),
    ]


def run_table(figures: Mapping[str, Any]) -> Table:
    """The figures of a run after it."""
    from byteproxy.evaluate.run_figures import figure_rows

    return two_columns([*figure_rows(figures)])


def _times(plan: RunPlan) -> str:
    if not plan.corpus_bytes:
        return ""
    return f"{plan.text_bytes / plan.corpus_bytes:.2g} times the corpus's train split"


def two_columns(rows: Sequence[Sequence[str]]) -> Table:
    """A name, a figure and what it means, a line each."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    return table
