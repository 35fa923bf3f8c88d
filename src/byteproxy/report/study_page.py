"""The page of a study: what was found, how surely, and all figures; of an unfinished study what there is.

The same results give the same bytes. About 0.1 s a plot.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byteproxy.report import study_rows
from byteproxy.report.headline import headline, headline_picture
from byteproxy.report.lenient import called, colours, entries, mapping, named, plain, sequence
from byteproxy.report.multiplier_plots import multiplier_plots, shown_multipliers
from byteproxy.report.page import render, write_page
from byteproxy.report.study_plots import curves, gains
from byteproxy.report.viewer import viewer
from byteproxy.study.transfer_words import NO_CURVE, ends_said, multiplier_said, without_curve
from byteproxy.study.units import fixed, number


def write_study_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page about `results` (what `byteproxy study --json` prints) to `path`, whole or not at all.

    Raises InputError if the file can't be written.
    """
    write_page(study_page(results), path)


def study_page(results: Mapping[str, Any]) -> str:
    """The page as HTML."""
    arms, queue, corpus = named(results.get("arms")), mapping(results.get("queue")), mapping(results.get("corpus"))
    hues, failures = colours(arms), entries(queue.get("failed"))
    by_number = sorted(hues, key=hues.__getitem__)
    shown = headline(results)
    spent = [value for arm in arms.values() if (value := number(arm.get("flops")))]
    return render(
        "study.html",
        title=plain(called(results.get("study") or "A study")),
        made_by=called(results.get("byteproxy")),
        results=results,
        kept=_without_the_long(results),
        called=called,
        interval=study_rows.interval,
        seeds_of=lambda score: mapping(mapping(score).get("seeds")).values(),
        count_of=_count_of,
        arms=arms,
        hues=hues,
        by_number=by_number,
        series=len(hues),
        headline=shown,
        headline_picture=shown and headline_picture(shown),
        compressors=study_rows.compressors(results),
        left_arms=[called(name) for name in sequence(mapping(results.get("main")).get("left"))],
        model=mapping(results.get("model")),
        model_arms=[called(name) for name in sequence(mapping(results.get("model")).get("arms"))],
        references=study_rows.references(results),
        token_differences=study_rows.tokens_kept(results),
        kinds=entries(results.get("kinds_of_text")),
        robustness=entries(results.get("robustness")),
        differences=study_rows.differences(results),
        curves=curves(results, hues),
        multipliers=shown_multipliers(results),
        multiplier_plots=multiplier_plots(results, hues),
        multiplier_said=multiplier_said,
        ends_said=ends_said,
        no_curve=NO_CURVE if without_curve(shown_multipliers(results)) else "",
        read_at=study_rows.read_at(results),
        gains=gains(results, hues),
        cells=study_rows.cells(results),
        trials=study_rows.trials(results),
        viewer=viewer(results),
        scored=named(results.get("scored")),
        symbol_arms=[name for name, arm in arms.items() if arm.get("scored") == "view"],
        done=queue.get("done"),
        left=int(number(queue.get("left")) or 0),
        failed=sequence(queue.get("failed")),
        failures=failures,
        apart=fixed(100 * (max(spent) / min(spent) - 1), 2, "%") if spent and min(spent) > 0 else "",
        seeds=[called(seed) for seed in sequence(mapping(results.get("main")).get("seeds"))],
        machine=list(mapping(results.get("machine")).items()),
        splits=named(corpus.get("splits")),
        split_by=[called(how) for how in sequence(corpus.get("split_by"))],
        opened=entries(results.get("opened")),
    )


def _count_of(value: object) -> object:
    """How many there are of what stands there; a number as it is."""
    return len(value) if isinstance(value, list | tuple | dict) else value


def _without_the_long(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results without excerpts and curves, which are seen above and would be most of the page."""
    kept = {key: value for key, value in results.items() if key != "viewer"}
    if isinstance(results.get("runs"), list | tuple):
        kept["runs"] = [
            {key: value for key, value in run.items() if key != "curve"} if isinstance(run, Mapping) else run
            for run in results["runs"]
        ]
    return kept
