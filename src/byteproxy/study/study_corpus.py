"""The text of a study: a corpus that is there, or one of the study's own."""

from pathlib import Path

from byteproxy.corpus.split import SplitOptions
from byteproxy.progress import Stage
from byteproxy.store.build import build_corpus
from byteproxy.store.prepare import Preparation
from byteproxy.store.store import Store
from byteproxy.study.recipe import StudyRecipe


def prepared(recipe: StudyRecipe, out: Path, stage: Stage) -> Store:
    """The corpus of a recipe; prepared into the study's folder as `byteproxy prepare` does it, unless it has a path."""
    corpus = recipe.corpus
    if corpus.path:
        return Store.open(Path(corpus.path))
    preparation = Preparation(split=SplitOptions(corpus.validation, corpus.test, corpus.salt))
    return build_corpus(corpus.sources, corpus.views, out / "corpus", preparation, stage=stage).store
