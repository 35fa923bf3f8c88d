"""A published model with its tokenizer as the start of a proxy run: an existing model learns to read bytes.

The tokenizer, a BPE, is a view of the corpus. The model's tables become the rows of that view's symbols, so
compressed text costs it what it did before; its layers are taken as they are. Bytes get rows of their own, which begin
as those of the tokens of one byte (`start.byte_rows` has other beginnings, to compare with). A byte that the tokenizer
has no token for begins, as a byte and as a symbol, as the mean of those that have one. Opening sentinels begin as the
model's bos, closing ones and eos as its eos, those of a chat as the special tokens that they stand for
(`interop.source_chat`). A chat model's eos is often the end of an answer. Two rows or three begin alike then, as no
file says which other token ended plain text. All other specials begin as the mean of all tokens, which changes the
distribution least (Hewitt, "Initializing New Word Embeddings for Pretrained Language Models", 2021). Tables that a
stock model has not (further heads, n-grams) begin as in any run, at zero.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from byteproxy.errors import InputError
from byteproxy.interop.published import published
from byteproxy.mixture.loader import first_view
from byteproxy.model.lora import take_new_rows
from byteproxy.model.model_config import SHAPE_FIELDS, ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.progress import Stage, quietly
from byteproxy.runs.lineage import recorded
from byteproxy.runs.model_folder import tokenizer_of
from byteproxy.store.store import Store
from byteproxy.train.compiler import device_of
from byteproxy.train.train_config import ByteRows, Start, TrainConfig, ensure_reads_tokens, ensure_starts_anew
from byteproxy.train.trainer import model_of
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import EOS, FIRST_BYTE, SPECIALS, Vocab, closing, opening


def fitted(config: TrainConfig, store: Store, tell: Callable[[str], None]) -> TrainConfig:
    """A new run's configuration with its views, and with the shape of the model that it begins with, if there is one.

    Where no view is named and one is needed, it is the corpus's first aligned one, of which `tell` hears.
    Raises InputError where the store lacks a view, or the start doesn't fit.
    """
    if config.start.path:
        config = fitted_to_start(config, store, Path(config.start.path))
        if not config.mixture.needs_view:
            tell(
                f"Training on raw bytes only: the model in {config.start.path} forgets its tokens; the recipe convert "
                "shows it both"
            )
    else:
        ensure_starts_anew(config)
    for name in config.views:
        store.manifest.view(name)
    if config.views or not config.mixture.needs_view:
        return config
    views = first_view(config.mixture, store.manifest)
    tell(f"Training on raw bytes and the view {views[0]}, the first aligned one of {store.path}; --views names another")
    return replace(config, views=views)


def fitted_to_start(config: TrainConfig, store: Store, path: Path) -> TrainConfig:
    """A run's configuration with the shape of a published model, and with the view that is its tokenizer first.

    path: of its folder or GGUF file. The configuration names it as its start, with checksums.
    Raises InputError if the corpus has no such view, or the configuration asks for what would not be that model.
    """
    ensure_reads_tokens(config, str(path))
    view = BpeView.load(tokenizer_of(path))
    found = [entry.name for entry in store.manifest.views if entry.fingerprint == view.fingerprint]
    if not found:
        raise InputError(
            f"{store.path} has no view that is the tokenizer of {path}: prepare the corpus with "
            f"--view {tokenizer_of(path)}"
        )
    shape = published(path).stock.shape
    others = tuple(name for name in config.views if name != found[0])
    start = replace(recorded(path), byte_rows=config.start.byte_rows)
    return replace(with_shape(config, shape), views=(found[0], *others), start=start)


def with_shape(config: TrainConfig, shape: ModelConfig) -> TrainConfig:
    """A run's configuration with all of a stock model's shape; what a stock model has not stays as it is."""
    model = replace(config.model, **{name: getattr(shape, name) for name in SHAPE_FIELDS})
    return replace(config, model=model)


def started_model(config: TrainConfig, vocab: Vocab, stage: Stage = quietly) -> Transformer:
    """The model that training begins with, with float32 weights, in eval mode on the run's device.

    config: of a run with a start, fitted to it.
    """
    with stage("load the model", "models") as progress:
        torch.manual_seed(config.seed)  # as the run does, for what begins at random
        model = model_of(replace(config, dtype="float32"), vocab.size)
        start_from(model, vocab, config.start)
        progress(1, 1)
    return model.to(device_of(config.device)).eval()


@torch.no_grad()
def start_from(model: Transformer, vocab: Vocab, start: Start) -> None:
    """Give a run's model, whose first view is the tokenizer, the weights of the model that it begins with.

    Raises InputError if they are not of its shape, or not those that were recorded; see `fitted_to_start`.
    """
    path = Path(start.path)
    if not path.exists():
        raise InputError(
            f"{path}, the model that the run begins with, is not there: bring it back, or say where it is with "
            "--from PATH"
        )
    if replace(recorded(path), byte_rows=start.byte_rows) != start:
        raise InputError(
            f"the model in {path} is not the one that the run was begun with (its weights, config.json or tokenizer "
            "differ): say where that one is with --from PATH, or begin a new run"
        )
    begun_with = published(path)
    view, stock = BpeView.load(tokenizer_of(path)), begun_with.model()
    tokens, symbols = len(stock.embed_tokens.weight), vocab.symbol_ids(1)
    own = view.own_bytes
    known = max(number + 1 for number, string in enumerate(view.strings) if string and number not in own)
    if tokens < known or len(symbols) != view.alphabet_size:
        raise InputError(
            f"the model in {path} has {tokens} tokens, its tokenizer {known} and the run's first view "
            f"{len(symbols)} with those of bytes that have none: give a folder in which they belong together"
        )
    single = _tokens_of_bytes(view, "single", tokens)
    of_bytes = _tokens_of_bytes(view, start.byte_rows, tokens)
    bos, eos = begun_with.ends()
    chat = begun_with.source_chat()
    own_specials = {} if chat is None else chat.sentinel_tokens(vocab.representations, tokens)
    tensors = model.state_dict()
    for name, tensor in stock.state_dict().items():
        if name not in ("embed_tokens.weight", "lm_head.weight", "byte_heads.weight", "head_ngram_bias.weight"):
            tensors[name].copy_(tensor)
    for table_VD, theirs_VD in (
        (model.embed_tokens.weight, stock.embed_tokens.weight),
        (model.lm_head.weight, stock.lm_head.weight),
    ):
        theirs_VD = theirs_VD.to(table_VD)  # where the model is, which assignments by lists of rows don't do
        mean_D = theirs_VD[:known].mean(0)
        mean_of_bytes_D = theirs_VD[[found[0] for found in single.values()]].mean(0) if single else mean_D
        first_D, last_D = (mean_D if end is None else theirs_VD[end] for end in (bos, eos))
        table_VD[:SPECIALS] = mean_D
        table_VD[[opening(number) for number in range(vocab.representations)]] = first_D
        table_VD[[EOS, *(closing(number) for number in range(vocab.representations))]] = last_D
        table_VD[[*own_specials]] = theirs_VD[[*own_specials.values()]]
        if start.byte_rows != "random":
            table_VD[FIRST_BYTE : FIRST_BYTE + 256] = mean_of_bytes_D
        for byte, found in of_bytes.items():
            table_VD[FIRST_BYTE + byte] = theirs_VD[found].mean(0)
        table_VD[symbols.start : symbols.stop] = mean_of_bytes_D
        table_VD[symbols.start : symbols.start + known] = theirs_VD[:known]
    take_new_rows(model)


def _tokens_of_bytes(view: BpeView, byte_rows: ByteRows, tokens: int) -> dict[int, list[int]]:
    """The tokens whose rows a byte's begins as the mean of, by byte; a byte is missing where there are none.

    tokens: how many the model has.
    """
    if byte_rows == "random":
        return {}
    own = view.own_bytes
    if byte_rows == "single":
        return {byte: [symbol] for byte, symbol in enumerate(view.byte_symbols) if symbol not in own}
    found: dict[int, list[int]] = {}
    for symbol, string in enumerate(view.strings[:tokens]):
        if string and symbol not in own:
            found.setdefault(string[0], []).append(symbol)
    return found
