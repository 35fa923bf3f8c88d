"""The page of whatever a folder holds, from its files alone: what `byteproxy report` makes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.config import from_toml
from byteproxy.errors import InputError
from byteproxy.finite import finite
from byteproxy.parsing import read_json
from byteproxy.report.conversion_page import conversion_page
from byteproxy.report.corpus_page import corpus_page
from byteproxy.report.demo_page import demo_page
from byteproxy.report.folder_kind import kind_of
from byteproxy.report.model_demo_page import model_demo_page
from byteproxy.report.page import write_page
from byteproxy.report.run_page import read_run, run_page, runs_page
from byteproxy.report.study_page import study_page
from byteproxy.store.format import MANIFEST
from byteproxy.store.store import Store
from byteproxy.study.queue import Queue
from byteproxy.study.recipe import StudyRecipe
from byteproxy.study.results import study_results
from byteproxy.study.start_model import as_noted
from byteproxy.study.study_folder import REPORT, RESULTS, SETTINGS
from byteproxy.train.run_config import CONFIG

PAGES = Path("runs/pages")
"""Where the pages of corpora and of several runs are written, unless a place is named: no folder is theirs alone."""


class Built(NamedTuple):
    """A page that was written. kind: of what, in a word. figures: that it shows, as JSON takes them."""

    kind: str
    path: Path
    figures: Any


def build_page(paths: Sequence[Path], out: Path | None = None) -> Built:
    """Write the page of a run, a study, a demo, a conversion or a corpus, or of several runs side by side.

    out: where; None: report.html in the folder itself, or a place in `PAGES` for a corpus and for several runs.
    Raises InputError where a folder holds none of these, has nothing to show yet, or the page can't be written.
    """
    kinds = [kind_of(path) for path in paths]
    if len(paths) > 1:
        for path, kind in zip(paths, kinds, strict=True):
            if kind != "run":
                raise InputError(f"{path} is a {kind}: several folders on one page have to be runs, each of them")
        if len({path.resolve() for path in paths}) < len(paths):
            raise InputError("a run is named twice: name each once")
        runs = [read_run(path) for path in paths]
        place = out or PAGES / "runs.html"
        write_page(runs_page(runs), place)
        return Built("runs", place, {str(run.folder): run.figures for run in runs})
    page, figures = _PAGES[kinds[0]](paths[0])
    place = out or (PAGES / "corpus.html" if kinds[0] == "corpus" else paths[0] / REPORT)
    write_page(page, place)
    return Built(kinds[0], place, figures)


def _run(folder: Path) -> tuple[str, Any]:
    run = read_run(folder)
    return run_page(run), run.figures


def _corpus(folder: Path) -> tuple[str, Any]:
    from byteproxy.evaluate.corpus.corpus_figures import corpus_figures

    figures = corpus_figures(Store.open(folder))
    return corpus_page(figures), figures


def _study(folder: Path) -> tuple[str, Any]:
    """The results of a study: of all finished runs where the corpus is there, else those of the study's last call."""
    recipe = from_toml(folder / SETTINGS, StudyRecipe)
    corpus = Path(recipe.corpus.path) if recipe.corpus.path else folder / "corpus"
    known = _results(folder) if (folder / RESULTS).is_file() else {}
    if not (corpus / MANIFEST).is_file():
        if not known:
            raise InputError(f"{folder} has no results and its corpus is not at {corpus}: run the study first")
        return study_page(known), known
    name = known.get("study")
    results = finite(
        study_results(
            Queue(as_noted(recipe, folder), Store.open(corpus), folder),
            name if isinstance(name, str) else folder.resolve().name,
        )
    )
    assert isinstance(results, dict), "as it went in"
    return study_page(results), results


def _demo(folder: Path) -> tuple[str, Any]:
    if not (folder / RESULTS).is_file():
        raise InputError(f"{folder} is a demo that is not done yet: run it to its end; its arms are runs of their own")
    results = _results(folder)
    page = model_demo_page if "conversion" in results else demo_page
    return page(results), results


def _conversion(folder: Path) -> tuple[str, Any]:
    if not (folder / RESULTS).is_file():
        run = folder / "run"
        sooner = f", or name its run, {run}, for the curves so far" if (run / CONFIG).is_file() else ""
        raise InputError(f"{folder} is a conversion that is not done yet: run it to its end{sooner}")
    results = _results(folder)
    return conversion_page(results), results


def _results(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS
    try:
        found = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(f"can't read {path} ({error}): run the same command again, which writes it anew") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no results: run the same command again, which writes it anew")
    return found


_PAGES: dict[str, Callable[[Path], tuple[str, Any]]] = {
    "run": _run,
    "study": _study,
    "demo": _demo,
    "conversion": _conversion,
    "corpus": _corpus,
}
