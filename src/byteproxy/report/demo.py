"""The page that tells how several arms compared: one self-contained `report.html`.

Nothing in it asks anything of a network: style and plots are inline, there is no script, and a content
security policy forbids the rest. Everything that comes from the results is escaped; what is missing is a
dash. The same results give the same bytes. About half a second, most of it matplotlib's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from byteproxy.report import lenient
from byteproxy.report.lenient import distinct, facts, listed, mapping, named, points, text, wrapped
from byteproxy.report.page import PALETTE, framed, json_details, swatch, write_page
from byteproxy.report.plots import SMOOTHING, Level, Line, curve_figure
from byteproxy.study.units import DASH, fixed, flops_unit, number, percent, scientific, seconds_unit, si

_COMPRESSORS = (("xz", "xz_bpb"), ("PPMd", "ppmd_bpb"))


def write_report(results: Mapping[str, Any], path: Path) -> None:
    """Write the page about `results` (what `byteproxy demo --json` prints) to `path`, whole or not at all.

    Raises InputError if the file can't be written.
    """
    write_page(report_page(results), path)


def report_page(results: Mapping[str, Any]) -> str:
    """The page as HTML."""
    arms = named(results.get("arms"))
    title = " against ".join(arms) if len(arms) < 4 else f"{len(arms)} arms"
    title = f"{title} at equal training FLOPs" if len(arms) > 1 else title or "No arms"
    parts = (
        f"<header><p class=kicker>byteproxy {text(results.get('byteproxy'))}</p>",
        f"<h1>{text(title)}</h1>{_introduction(results, arms)}</header>",
        f"<p class=verdict>{text(results['verdict'])}</p>" if results.get("verdict") else "",
        f"<section><h2>Result</h2>{_result_table(results, arms)}</section>",
        f"<section><h2>Training curves</h2>{_plots(results, arms)}</section>",
        _sample(mapping(results.get("sample"))),
        f"<section><h2>Details</h2>{_details(results, arms)}</section>",
        json_details(results),
    )
    return framed(title, filter(None, parts), _STYLE)


def best_arm(arms: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The arm with the fewest raw bits per byte, where there are several to choose from."""
    scores = {name: score for name, arm in arms.items() if (score := number(arm.get("raw_bpb"))) is not None}
    return min(scores, key=scores.__getitem__) if len(arms) > 1 and scores else None


# The parts of the page, top to bottom.


def _introduction(results: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> str:
    view, budget = mapping(results.get("view")), number(results.get("budget_flops"))
    readers: dict[str, list[str]] = {}
    for name, arm in arms.items():
        share = number(mapping(arm.get("compressed_share")).get("positions"))
        if share is not None:
            what = f"{percent(share)} of the positions as compressed symbols" if share else "raw bytes only"
            readers.setdefault(what, []).append(f"<b>{text(name)}</b>")
    alike = "The arms were trained on the same corpus with the same budget of compute"
    compute = f" ({scientific(budget)} FLOPs)" if budget else ""
    sentences = [(alike if len(arms) > 1 else "One model was trained") + compute]
    if readers:
        reads = "; ".join(f"{listed(names)} read {what}" for what, names in readers.items())
        sentences.append(f"In training, {reads}")
    if view:
        symbols, each = fixed(view.get("alphabet_size"), 0), fixed(view.get("bytes_per_symbol"), 2, "bytes")
        sentences.append(f"The compressed view is {text(view.get('name'))}: {symbols} symbols of {each} on average")
    held_out = si(results.get("held_out_bytes"), "B"), text(results.get("held_out_documents"))
    sentences.append(
        "What counts is raw bytes alone, read without any compressor: how many bits a model needs for each byte of"
        f" {held_out[0]} of text ({held_out[1]} documents) from projects that it never saw. Fewer is better"
    )
    return f"<p class=lead>{'. '.join(sentences)}.</p>" if arms else ""


_COLUMNS = (
    "raw bits<br>per byte",
    "training<br>FLOPs",
    "positions",
    "text seen",
    "of it raw",
    "steps",
    "wall time<br>in training",
    "wall time<br>in all",
    "para-<br>meters",
)


def _result_table(results: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> str:
    best, parameters = best_arm(arms), mapping(mapping(results.get("model")).get("parameters"))
    scores = [arm.get("raw_bpb") for arm in arms.values()] + [results.get(key) for _, key in _COMPRESSORS]
    largest = max((score for score in map(number, scores) if score is not None), default=1.0) or 1.0

    def score(value: object, variable: str) -> str:
        width = max(0.0, 100 * (number(value) or 0.0) / largest)
        return f'{fixed(value, 3)}<span class=bar><i style="width:{width:.1f}%;background:var({variable})"></i></span>'

    rows = []
    for at, (name, arm) in enumerate(arms.items()):
        colour = f"--arm{at % PALETTE}"
        badge = " <em>best</em>" if name == best else ""
        cells = [
            score(arm.get("raw_bpb"), colour),
            scientific(arm.get("flops")),
            si(arm.get("positions")),
            si(arm.get("text_bytes_seen"), "B"),
            si(arm.get("raw_text_bytes_seen"), "B"),
            fixed(arm.get("steps"), 0),
            fixed(arm.get("seconds"), 0, "s"),
            fixed(arm.get("wall_seconds"), 0, "s"),
            si(parameters.get(name)),
        ]
        rows.append(_row(f"{swatch(at)}{wrapped(name)}{badge}", cells, "best" if name == best else ""))
    for what, key in _COMPRESSORS:
        cells = [score(results.get(key), "--muted")] + [DASH] * (len(_COLUMNS) - 1)
        rows.append(_row(f"{swatch(None)}{what}", cells, "scale"))
    return (
        f"<div class=scroll><table class=result>{_head('arm', _COLUMNS)}<tbody>{''.join(rows)}</tbody></table></div>"
        "<p class=note>xz and PPMd compress the same held-out bytes and are there for scale."
        " What the compressed view itself cost stands under Details.</p>"
    )


def _plots(results: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> str:
    own = mapping(results.get("validation_text"))
    levels = [Level(f"{name} {value:.2f}", value) for name, key in _COMPRESSORS if (value := number(own.get(key)))]
    validation, loss = [], []
    names = distinct(arms)
    for x_key in ("flops", "seconds"):
        bpb, losses = [], []
        for at, (name, arm) in enumerate(arms.items()):
            x, y = points(arm.get("validation"), x_key, "raw_bpb")
            bpb.append(Line(f"{names[name]} {y[-1]:.2f}" if y else "", at, x, y))
            raw, compressed = (points(arm.get("curve"), x_key, f"{kind}_loss") for kind in ("raw", "compressed"))
            losses.append(Line(f"{names[name]}, raw", at, *raw, smooth=True))
            losses.append(Line(f"{names[name]}, compressed", at, *compressed, dashed=True, smooth=True))
        validation.append(_figure("Validation", "raw bits per byte", x_key, bpb, levels))
        loss.append(_figure("Training loss", "loss (nats per target)", x_key, losses, []))
    cut = "A steep start may leave the picture at the top."
    of = f"{si(own.get('bytes'), 'B')} of validation text, which is not the text of the table"
    dashed = " Dashed: xz and PPMd on the same text." if levels else ""
    return (
        f"<div class=plots>{''.join(validation)}</div><p class=note>Measured on {of}; beside each line stands its last"
        f" value.{dashed} {cut}</p>"
        f"<div class=plots>{''.join(loss)}</div><p class=note>Strong lines: centred mean over about"
        f" {100 * SMOOTHING:.0f} % of the points; faint lines: as logged. Solid: a raw target, which is a byte. Dashed:"
        f" a compressed target, a symbol of several bytes; so compare solid with solid only. {cut}</p>"
    )


def _figure(what: str, y_label: str, x_key: str, lines: Sequence[Line], levels: Sequence[Level]) -> str:
    caption = f"{what} over {'training FLOPs' if x_key == 'flops' else 'wall time'}"
    lines = [line for line in lines if line.x]
    if not lines:
        return f"<figure><figcaption>{caption}</figcaption><p class=note>Nothing was logged.</p></figure>"
    unit, x_label = (flops_unit if x_key == "flops" else seconds_unit)(max(line.x[-1] for line in lines))
    scaled = [replace(line, x=[x / unit for x in line.x]) for line in lines]
    return curve_figure(caption, f"{what} {x_key}", scaled, levels, x_label, y_label)


def _sample(sample: Mapping[str, Any]) -> str:
    if not sample:
        return ""
    files = sample.get("files")
    held = ""
    if isinstance(files, Sequence) and not isinstance(files, str) and files:
        names = listed(f"<code>{text(name)}</code>" for name in files)
        held = f" The folder it was loaded from held {names}, and no compressor."
    speed = number(sample.get("bytes_per_second"))
    pace = f" at {fixed(speed, 0)} bytes per second" if speed is not None else ""
    return (
        f"<section><h2>A sample</h2><p>Arm <b>{text(sample.get('arm'))}</b> continues the dimmed prompt, byte by byte"
        f"{pace}.{held}</p><pre class=sample><span class=prompt>{text(sample.get('prompt'))}</span>"
        f"<b>{text(sample.get('continuation'))}</b></pre></section>"
    )


def _details(results: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]) -> str:
    corpus, view = mapping(results.get("corpus")), mapping(results.get("view"))
    model, machine = mapping(results.get("model")), mapping(results.get("machine"))
    spent = [value for arm in arms.values() if (value := number(arm.get("flops")))]
    apart = (
        f" Here the arms' totals differ by at most {percent(max(spent) / min(spent) - 1)}." if len(spent) > 1 else ""
    )
    took = fixed(view.get("train_seconds"), 1, "s"), fixed(view.get("encode_seconds"), 1, "s")
    equal = (
        f"<p>{lenient.EQUAL_FLOPS}{apart} What the compressor itself costs isn't among them: training it took"
        f" {took[0]} and encoding the corpus {took[1]} on this machine.</p>"
    )
    rejected = ", ".join(f"{text(count)} {text(why)}" for why, count in mapping(corpus.get("rejected")).items())
    blocks = facts(
        "Corpus",
        ("source", text(corpus.get("source"))),
        ("documents", fixed(corpus.get("documents"), 0)),
        ("text", si(corpus.get("bytes"), "B")),
        ("rejected", rejected or DASH),
    )
    blocks += facts(
        "Compressed view",
        ("name", text(view.get("name"))),
        ("symbols", fixed(view.get("alphabet_size"), 0)),
        ("bytes per symbol", fixed(view.get("bytes_per_symbol"), 2)),
        ("training it", fixed(view.get("train_seconds"), 1, "s")),
        ("encoding with it", fixed(view.get("encode_seconds"), 1, "s")),
    )
    sizes = ((text(key.replace("_", " ")), text(value)) for key, value in model.items() if key != "parameters")
    blocks += facts("Model", *sizes)
    blocks += facts(
        "Machine and run",
        *((text(key), text(value)) for key, value in machine.items()),
        ("seed", text(results.get("seed"))),
        ("minutes asked", text(results.get("minutes"))),
        ("FLOPs per arm", scientific(results.get("budget_flops"))),
    )
    sides = [
        _row(text(name), [fixed(side.get("projects"), 0), fixed(side.get("documents"), 0), si(side.get("bytes"), "B")])
        for name, side in mapping(corpus.get("sides")).items()
        if isinstance(side, Mapping)
    ]
    shares = [
        _row(text(name), [percent(share.get(key)) for key in ("asked", "segments", "positions", "text_bytes")])
        for name, arm in arms.items()
        if (share := mapping(arm.get("compressed_share")))
    ]
    tables = _small_table("Split by project", "side", ("projects", "documents", "text"), sides)
    tables += _small_table("Compressed share", "arm", ("asked", "segments", "positions", "text"), shares)
    return f"{equal}<div class=facts>{blocks}{tables}</div>"


# Pieces of HTML.


def _head(first: str, columns: Iterable[str]) -> str:
    heads = "".join(f"<th scope=col>{column}</th>" for column in columns)
    return f"<thead><tr><th scope=col>{first}</th>{heads}</tr></thead>"


def _row(head: str, cells: Iterable[str], kind: str = "") -> str:
    return f'<tr class="{kind}"><th scope=row>{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _small_table(title: str, first: str, columns: Iterable[str], rows: Sequence[str]) -> str:
    if not rows:
        return ""
    table = f"<table>{_head(first, columns)}<tbody>{''.join(rows)}</tbody></table>"
    return f"<div><h3>{title}</h3><div class=scroll>{table}</div></div>"


_STYLE = (
    lenient.STYLE
    + """
tbody th:first-child { min-width: 8.5em; max-width: 15em; }
.result td { padding-top: .65em; padding-bottom: .65em; }
.result td:nth-child(2) { font-weight: 600; min-width: 8.5em; position: relative; }
.bar { position: absolute; left: 1.4em; right: 0; bottom: 4px; height: 4px; }
.bar i { display: block; height: 100%; border-radius: 2px; }
.sample { white-space: pre-wrap; overflow-wrap: anywhere; }
.sample .prompt { color: var(--muted); }
details { margin-top: 2.6em; }
"""
)
