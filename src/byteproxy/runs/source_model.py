"""The published model that a conversion or a study begins with: found, looked at before it is loaded, and remembered.

It is a folder with `config.json`, weights as safetensors and `tokenizer.json`; a GGUF file; or `hf:ORG/NAME` and
`hf:ORG/NAME/FILE.gguf`, which are fetched into the Hub's own cache first. Looking at it costs a read of its config and
its tokenizer, and remembering it a pass over its weights, for their hash.
"""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from byteproxy.errors import InputError
from byteproxy.interop import hub
from byteproxy.interop.export_folder import CHECKSUMS
from byteproxy.interop.gguf_model import ROPE_FACTORS
from byteproxy.interop.published import published
from byteproxy.interop.tokenizer import TOKENIZER
from byteproxy.model.model_config import ModelConfig
from byteproxy.runs.lineage import license_of, published_license, recorded
from byteproxy.runs.model_folder import CONVERSION, kind_of_model
from byteproxy.train.train_config import Start
from byteproxy.views.bpe import BpeView

HUB = "hf:"


@dataclass(frozen=True)
class SourceModel:
    """Which model a conversion or a study begins with.

    given: as it was named. path: where it is. revision: of the Hub, empty for others. weights, tokenizer, chat:
    SHA-256, as a run records its start. license: that its file or model card names. quantization: types of its weights
    of less than 16 bits, whose precision is lost; empty if there are none.
    """

    given: str
    path: str
    revision: str
    weights: str
    tokenizer: str
    chat: str
    license: str
    quantization: str

    @property
    def start(self) -> Start:
        """The same as the start of a run."""
        return Start(self.path, self.weights, self.tokenizer, self.chat)

    @property
    def hub_name(self) -> str:
        """Its name on the Hub, ORG/NAME, if that is where it came from."""
        return hub.hub_name(self.given.removeprefix(HUB)).repository if self.given.startswith(HUB) else ""

    def written(self) -> dict[str, Any]:
        """What `source.json` says."""
        return asdict(self)


class Described(NamedTuple):
    """What a model is, of its config and its tokenizer.

    tokens: rows of its tables. quantization: types of its weights of less than 16 bits; empty if it has none.
    """

    path: Path
    shape: ModelConfig
    tokens: int
    view: BpeView
    quantization: str


@dataclass(frozen=True)
class FoundModel:
    """A model at its place. revision: of the Hub, empty for others."""

    given: str
    path: Path
    revision: str = ""

    @cached_property
    def described(self) -> Described:
        """What it is; InputError where it can't be converted, saying why."""
        return described(self.path)

    def remembered(self) -> SourceModel:
        """The same with its hashes; InputError where a file of it can't be read."""
        start = recorded(self.path)
        license, quantization = published_license(self.path), self.described.quantization
        if self.revision and not license:
            license = license_of(self.path.parent)  # the card beside a GGUF file
        hashes = start.weights, start.tokenizer, start.chat
        return SourceModel(self.given, str(self.path), self.revision, *hashes, license, quantization)


def named(model: str) -> str:
    """A model as a conversion's settings keep it: a path absolute, so that it doesn't depend on where one stands."""
    if not model:
        raise InputError("no model is named: name a folder, a GGUF file, or hf:ORG/NAME")
    return model if model.startswith(HUB) else str(Path(model).expanduser().absolute())


def find(model: str, plan_into: Path | None = None) -> FoundModel:
    """The model that was named; what lies on the Hub is fetched.

    plan_into: a folder for what a plan needs of a file on the Hub; with it nothing is fetched that a plan can do
        without, and what is found has no weights.
    Raises InputError where there is none, or it can't be fetched.
    """
    if model.startswith(HUB):
        name = model.removeprefix(HUB)
        fetched = hub.fetch(name) if plan_into is None else hub.look_at(name, plan_into, (ROPE_FACTORS,))
        return FoundModel(model, fetched.path, fetched.revision)
    path = Path(model)
    if not path.exists():
        raise InputError(
            f"there is no model {path}: name a folder, a GGUF file, or hf:ORG/NAME on the Hugging Face Hub"
        )
    return FoundModel(model, path)


def find_again(known: SourceModel) -> SourceModel:
    """The model that was begun with, where it is now; InputError where it isn't there, or is another now."""
    path = Path(known.path)
    if not path.exists() and known.hub_name:
        path = hub.fetch(known.given.removeprefix(HUB), known.revision).path
    if not path.exists():
        raise InputError(f"{path}, the model that was begun with, is not there: bring it back")
    if recorded(path) != replace(known.start, path=str(path)):
        raise InputError(
            f"the model in {path} is not the one that was begun with (its weights, config or tokenizer "
            "differ): bring that one back, or give another --out"
        )
    return replace(known, path=str(path))


def described(path: Path) -> Described:
    """What the model in a folder or a GGUF file is; InputError where it can't be converted, saying why."""
    _ensure_model(path)
    model = published(path)
    stock = model.stock
    if not model.tokenizer_file.is_file():
        raise InputError(
            f"{path} holds no {TOKENIZER}, and a model is converted by what it knows of its tokens: put its own there"
        )
    view = model.tokenizer()
    if view is None:
        raise InputError(
            f"the model in {path} reads raw bytes already, so there is nothing to convert: use it as it is"
        )
    own = view.own_bytes
    known = max((number + 1 for number, one in enumerate(view.strings) if one and number not in own), default=0)
    if stock.rows < known:
        raise InputError(
            f"the model in {path} has {stock.rows:,} tokens and its tokenizer {known:,}: it is another model's; put "
            "its own one there"
        )
    return Described(path, stock.shape, stock.rows, view, model.quantization)


def _ensure_model(path: Path) -> None:
    """InputError for folders of ours that hold models of bytes; whether another one holds a model is seen later."""
    if (path / CONVERSION).is_file():
        raise InputError(f"{path} is a conversion, whose result reads raw bytes already: name the model it began with")
    if (path / CHECKSUMS).is_file():
        raise InputError(f"{path} is an export, which reads raw bytes already: name the model of tokens it came from")
    if kind_of_model(path) == "run":
        raise InputError(
            f"{path} is a run of byteproxy, which reads raw bytes already: name a model of tokens, or train on with it "
            "by `byteproxy train --resume`"
        )
