"""Any model from its folder, as one kind of object: a run, an export of one, a model of transformers, a GGUF file.

A run's folder is enough: the number of its symbols is read from its checkpoint, so the corpus need not be there any
more.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from byteproxy.errors import InputError
from byteproxy.generate.choice import Sampling
from byteproxy.generate.decoder import Engine
from byteproxy.generate.prompt import ChatPrompt
from byteproxy.generate.score import Scored, score
from byteproxy.generate.writer import Generation, Writer
from byteproxy.gguf_file import is_gguf
from byteproxy.interop.card import NOBODY_SAID, Origin
from byteproxy.interop.chat import DEFAULT, Chat
from byteproxy.interop.export_folder import CHECKSUMS
from byteproxy.interop.published import published
from byteproxy.model.hints import HintTokens
from byteproxy.model.lora import merge
from byteproxy.model.network import Transformer
from byteproxy.progress import Progress, announce, silent
from byteproxy.ranges import ensure_bytes
from byteproxy.runs.lineage import LINEAGE, Lineage, published_license, read_lineage
from byteproxy.runs.model_folder import kind_of_model
from byteproxy.runs.run_chat import chat_of_run
from byteproxy.train import checkpoint
from byteproxy.train.compiler import TORCH_DTYPES, device_of
from byteproxy.train.identity import differences, identity
from byteproxy.train.run_config import CHECKPOINTS, read_run_config
from byteproxy.train.train_config import DTYPES, TrainConfig
from byteproxy.train.trainer import model_of
from byteproxy.views.bpe import BpeView

MAX_TRIES = 8
_BYTES = bytes | bytearray | memoryview

T = TypeVar("T")


class RunState(NamedTuple):
    """What only a run has. saved: what its newest checkpoint says beside the tensors."""

    config: TrainConfig
    saved: dict[str, Any]

    @property
    def step(self) -> int:
        """Optimizer steps that its model has taken."""
        return int(self.saved["state"]["step"])


@dataclass(frozen=True)
class LoadedModel:
    """A model that writes, scores and exports.

    path: its folder, or a GGUF file. kind: of that.
    model: with float32 weights, in eval mode.
    context: bytes of text that it sees at once; tokens, where it has a tokenizer.
    tokenizer: of a model of tokens; None: the model reads and writes raw bytes.
    read_lineage: gives `lineage`. engine: computes what it generates, see `decoder`.
    run: configuration and checkpoint of a run; None for other models.
    quantization: types of less than 16 bits in which its weights were stored, such as "Q4_1"; what that lost is lost.
    chat: how a model of raw bytes is talked to; None: it has no chat template.
    """

    path: Path
    kind: Literal["run", "export", "transformers", "gguf"]
    model: Transformer
    context: int
    tokenizer: BpeView | None
    read_lineage: Callable[[], Lineage]
    run: RunState | None = None
    engine: Engine = "auto"
    quantization: str = ""
    chat: Chat | None = None

    @cached_property
    def lineage(self) -> Lineage:
        """What it was trained on, and what it started from; InputError where the file that says it is damaged."""
        return self.read_lineage()

    @cached_property
    def writer(self) -> Writer:
        """What generates; it packs the weights once. InputError for a model of tokens."""
        self._ensure_bytes()
        return Writer(self.model, self.context, self.engine, self.chat.ends if self.chat else ())

    def generate(
        self,
        prompts: str | bytes | ChatPrompt | Sequence[str | bytes | ChatPrompt],
        max_bytes: int = 300,
        sampling: Sampling | None = None,
        stops: Sequence[bytes] = (),
        drafts: Literal["heads", "copy", "both", "none"] = "heads",
    ) -> list[Generation]:
        """Continue prompts as raw bytes; see `generate.writer.Writer.write`.

        Args:
            prompts: One, or several. Text is taken as UTF-8; a chat is what `chat_prompt` gives.
            max_bytes: Bytes to write after each, at most.
            sampling: How bytes are chosen; None: the defaults of `Sampling`.
            stops: Bytes that end what is written, and are left out of it.
            drafts: What guesses the next bytes; the output stays the same.

        Returns:
            What follows each prompt.

        Raises:
            InputError: The model is one of tokens, or the arguments don't fit together.
        """
        sampling = Sampling() if sampling is None else sampling
        return self.writer.write(_prompts(prompts), max_bytes, sampling, stops=stops, drafts=drafts)

    def chat_prompt(self, messages: Sequence[Mapping[str, Any]], template: str = DEFAULT) -> ChatPrompt:
        """A chat as the model reads it, by its own template, up to where it answers.

        What a message says is text: a special token's name in it ends no turn.

        Args:
            messages: Each with "role" ("system", "user" or "assistant") and "content".
            template: Which one, where the model has several.

        Returns:
            A prompt for `generate`.

        Raises:
            InputError: The model has no such template, or it refuses the messages.
        """
        from byteproxy.interop.chat_prompt import chat_prompt

        if self.chat is None:
            raise InputError(
                f"the model in {self.path} has no chat template, so nothing says how it is talked to: give it text to "
                "continue"
            )
        return chat_prompt(self.chat, messages, template)

    def score(
        self,
        texts: str | bytes | Sequence[str | bytes],
        stride: int | None = None,
        prompts: Sequence[str | bytes] | None = None,
        ends: bool = False,
        progress: Progress = silent,
    ) -> Scored:
        """The bits that texts cost the model as raw bytes; see `generate.score.score`.

        Args:
            texts: One, or several. Text is taken as UTF-8.
            stride: Bytes by which windows as long as the context move on; None: half of one.
            prompts: Bytes before each text, which are read and not scored; None: none.
            ends: Score the end of each text, the symbol `</raw>`, too.
            progress: Counts bytes.

        Returns:
            Bits and bytes of each text, and `bpb`, the bits per byte of all.

        Raises:
            InputError: The model is one of tokens, or the arguments don't fit together.
        """
        self._ensure_bytes()
        known = None if prompts is None else _as_bytes("prompts", prompts)
        return score(self.model, _as_bytes("texts", texts), self.context, stride, known, ends, progress)

    def export(self, out: str | Path, gguf: bool = False, origin: Origin = NOBODY_SAID) -> dict[str, Any]:
        """Write a run as a stock model of raw bytes; see `runs.export.export_run`.

        Args:
            out: Folder to write; must not exist.
            gguf: Write `model.gguf`, for llama.cpp, too.
            origin: What the model card says of license, data and language.

        Returns:
            The figures that the card has.

        Raises:
            InputError: This is no run, it uses what no stock architecture has, or `out` can't be written.
        """
        from byteproxy.runs.export import export_run

        return export_run(self, Path(out), gguf, origin)

    def _ensure_bytes(self) -> None:
        if self.tokenizer is not None:
            raise InputError(
                f"the model in {self.path} reads tokens, and raw bytes are asked of it: let it learn them with "
                f"`byteproxy train RECIPE --from {self.path}`"
            )


def load(path: str | Path, dtype: str | None = None, device: str = "auto", engine: Engine = "auto") -> LoadedModel:
    """Load the model of a run (its newest checkpoint), of an export, or one that somebody published.

    That is a Llama, Mistral, Qwen2 or Qwen3, with its tokenizer as a view. Costs a read of the weights, and memory for
    them in float32. The corpus and its views aren't needed.

    Args:
        path: The folder of a run, of an export or of transformers; or a GGUF file, which needs the package gguf.
        dtype: Of activations and products, "float32" or "bfloat16"; None: the run's own, float32 for other models.
        device: "cpu", "cuda", "mps", or "auto" for what is there.
        engine: Computes what is generated; "auto": on a CPU the compiled engine; "torch": the model's own modules.

    Returns:
        The model, ready to write and to score.

    Raises:
        InputError: There is no model, a damaged one, one of another version or architecture, or one that is larger
            than this machine's memory.
    """
    path = Path(path)
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r}: give one of {', '.join(DTYPES)}")
    where = device_of(device)
    if kind_of_model(path) == "run":
        found = of_newest(path, lambda config, newest: _run(path, config, newest, dtype))
    else:
        found = _published(path, dtype or "float32")
    found.model.to(where).eval()
    return replace(found, engine=engine)


def of_newest(folder: Path, read: Callable[[TrainConfig, Path], T]) -> T:
    """What `read` makes of a run's configuration and its newest checkpoint; every reader of runs opens them here.

    A trainer beside it removes checkpoints once it has newer ones. If that happens while one is read, the newest one
    of then is read instead.
    Raises InputError where there is no run or no checkpoint, as `read` does, and where checkpoints go faster than they
    can be read.
    """
    for _ in range(MAX_TRIES):
        config, found = read_run_config(folder), checkpoint.newest(folder / CHECKPOINTS)
        if found is None:
            raise InputError(f"{folder} holds no checkpoint yet: wait for its first one, or train on with --resume")
        try:
            return read(config, found)
        except InputError:
            if not checkpoint.is_gone(found):
                raise
    raise InputError(
        f"{folder} is being trained, and {MAX_TRIES} times its newest checkpoint was removed while it was read: keep "
        "more of them (train with a larger keep), or wait until the run is done"
    )


def _run(folder: Path, config: TrainConfig, found: Path, dtype: str | None) -> LoadedModel:
    _ensure_agreement(folder, config, checkpoint.said(found))  # before a model of that shape is made
    symbols = max(checkpoint.rows(found, name) for name in ("embed_tokens.weight", "lm_head.weight"))
    model = model_of(replace(config, dtype=dtype or config.dtype, attention="auto"), symbols)
    scaffolding = config.scaffolding
    if scaffolding.hints.stay:
        tokens, size = (checkpoint.rows(found, f"hints.{name}") for name in ("end_V", "text_B"))
        model.hints = HintTokens(tokens, size, scaffolding.hints.scale.start)
    saved = checkpoint.load(found, model, [])
    merge(model)
    model.scale_ngrams(scaffolding.ngrams.at(saved["state"]["step"] / config.steps))
    model.settle_ngrams()
    known = Lineage(corpus=config.corpus, fingerprint=saved["corpus"], views=config.views, start=config.start)

    def lineage() -> Lineage:
        return read_lineage(folder) if (folder / LINEAGE).exists() else known

    state, chat = RunState(config, saved), chat_of_run(folder, config)
    return LoadedModel(folder, "run", model, config.shape.context_bytes, None, lineage, state, chat=chat)


def _ensure_agreement(folder: Path, config: TrainConfig, saved: dict[str, Any]) -> None:
    """InputError unless a run's configuration is that of its checkpoint; it may have been made longer since."""
    try:
        found = [one for one in differences(saved["config"], identity(config)) if one.field != "stop"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the newest checkpoint of {folder} doesn't say which run it is of: copy it again") from error
    if found:
        raise InputError(
            f"the config.toml of {folder} is not that of its checkpoint ({found[0]}): copy both of them again"
        )


def _published(path: Path, dtype: str) -> LoadedModel:
    found = published(path)
    if found.quantization:
        announce(f"reading {found.path.name}, whose weights are {found.quantization}: what quantizing lost stays lost")
    model = found.model()
    model.dtype = TORCH_DTYPES[dtype]
    context, tokenizer = found.stock.positions - 1, found.tokenizer()
    chat = found.byte_chat() if tokenizer is None else None
    if is_gguf(found.path):
        license = partial(_with_license, found.path)
        return LoadedModel(
            found.path, "gguf", model, context, tokenizer, license, quantization=found.quantization, chat=chat
        )
    kind: Literal["export", "transformers"] = "export" if (path / CHECKSUMS).is_file() else "transformers"
    return LoadedModel(path, kind, model, context, tokenizer, partial(read_lineage, path), chat=chat)


def _with_license(path: Path) -> Lineage:
    """All that a GGUF file says of its model's past."""
    return Lineage(license=published_license(path))


def _prompts(given: Any) -> list[bytes | ChatPrompt]:
    """Prompts as bytes, and chats as they are; InputError for anything else."""
    several = [given] if isinstance(given, ChatPrompt) else given
    if not isinstance(several, list | tuple) or not any(isinstance(one, ChatPrompt) for one in several):
        return [*_as_bytes("prompts", several)]
    return [one if isinstance(one, ChatPrompt) else _as_bytes("prompts", [one])[0] for one in several]


def _as_bytes(name: str, texts: Any) -> list[bytes]:
    """One text or several, each as bytes; InputError naming what holds anything else."""
    if not isinstance(texts, str | _BYTES | Iterable):
        raise InputError(f"{name} is {texts!r:.60}: give text or bytes, or several of them")
    several = [texts] if isinstance(texts, str | _BYTES) else texts
    try:
        found = [
            one.encode() if isinstance(one, str) else bytes(one) if isinstance(one, _BYTES) else one for one in several
        ]
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} has {error.object!r:.60}, in which character {error.start + 1} is half a surrogate pair: give "
            "text that UTF-8 can say, or bytes"
        ) from error
    ensure_bytes(name, found)
    return found
