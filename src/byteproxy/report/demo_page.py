"""The page that compares the arms of the demo. The same results give the same bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from byteproxy.report import line_plots
from byteproxy.report.lenient import called, distinct, mapping, named, points, sequence
from byteproxy.report.line_plots import Level, Line
from byteproxy.report.page import Picture, render, write_page
from byteproxy.study.units import number, percent

_COMPRESSORS = (("xz", "xz_bpb"), ("PPMd", "ppmd_bpb"))


def write_demo_page(results: Mapping[str, Any], path: Path) -> None:
    """Write the page about `results` (what `byteproxy demo --json` prints) to `path`, whole or not at all.

    Raises InputError if the file can't be written.
    """
    write_page(demo_page(results), path)


def demo_page(results: Mapping[str, Any]) -> str:
    """The page as HTML."""
    arms = named(results.get("arms"))
    title = " against ".join(arms) if len(arms) < 4 else f"{len(arms)} arms"
    title = f"{title} at equal training FLOPs" if len(arms) > 1 else title or "No arms"
    readers: dict[str, list[str]] = {}
    for name, arm in arms.items():
        share = number(mapping(arm.get("compressed_share")).get("positions"))
        if share is not None:
            what = f"{percent(share)} of the positions as compressed symbols" if share else "raw bytes only"
            readers.setdefault(what, []).append(name)
    scores = [arm.get("raw_bpb") for arm in arms.values()] + [results.get(key) for _, key in _COMPRESSORS]
    spent = [value for arm in arms.values() if (value := number(arm.get("flops")))]
    corpus, model = mapping(results.get("corpus")), mapping(results.get("model"))
    return render(
        "demo.html",
        title=title,
        made_by=called(results.get("byteproxy")),
        results=results,
        arms=arms,
        series=len(arms),
        readers=readers,
        best=best_arm(arms),
        largest=max((score for score in map(number, scores) if score is not None), default=1.0) or 1.0,
        compressors=[(name, results.get(key)) for name, key in _COMPRESSORS],
        parameters=mapping(model.get("parameters")),
        pictures=_pictures(results, arms),
        levels=_levels(results),
        smoothing=100 * line_plots.SMOOTHING,
        files=sequence(mapping(results.get("sample")).get("files")),
        apart=percent(max(spent) / min(spent) - 1) if len(spent) > 1 else "",
        rejected=[f"{called(count)} {why}" for why, count in mapping(corpus.get("rejected")).items()],
        model=[(key.replace("_", " "), value) for key, value in model.items() if key != "parameters"],
        machine=list(mapping(results.get("machine")).items()),
        splits=named(corpus.get("splits")),
        split_by=[called(how) for how in sequence(corpus.get("split_by"))],
        shares={name: own for name, arm in arms.items() if (own := mapping(arm.get("compressed_share")))},
    )


def best_arm(arms: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The arm with the fewest raw bits per byte, where there are several to choose from."""
    scores = {name: score for name, arm in arms.items() if (score := number(arm.get("raw_bpb"))) is not None}
    return min(scores, key=scores.__getitem__) if len(arms) > 1 and scores else None


def _levels(results: Mapping[str, Any]) -> list[Level]:
    """What compressors make of the text that the validation curves are of."""
    own = mapping(results.get("validation_text"))
    return [Level(f"{name} {value:.2f}", value) for name, key in _COMPRESSORS if (value := number(own.get(key)))]


def _pictures(
    results: Mapping[str, Any], arms: Mapping[str, Mapping[str, Any]]
) -> tuple[list[tuple[str, Picture]], list[tuple[str, Picture]]]:
    """Bits per byte of validation text, and training losses: each over compute and over time."""
    validation: list[tuple[str, Picture]] = []
    loss: list[tuple[str, Picture]] = []
    names = distinct(arms)
    for x_key in ("flops", "seconds"):
        bpb, losses = [], []
        for at, (name, arm) in enumerate(arms.items()):
            x, y = points(arm.get("validation"), x_key, "raw_bpb")
            bpb.append(Line(f"{names[name]} {y[-1]:.2f}" if y else "", at, x, y))
            raw, compressed = (points(arm.get("curve"), x_key, f"{kind}_loss") for kind in ("raw", "compressed"))
            losses.append(Line(f"{names[name]}, raw", at, *raw, smooth=True))
            losses.append(Line(f"{names[name]}, compressed", at, *compressed, dashed=True, smooth=True))
        for found, what, lines, levels, y_label in (
            (validation, "Validation", bpb, _levels(results), "raw bits per byte"),
            (loss, "Training loss", losses, [], "loss (nats per target)"),
        ):
            picture = line_plots.over(x_key, what, lines, levels, y_label)
            found.append((f"{what} over {line_plots.SPENT[x_key]}", picture))
    return validation, loss
