"""The page of a study: one self-contained `report.html` that says what was found, how surely, and shows all of it.

Nothing in it asks anything of a network, and there is no script. Everything that comes from the results is escaped;
what is missing, as in a study half done, is a dash or a sentence. The same results give the same bytes. About 0.1 s a
plot.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byteproxy.report import headline, lenient, study_plots, study_tables
from byteproxy.report.lenient import colours, entries, facts, mapping, named, sequence, text, wrapped
from byteproxy.report.page import framed, json_details, swatch, write_page
from byteproxy.report.viewer import viewer
from byteproxy.study.units import fixed, number, scientific, si


def write_study_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page about `results` (what `byteproxy study --json` prints) to `path`, whole or not at all.

    Raises InputError if the file can't be written.
    """
    write_page(study_page(results), path)


def study_page(results: Mapping[str, Any]) -> str:
    """The page as HTML."""
    title = lenient.called(results.get("study") or "A study")
    hues = colours(named(results.get("arms")))
    seen, style = viewer(results)
    parts = (
        f"<header><p class=kicker>byteproxy {text(results.get('byteproxy'))}</p><h1>{text(title)}</h1>",
        f"<p class=lead>{text(results['about'])}</p>" if results.get("about") else "",
        f"{_unfinished(results)}</header>",
        f"<p class=verdict>{text(results['verdict'])}</p>" if results.get("verdict") else "",
        headline.headline_html(results),
        _section("Result", study_tables.result_table(results, hues) + _about_result(results) + _arms(results, hues)),
        _section("Differences", study_tables.differences(results, hues)),
        _section("During training", study_plots.curves(results, hues)),
        _section("Equal by other measures", study_tables.read_at(results, hues)),
        _section("Over compute and size", study_plots.gains(results, hues) + study_tables.cells_table(results, hues)),
        _section("Trials", study_tables.trials(results, hues)),
        _section("Byte by byte", seen),
        _section("How it was measured", _measured(results)),
        json_details(_without_the_long(results)),
    )
    return framed(lenient.plain(title), filter(None, parts), lenient.STYLE + headline.STYLE + _STYLE + style)


def _section(title: str, html: str) -> str:
    return f"<section><h2>{title}</h2>{html}</section>"


def _unfinished(results: Mapping[str, Any]) -> str:
    queue = mapping(results.get("queue"))
    left, failed = int(number(queue.get("left")) or 0), len(sequence(queue.get("failed")))
    if not left and not failed:
        return ""
    return (
        f"<p class=unfinished><b>Not finished.</b> {fixed(queue.get('done'), 0)} runs are done, {left:,} are left,"
        f" {failed:,} failed. What stands here is about those that are done.</p>"
    )


def _about_result(results: Mapping[str, Any]) -> str:
    scored = [
        f"{si(side.get('bytes'), 'B')} of {wrapped(name)} text ({fixed(side.get('documents'), 0)} documents)"
        for name, side in named(results.get("scored")).items()
    ]
    text_of = f" They are of {lenient.listed(scored)}, from projects that no run was trained on." if scored else ""
    own = " An arm that reads symbols only has no raw bits: its figure is the bits of its symbols per byte of text."
    views = any(arm.get("scored") == "view" for arm in named(results.get("arms")).values())
    return (
        "<p class=note>Bits per byte are of raw bytes alone, read without any compressor: fewer is better."
        f"{text_of}{own if views else ''} FLOPs, positions, text and wall time are means over the seeds."
        " Compressors stand there for scale.</p>"
    )


def _arms(results: Mapping[str, Any], hues: Mapping[str, int]) -> str:
    """What each arm does, in its recipe's words."""
    told = [
        (f"{swatch(hues[name])}{wrapped(name)}", text(arm["about"]))
        for name, arm in named(results.get("arms")).items()
        if arm.get("about")
    ]
    return facts("The arms", *told)


def _measured(results: Mapping[str, Any]) -> str:
    corpus, machine, main = (mapping(results.get(key)) for key in ("corpus", "machine", "main"))
    spent = [value for arm in named(results.get("arms")).values() if (value := number(arm.get("flops")))]
    most = fixed(100 * (max(spent) / min(spent) - 1), 2, "%") if spent and min(spent) > 0 else ""
    apart = f" Here the arms' means differ by at most {most}." if most else ""
    words = (
        f"<p>{lenient.EQUAL_FLOPS}{apart}</p>"
        "<p><b>Every byte is scored once.</b> A window moves over each document; of each window only those bytes count"
        " that no earlier one had, so each byte is read with as much context before it as the window allows. A"
        " document's bits are summed and divided by its bytes of text, whatever the arm reads.</p>"
        "<p><b>Three sides, split by project.</b> Runs learn from the train side. Learning rates, rows and curves come"
        " from the validation side. The test side is opened for a claim alone, and each time is written down below.</p>"
    )
    seeds = ", ".join(text(seed) for seed in sequence(main.get("seeds")))
    blocks = facts(
        "Corpus and main cell",
        ("corpus", text(corpus.get("path"))),
        ("fingerprint", f"<code>{text(corpus.get('fingerprint'))}</code>"),
        ("size", text(main.get("size"))),
        ("FLOPs asked", scientific(main.get("flops"))),
        ("seeds", seeds or text(None)),
    )
    blocks += facts("Machine", *((text(key), text(value)) for key, value in machine.items()))
    return f"{words}<div class=facts>{blocks}{_sides(corpus)}{_queue(results)}</div>{_opened(results)}"


def _sides(corpus: Mapping[str, Any]) -> str:
    rows = [
        (text(name), [fixed(side.get("projects"), 0), fixed(side.get("documents"), 0), si(side.get("bytes"), "B")])
        for name, side in named(corpus.get("sides")).items()
    ]
    columns = (("projects", ""), ("documents", ""), ("text", ""))
    return f"<div><h3>Split by project</h3>{study_tables.table('side', columns, rows)}</div>" if rows else ""


def _queue(results: Mapping[str, Any]) -> str:
    queue = mapping(results.get("queue"))
    failed = [f"<b>{text(one.get('key'))}</b>: {text(one.get('why'))}" for one in entries(queue.get("failed"))]
    return facts(
        "Runs",
        ("done", fixed(queue.get("done"), 0)),
        ("left", fixed(queue.get("left"), 0)),
        ("failed", "<br>".join(failed) or "none"),
    )


def _opened(results: Mapping[str, Any]) -> str:
    rows = []
    for one in entries(results.get("opened")):
        runs = one.get("runs")
        count = len(runs) if isinstance(runs, list | tuple) else runs
        rows.append((text(one.get("time")), [text(one.get("claim")), text(count)]))
    if not rows:
        return "<h3>The test side</h3><p>It has not been opened.</p>"
    columns = (("claim", ""), ("runs", "scored"))
    return f"<h3>When the test side was opened</h3><div class=opened>{study_tables.table('time', columns, rows)}</div>"


def _without_the_long(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results without excerpts and curves, which are seen above and would be most of the page."""
    kept = {key: value for key, value in results.items() if key != "viewer"}
    if isinstance(results.get("runs"), list | tuple):
        kept["runs"] = [
            {key: value for key, value in run.items() if key != "curve"} if isinstance(run, Mapping) else run
            for run in results["runs"]
        ]
    return kept


_STYLE = """
.lead { font-size: 1.05rem; }
.unfinished { padding: .7em 1em; border: 1px solid var(--muted); border-radius: 6px; max-width: none; }
.quiet { color: var(--muted); font-weight: 400; }
td small, th small { display: block; color: var(--muted); font-weight: 400; font-size: .78rem; line-height: 1.3; }
.result td { vertical-align: top; }
tbody th small { padding-left: 1.5em; }
.chosen { outline: 1.5px solid var(--accent); outline-offset: 3px; border-radius: 2px; }
.plots.trends { grid-template-columns: repeat(auto-fill, minmax(min(294px, 100%), 1fr));
  gap: 24px 28px; }
main { max-width: 1240px; }
.plots .note { margin: .4em 0 0; }
.plots + .note { margin-top: 1.6em; }
.opened td:nth-child(2), .opened th:nth-child(2) { white-space: normal; text-align: left; }
.facts tbody th:first-child { min-width: 4em; }
.facts td, .facts th + th { padding-left: 1em; }
h3 { margin-top: 1.6em; }
.facts h3, .pane h3 { margin-top: 0; }
section > details { margin: 1.6em 0; }
"""
