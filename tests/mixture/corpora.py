"""A small prepared corpus with two views and two sources, for the tests that need text."""

from pathlib import Path

import numpy as np

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView
from byteproxy.views.codebook import CodebookOptions, CodebookView


def texts(count: int = 40, longest: int = 900) -> list[bytes]:
    generator = np.random.default_rng(0)
    words = [b"alpha", b"beta", b"\n", b" ", b"gamma()", b"\xff", "\N{EURO SIGN}".encode()]
    return [b"".join(generator.choice(np.array(words, object), n)) for n in generator.integers(1, longest, count)]


def corpus(folder: Path) -> tuple[Store, tuple[BpeView, CodebookView]]:
    """Documents of sources "one" and "two", the second half; several shards."""
    documents = [
        Document(str(number), text, "one" if number < 20 else "two", f"project{number}")
        for number, text in enumerate(texts())
    ]
    prepare_documents(documents, folder, SplitOptions(0.05, 0.1), shard_bytes=20_000)
    views = BpeView.train(texts(), 270), CodebookView.make(CodebookOptions(bits=10), texts())
    for view in views:
        add_view(folder, view)
    return Store.open(folder), views
