"""A small corpus of code-like text, the same every time."""

import random
from pathlib import Path

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views.bpe import BpeView

NAMES = ["path", "name", "value", "lines", "count", "index", "self", "item", "total", "result", "key", "size"]


def toy_documents(count: int = 80, seed: int = 0) -> list[Document]:
    """Functions with random names: compressible, each project's documents different."""
    rng = random.Random(seed)
    documents = []
    for number in range(count):
        lines = []
        for _ in range(rng.randint(3, 25)):
            one, two, three = (rng.choice(NAMES) for _ in range(3))
            lines += [
                f"def {one}_{two}({three}):",
                f"    {two} = {one} + {rng.randint(0, 99)}",
                f"    return {two}",
                "",
            ]
        documents.append(Document(f"file{number}.py", "\n".join(lines).encode(), "toy", f"project{number // 2}"))
    return documents


def toy_store(folder: Path) -> tuple[Store, BpeView]:
    """The documents prepared, with a BPE view of 300 symbols."""
    documents = toy_documents()
    prepare_documents(documents, folder, SplitOptions(0.1, 0.2))
    view = BpeView.train((document.text for document in documents), 300)
    add_view(folder, view)
    return Store.open(folder), view
