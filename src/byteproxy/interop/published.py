"""A model as somebody published it: a folder of transformers, or a GGUF file. What it is, its tokenizer, its weights.

Looking at one costs its configuration, with GGUF its header; weights are read when they are asked for.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from byteproxy.errors import InputError
from byteproxy.gguf_file import GgufFile, gguf_in, opened
from byteproxy.interop.chat import Chat
from byteproxy.interop.export_folder import CONFIG
from byteproxy.interop.gguf_model import gguf_model, gguf_stock
from byteproxy.interop.llama import load_llama
from byteproxy.interop.source_chat import SourceChat, folder_byte_chat, folder_chat, gguf_byte_chat, gguf_chat
from byteproxy.interop.stock import MAX_CONFIG, Stock, stock_config
from byteproxy.interop.tokenizer import TOKENIZER, is_byte_tokenizer, is_byte_vocabulary
from byteproxy.interop.weights import weight_files
from byteproxy.model.network import Transformer
from byteproxy.parsing import read_json
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import FIRST_SYMBOL

_IDS = ("bos_token_id", "eos_token_id")


class Published(Protocol):
    """A published model.

    path: its folder or file.
    """

    path: Path

    @property
    def stock(self) -> Stock:
        """Its shape; InputError where that is none of ours."""

    @property
    def quantization(self) -> str:
        """The types of weights of less than 16 bits, such as "Q4_1"; empty if there are none."""

    @property
    def license(self) -> str:
        """What its file says of that; empty where only a model card can."""

    @property
    def tokenizer_file(self) -> Path:
        """What `--view` is given to encode a corpus by its tokenizer."""

    def model(self) -> Transformer:
        """Its weights, in float32 and eval mode; InputError where they can't be read."""

    def tokenizer(self) -> BpeView | None:
        """Its tokenizer as a view; None: it reads raw bytes. InputError where it is missing, or can't be a view."""

    def ends(self) -> tuple[int | None, int | None]:
        """The ids of bos and eos; where it has one of them only, that is both."""

    def source_chat(self) -> SourceChat | None:
        """How a model of tokens is talked to; None: it has no chat template. InputError where that can't be read."""

    def byte_chat(self) -> Chat | None:
        """The same of a model of raw bytes."""

    def weights(self) -> dict[str, Path]:
        """The files that decide its logits, by name."""


def published(path: Path) -> Published:
    """The model in a folder of transformers, in a GGUF file, or in a folder of which that is the only model.

    Raises InputError where a folder has several GGUF files and no config.json.
    """
    file = None if (path / CONFIG).exists() else gguf_in(path)
    return _Folder(path) if file is None else _Gguf(file)


class _Folder:
    """As `save_pretrained` writes one."""

    quantization = license = ""

    def __init__(self, path: Path) -> None:
        self.path, self.tokenizer_file = path, path / TOKENIZER

    @cached_property
    def stock(self) -> Stock:
        try:
            return stock_config(self._config)
        except InputError as error:
            raise InputError(f"{self.path} holds no model that can be read: {error}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(
                f"{self.path} holds no model that can be read ({error}): copy its {CONFIG} again"
            ) from error

    @cached_property
    def _config(self) -> Any:
        try:
            return read_json(self.path / CONFIG, MAX_CONFIG)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.path} holds no model that can be read ({error}): give a folder with {CONFIG}, weights as "
                f"safetensors and {TOKENIZER}, or a GGUF file"
            ) from error

    def model(self) -> Transformer:
        return load_llama(self.path)[0]

    def tokenizer(self) -> BpeView | None:
        path = self.tokenizer_file
        if not path.is_file():
            _ensure_bytes(self)
            return None
        return None if is_byte_tokenizer(path) else BpeView.load(path)

    def ends(self) -> tuple[int | None, int | None]:
        return _both([self._config.get(name) for name in _IDS], self.stock.rows)

    def source_chat(self) -> SourceChat | None:
        return folder_chat(self.path)

    def byte_chat(self) -> Chat | None:
        return folder_byte_chat(self.path)

    def weights(self) -> dict[str, Path]:
        return {name: self.path / name for name in (CONFIG, *weight_files(self.path))}


class _Gguf:
    """As llama.cpp has one."""

    def __init__(self, path: Path) -> None:
        self.path = self.tokenizer_file = path

    @cached_property
    def _file(self) -> GgufFile:
        return opened(self.path)

    @cached_property
    def stock(self) -> Stock:
        try:
            return gguf_stock(self._file)
        except InputError as error:
            raise InputError(f"{self.path} holds no model that can be read: {error}") from error
        except (ValueError, LookupError, TypeError, ArithmeticError) as error:
            raise InputError(f"{self.path} holds no model that can be read ({error}): copy it again") from error

    @property
    def quantization(self) -> str:
        return self._file.quantization

    @property
    def license(self) -> str:
        return str(self._file.get("general.license", ""))

    def model(self) -> Transformer:
        stock = self.stock
        try:
            return gguf_model(self._file, stock).eval()
        except (ValueError, LookupError, TypeError, RuntimeError, OSError) as error:
            raise InputError(f"{self.path} holds no model that can be read: {error}") from error

    def tokenizer(self) -> BpeView | None:
        tokens = self._file.get("tokenizer.ggml.tokens")
        if not tokens:
            _ensure_bytes(self)
            return None
        return None if is_byte_vocabulary(tokens) else BpeView.in_gguf(self._file)

    def ends(self) -> tuple[int | None, int | None]:
        return _both([self._file.get(f"tokenizer.ggml.{name}") for name in _IDS], self.stock.rows)

    def source_chat(self) -> SourceChat | None:
        return gguf_chat(self._file)

    def byte_chat(self) -> Chat | None:
        return gguf_byte_chat(self._file)

    def weights(self) -> dict[str, Path]:
        return {"model.gguf": self.path}


def _ensure_bytes(model: Published) -> None:
    """InputError where a model without a tokenizer has other symbols than one of raw bytes."""
    if model.stock.rows != FIRST_SYMBOL:
        raise InputError(
            f"{model.path} holds no tokenizer, and its model has {model.stock.rows:,} symbols where one of raw bytes "
            f"has {FIRST_SYMBOL}: bring its tokenizer there"
        )


def _both(ends: list[Any], tokens: int) -> tuple[int | None, int | None]:
    found = []
    for said in ends:
        ids = said if isinstance(said, list) else [said]
        found.append(next((one for one in ids if isinstance(one, int) and 0 <= one < tokens), None))
    first, last = found
    return (last if first is None else first), (first if last is None else last)
