"""The transformer, its attention backends, and the typed loss."""

from byteproxy.model import forks

__all__ = ["forks"]
