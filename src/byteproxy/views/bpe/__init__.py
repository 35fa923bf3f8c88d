"""Byte-pair encoding: tokenizers of our own and published ones as views."""

from byteproxy.views.bpe.byte_alphabet import byte_characters
from byteproxy.views.bpe.view import BpeOptions, BpeView

__all__ = ["BpeOptions", "BpeView", "byte_characters"]
