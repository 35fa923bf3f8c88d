"""What became of a model's own tokens: the bits that text costs as them after an arm's training, against before.

Only of studies whose arms begin with a model, and of arms that have its tokenizer. Below zero: tokens cost less.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from byteproxy.generate.score import Scored
from byteproxy.study.cells import HELD_OUT, Cells
from byteproxy.study.compare import against, difference
from byteproxy.study.recipe import Cell, StudyRecipe
from byteproxy.study.run_files import HeldOut
from byteproxy.study.verdict import interval_said

CEILING = "model"
"""What stands for the model before training, where another arm's name would."""


def token_differences(recipe: StudyRecipe, cells: Cells, ceiling: Mapping[HeldOut, Scored]) -> Iterator[dict[str, Any]]:
    """Every arm's token bits against the model's before training, and against those of the arms that claims name.

    ceiling: by split, what its documents cost the model before.
    """
    for cell in cells.runs:
        for split in HELD_OUT:
            mine = cells.tokens(cell, split)
            if not mine:
                continue
            if split in ceiling:
                yield from difference(cell, CEILING, split, mine, dict.fromkeys(mine, ceiling[split]))
            for name in against(recipe, cells):
                if name != cell.arm:
                    theirs = cells.tokens(Cell(name, cell.size, cell.flops), split)
                    yield from difference(cell, name, split, mine, theirs)


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What became of the tokens, and whether the model may have seen the text, for the verdict."""
    model, main = results["model"], results["main"]
    if model is None:
        return []
    said = []
    if model["may_have_seen"]:
        said.append(f"Read all of it with care: {model['may_have_seen']}.")
    if main is None:
        return said
    kept = [
        one
        for one in results["token_differences"]
        if (one["against"], one["size"], one["flops"]) == (CEILING, main["size"], main["flops"])
    ]
    tested = {one["arm"] for one in kept if one["split"] == "test"}
    kept = [one for one in kept if one["split"] == ("test" if one["arm"] in tested else "validation")]
    by_split: dict[str, list[dict[str, Any]]] = {}
    for one in kept:
        by_split.setdefault(one["split"], []).append(one)
    for split, found in by_split.items():
        each = "; ".join(f"{one['arm']} {one['means'][0]:.4f}, {one['percent']:+.1f} %{_surely(one)}" for one in found)
        said.append(
            f"The model's own tokens cost {found[0]['means'][1]:.4f} bits per byte of {split} text before, and after "
            f"training: {each}."
        )
    return said


def _surely(found: Mapping[str, Any]) -> str:
    words, chance = interval_said(found)
    return (f" ({words})" if words else "") + (", which may be chance" if chance else "")
