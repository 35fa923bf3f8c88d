"""Writing bytes: against transformers' `generate` on the same weights, several bytes a pass against one, and scoring.

`vs_transformers`: bytes a second, ours one by one over `LlamaForCausalLM.generate` on the exported model (float32, 20
million parameters, random weights: the time does not depend on them), greedy, a prompt of 64 bytes, 64 bytes written,
end symbols not taken on their side; the fastest counts of its default cache, the static one, and that compiled.
`vs_llama_cpp`: the same model and prompts, plain decoding, over llama.cpp's library with the same weights as GGUF, in
float32 and in bfloat16, and as many threads. Both sides read the prompts and choose greedily. The faster of llama.cpp's
defaults (flash attention, keys and values in float16) and its exact settings (neither) counts. `make llama` fetches the
library; LLAMA_CPP names another folder. `heads_vs_llama_cpp`: the model of `multibyte_vs_plain` over llama.cpp's plain
decoding, temperature 0: `heads` with its byte heads, `plain` without.
`multibyte_vs_plain`: a model of 3 million parameters with 7 further byte heads, trained here for 120 steps of 4,096
positions on the standard library, or the model of the run that the environment variable BYTEPROXY_BENCH_RUN names,
writes after held-out prompts; copying is off. Outputs with under 50 % distinct
8-grams are left out, from both sides, and counted: who repeats himself is easily guessed.
`vs_tokens`: the same model's bytes a second, temperature 0.7, over those of a model of BPE tokens with the same trunk,
whose weights are random; bytes per token are those of held-out text.
`score_vs_train_forward`: positions a second of `score` over those of the training forward pass with its loss, both
uncompiled, on the same windows and as many at once, in the order in which they come there: of `long` texts, and of
`short` ones of 16 to 320 bytes, mixed, these over the pass on long ones too; `score_padding`: the share of what
attention computes in scoring that is padding.
Sides alternate; a ratio is the median over rounds, with the quartiles beside it.
"""

import copy
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import torch

from byteproxy.corpus.split import SplitOptions
from byteproxy.corpus.stdlib import read_stdlib
from byteproxy.errors import InputError
from byteproxy.generate.choice import Sampling
from byteproxy.generate.cpu.product import Matrix
from byteproxy.generate.decoder import Decoder
from byteproxy.generate.drafts import Drafts
from byteproxy.generate.score import score, windows_over
from byteproxy.generate.writer import Writer
from byteproxy.interop.gguf import write_gguf
from byteproxy.interop.llama import export_llama, stock_files
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.attention.layout import MAX_POSITIONS_PER_PASS, Layout, layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Batch, Transformer
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, targets_of
from byteproxy.runs.load import load
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.compiler import TORCH_DTYPES, is_failure
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import FIRST_SYMBOL, Vocab, byte_ids

CONTEXT = 512
PROMPT = 64
WRITTEN = {"vs_transformers": 64, "multibyte_vs_plain": 192}
ROUNDS = 5
STEPS = 120
TOKENS = 4096
SHAPE = ModelConfig(width=512, layers=6, heads=8, ffn=1408)
TRAINED = ModelConfig(width=256, layers=4, heads=4, ffn=704, byte_heads=8, byte_head_ngrams=(2, 3, 4, 5))


def measure(say: Callable[[str], None]) -> dict:
    """Figures of this machine."""
    figures: dict = {"torch": torch.__version__}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say("prepare a corpus ...")
        prepare_documents(read_stdlib(), folder / "corpus", SplitOptions(0.05, 0.1))
        store = Store.open(folder / "corpus")
        texts = [one.text for one in store.documents("validation") if len(one.text) > 2 * PROMPT][:40]
        say("beside transformers ...")
        figures["vs_transformers"] = _against_transformers(folder / "model", texts, say)
        say(str(figures))
        say("beside llama.cpp ...")
        prompts = [text[:PROMPT] for text in texts]
        figures["vs_llama_cpp"] = _against_llama_cpp(_random(), CONTEXT, prompts, 64, say)
        model, context = _with_heads(store, folder / "run", say)
        varied = _varied(Writer(model, context), prompts[:32], Sampling(0.0))
        figures["heads_vs_llama_cpp"] = _against_llama_cpp(model, context, varied, 192, say, heads=True)
        say("several bytes a pass ...")
        figures |= _several(model, context, texts)
        say(str(figures))
        say("beside a model of tokens ...")
        train_texts = [one.text for one in store.documents("train")]
        figures["vs_tokens"] = _against_tokens(model, context, train_texts, texts)
        say(str(figures))
        say("score ...")
        figures |= _scoring(Transformer(replace(TRAINED, byte_heads=1, byte_head_ngrams=()), FIRST_SYMBOL), texts)
    return figures


def _with_heads(store: Store, folder: Path, say: Callable[[str], None]) -> tuple[Transformer, int]:
    """A model with byte heads and its context: of the run in BYTEPROXY_BENCH_RUN, or trained here."""
    if run := os.environ.get("BYTEPROXY_BENCH_RUN"):
        say(f"read {run} ...")
        saved = load(run, "float32", "cpu")
        return saved.model, saved.context
    say("train a model with byte heads ...")
    trainer = Trainer(_training(store), store, folder)
    while trainer.state.step < STEPS:
        trainer.step()
    model = Transformer(TRAINED, FIRST_SYMBOL)
    model.load_state_dict(trainer.model.state_dict())
    return model.eval(), CONTEXT


def _training(store: Store) -> TrainConfig:
    return TrainConfig(
        stop=f"{STEPS} steps",
        corpus=str(store.path),
        model=TRAINED,
        mixture=BYTES,
        shape=Shape(8, CONTEXT, CONTEXT - 2),
        validation=Validation(0),
        compile=False,
        checkpoint_seconds=1e9,
    )


def _against_transformers(folder: Path, texts: list[bytes], say: Callable[[str], None]) -> dict:
    from transformers import LlamaForCausalLM

    model = _random()
    export_llama(model, CONTEXT, folder)
    theirs, compiled = (LlamaForCausalLM.from_pretrained(folder).eval() for _ in range(2))
    compiled.forward = torch.compile(compiled.forward)
    ours, most = Writer(model, CONTEXT), WRITTEN["vs_transformers"]
    ratios = {}
    for batch in (1, 8):
        prompts = [text[:PROMPT] for text in texts[:batch]]
        ids = torch.tensor([[12, *byte_ids(prompt)] for prompt in prompts])

        def generate(cache: str, model: LlamaForCausalLM = theirs, ids: torch.Tensor = ids) -> None:
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=most,
                min_new_tokens=most,
                pad_token_id=0,
                cache_implementation=cache,
            )
            assert found.shape[1] == ids.shape[1] + most

        sides = {
            "ours": lambda prompts=prompts: ours.write(prompts, most, drafts="none"),
            "static": lambda: generate("static"),
            "dynamic": lambda: generate("dynamic"),
            "compiled": lambda: generate("static", compiled),
        }
        try:
            sides["compiled"]()
        except Exception as error:
            if not is_failure(error):
                raise
            say(f"transformers can't be compiled here: {error}")
            del sides["compiled"]
        seconds = _alternate(sides)
        rates = {side: batch * most / float(np.median(taken)) for side, taken in seconds.items()}
        best = max(sides.keys() - {"ours"}, key=rates.__getitem__)
        ratios[f"b{batch}"] = _ratio(seconds[best], seconds["ours"]) | {
            "theirs": best,
            "bytes_s": {side: round(rate, 1) for side, rate in rates.items()},
        }
    return ratios


def _random() -> Transformer:
    """A model of random weights that ends no text."""
    torch.manual_seed(0)
    model = Transformer(SHAPE, FIRST_SYMBOL)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        model.lm_head.weight[:64] = 0
    return model


def _against_llama_cpp(
    model: Transformer, context: int, prompts: list[bytes], most: int, say: Callable[[str], None], heads: bool = False
) -> dict:
    """Bytes a second over those of llama.cpp with the same weights, by number format and batch.

    heads: let further byte heads guess, too.
    """
    if not llama_cpp.FOLDER:
        say("LLAMA_CPP names no folder with llama.cpp's libraries: make llama")
        return {}
    figures: dict = {}
    with tempfile.TemporaryDirectory() as name:
        files = {"float32": Path(name) / "float32.gguf", "bfloat16": Path(name) / "bfloat16.gguf"}
        try:
            write_gguf(files["float32"], stock_files(model, context), "bench")
        except InputError as error:
            say(f"this model is no stock one: {error}")
            return {}
        llama_cpp.as_bfloat16(files["float32"], files["bfloat16"])
        for dtype, file in files.items():
            own = copy.deepcopy(model)
            own.dtype = TORCH_DTYPES[dtype]
            for batch in (1, 8):
                if len(prompts) >= batch:
                    found = _beside_llama_cpp(Writer(own, context), file, prompts[:batch], most, heads)
                    figures.setdefault(dtype, {})[f"b{batch}"] = found
    return figures


def _beside_llama_cpp(writer: Writer, file: Path, prompts: list[bytes], most: int, heads: bool) -> dict:
    ids = [[12, *byte_ids(prompt).tolist()] for prompt in prompts]
    theirs = {
        name: llama_cpp.Writer(file, len(prompts), 1 + PROMPT + most, torch.get_num_threads(), name == "exact")
        for name in ("default", "exact")
    }
    written = {name: len(prompts) * most for name in theirs}

    def write(name: str, drafts: Drafts) -> None:
        writer.write(prompts, most, Sampling(0.0), drafts=drafts)
        written[name] = writer.counts.bytes

    sides: dict[str, Callable[[], object]] = {"plain": lambda: write("plain", "none")}
    if heads:
        sides["heads"] = lambda: write("heads", "heads")
    for name, one in theirs.items():
        sides[name] = lambda one=one: one.write(ids, most)
    rates = {name: written[name] / seconds for name, seconds in _alternate(sides).items()}
    best = max(theirs, key=lambda name: float(np.median(rates[name])))
    figures: dict = {"theirs": best, "bytes_s": {name: round(float(np.median(one)), 1) for name, one in rates.items()}}
    figures["same_texts"] = sum(
        bytes(max(0, one - 64) for one in theirs_.tolist()).startswith(ours.text)
        for ours, theirs_ in zip(
            writer.write(prompts, most, Sampling(0.0)), theirs["exact"].write(ids, most), strict=True
        )
    )
    return figures | {side: _ratio(rates[side], rates[best]) for side in sides if side not in theirs}


def _varied(writer: Writer, prompts: list[bytes], sampling: Sampling) -> list[bytes]:
    """Those prompts after which what is written doesn't repeat itself."""
    written = writer.write(prompts, WRITTEN["multibyte_vs_plain"], sampling, drafts="none")
    return [prompt for prompt, one in zip(prompts, written, strict=True) if _distinct(one.text) >= 0.5]


def _several(model: Transformer, context: int, texts: list[bytes]) -> dict:
    writer, most = Writer(model, context), WRITTEN["multibyte_vs_plain"]
    figures: dict = {"multibyte_vs_plain": {}, "accepted_bytes_per_pass": {}, "left_out": {}}
    for temperature in (0.0, 0.7):
        sampling = Sampling(temperature)
        prompts = [text[:PROMPT] for text in texts[:32]]
        kept = _varied(writer, prompts, sampling)
        key = f"t{temperature}"
        figures["left_out"][key] = len(prompts) - len(kept)
        for batch in (1, 8):
            if len(kept) < batch:
                continue
            rounds = [kept[batch * turn % (len(kept) - batch + 1) :][:batch] for turn in range(ROUNDS + 1)]
            seconds: dict[str, list[float]] = {"plain": [], "heads": []}
            total = steps = 0
            for turn, some in enumerate(rounds):
                for drafts in ("none", "heads"):
                    begin = time.perf_counter()
                    writer.write(some, most, sampling, drafts=drafts)
                    taken = time.perf_counter() - begin
                    if turn:
                        seconds["plain" if drafts == "none" else "heads"].append(taken)
                total, steps = total + writer.counts.bytes, steps + writer.counts.steps
            name = f"b{batch}_{key}"
            figures["multibyte_vs_plain"][name] = _ratio(np.array(seconds["plain"]), np.array(seconds["heads"]))
            figures["accepted_bytes_per_pass"][name] = round(total / steps, 3)
    return figures


def _against_tokens(model: Transformer, context: int, train_texts: list[bytes], texts: list[bytes]) -> dict:
    """Bytes a second over those of the same trunk with a vocabulary of tokens, which is random: time is the same.

    Its step is ours, a pass and the larger of all logits, without what else a library does.
    """
    view = BpeView.train(iter(train_texts), TOKENS)
    encoded = view.encode_batch(texts)
    per_symbol = sum(map(len, texts)) / sum(len(one.symbols) for one in encoded)
    config = model.config
    trunk = ModelConfig(
        config.width, config.layers, config.heads, config.key_value_heads, config.ffn, qk_norm=config.qk_norm
    )
    tokens = Transformer(trunk, TOKENS).eval()
    most = WRITTEN["multibyte_vs_plain"]
    figures: dict = {"tokens": TOKENS, "bytes_per_token": round(per_symbol, 3)}
    writer, logits = Writer(model, context), Matrix(tokens.lm_head.weight.detach())
    for batch in (1, 8):
        prompts = [text[:PROMPT] for text in texts[:batch]]
        wanted = round(most / per_symbol)
        decoder = Decoder(tokens, batch, wanted + PROMPT)

        def write_tokens(batch: int = batch, decoder: Decoder = decoder, wanted: int = wanted) -> None:
            for document in range(batch):
                decoder.take_back(document, 0)
            hidden_BND = decoder.read(np.zeros((batch, round(PROMPT / per_symbol)), np.int64))
            for _ in range(wanted):
                best_B = logits(hidden_BND[:, -1]).argmax(-1)
                hidden_BND = decoder.read(best_B[:, None].numpy())

        written = {"plain": 0, "heads": 0}

        def write(drafts: Drafts, prompts: list[bytes] = prompts, written: dict = written) -> None:
            writer.write(prompts, most, Sampling(0.7), drafts=drafts)
            written[drafts if drafts == "heads" else "plain"] = writer.counts.bytes

        with torch.inference_mode():
            seconds = _alternate(
                {"tokens": write_tokens, "plain": lambda: write("none"), "heads": lambda: write("heads")}
            )
        rate = batch * wanted * per_symbol / seconds["tokens"]
        figures[f"b{batch}"] = {"tokens_bytes_s": round(float(np.median(rate)), 1)}
        for side in ("plain", "heads"):
            ours = written[side] / seconds[side]
            figures[f"b{batch}"] |= {f"{side}_bytes_s": round(float(np.median(ours)), 1), side: _ratio(ours, rate)}
    return figures


def _distinct(text: bytes) -> float:
    """The share of 8-grams that are not there twice or more, each counted once."""
    grams = [text[at : at + 8] for at in range(len(text) - 7)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _scoring(model: Transformer, texts: list[bytes]) -> dict:
    long = [text[:2000] for text in texts[:10]]
    ends = np.cumsum(np.random.default_rng(0).integers(16, 321, 120)).tolist()
    text = b"".join(texts)
    short = [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    layouts: dict[str, list[Layout]] = {"long": [], "short": []}
    reading: list[Layout] = []

    def scored(name: str, some: list[bytes]) -> None:
        reading.clear()
        score(model, some, CONTEXT, CONTEXT)
        layouts[name] = list(reading)

    sides: dict[str, Callable[[], object]] = {}
    for name, some in (("long", long), ("short", short)):
        sides[name] = lambda name=name, some=some: scored(name, some)
        sides[f"{name}_forward"] = _train_forward(model, some)
    hook = model.layers[0].register_forward_pre_hook(lambda _, given: reading.append(given[1].layout))
    seconds = _alternate(sides)
    hook.remove()
    figures = {"score_vs_train_forward": {}, "score_padding": {}}
    for name in ("long", "short"):
        figures["score_vs_train_forward"][name] = _ratio(seconds[f"{name}_forward"], seconds[name])
        computed = sum(bucket.documents * bucket.length for one in layouts[name] for bucket in one.buckets)
        figures["score_padding"][name] = round(1 - sum(sum(one.lengths) for one in layouts[name]) / computed, 4)
    as_short = seconds["long_forward"] * sum(map(len, short)) / sum(map(len, long))
    figures["score_vs_train_forward"]["short_vs_long_forward"] = _ratio(as_short, seconds["short"])
    return figures


def _train_forward(model: Transformer, texts: list[bytes]) -> Callable[[], None]:
    """The training forward pass with its loss over windows of texts as they come, as many at once as scoring reads."""
    windows = windows_over([len(text) for text in texts], CONTEXT, CONTEXT)
    sizes = windows.end - windows.start
    batch_of = np.cumsum(sizes) // MAX_POSITIONS_PER_PASS
    ids = byte_ids(b"".join(texts)).copy()
    steps = []
    for batch in np.unique(batch_of):
        own = torch.from_numpy(ids[np.repeat(batch_of, sizes) == batch])
        steps.append((own, layout_of(sizes[batch_of == batch]), Positions(own, own, torch.zeros_like(own))))

    def forward() -> None:
        with torch.no_grad():
            for own, layout, shown in steps:
                model(Batch(own, layout, targets_of(model.config, shown, Vocab(), Objective(), 0.0)))

    return forward


def _alternate(sides: dict[str, Callable[[], object]]) -> dict[str, np.ndarray]:
    """Seconds of each side in turn, float64 [rounds], after one round of all to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(ROUNDS + 1):
        for name, call in sides.items():
            begin = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in seconds.items()}


def _ratio(one: np.ndarray, other: np.ndarray) -> dict:
    low, median, high = np.quantile(one / other, (0.25, 0.5, 0.75))
    return {"median": round(float(median), 3), "quartiles": [round(float(low), 3), round(float(high), 3)]}
