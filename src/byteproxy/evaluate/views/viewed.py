"""A document through a view, and what there is to say about it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from byteproxy.progress import Stage, quietly
from byteproxy.views import registry
from byteproxy.views.base import Encoded, View


class Viewed(NamedTuple):
    """A document through the view that `spec` names."""

    spec: str
    view: View
    encoded: Encoded

    def figures(self, document: bytes) -> dict[str, Any]:
        """What there is to say about it, as JSON takes it; bytes_per_symbol is None where there are no symbols."""
        symbols = len(self.encoded.symbols)
        return {
            "name": self.view.name,
            "alphabet_size": self.view.alphabet_size,
            "aligned": self.view.aligned,
            "symbols": symbols,
            "bytes_per_symbol": len(document) / symbols if symbols else None,
        }


def viewed(
    document: bytes, specs: Iterable[str], texts: Callable[[], Iterable[bytes]], stage: Stage = quietly
) -> list[Viewed]:
    """A document through each view, trained on `texts` where it has to be; InputError for what can't be built."""
    found = []
    for spec in dict.fromkeys(specs):
        shown = stage if registry.needs_training(spec) else quietly
        with shown(f"train {spec}", registry.training_unit(spec)) as progress:
            view = registry.build(spec, texts, progress).view
        found.append(Viewed(spec, view, view.encode(document)))
    return found


def summary(figures: Mapping[str, Any]) -> str:
    """The figures of a view in one line: "523 symbols of 4,096, 3.12 bytes each"."""
    each = figures["bytes_per_symbol"]
    size = "" if each is None else f", {each:.{2 if each >= 1 else 3}f} bytes each"
    return f"{figures['symbols']:,} symbols of {figures['alphabet_size']:,}{size}"


def rest(document: bytes, shown_bytes: int) -> str:
    """What is left out, in a sentence; nothing if nothing is."""
    if shown_bytes >= len(document):
        return ""
    return f"The first {shown_bytes:,} of {len(document):,} bytes are shown; the figures are for all of them."
