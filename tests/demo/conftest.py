"""The tiny model and the text that conversions are tested on."""

from tests.convert.conftest import model, text

__all__ = ["model", "text"]
