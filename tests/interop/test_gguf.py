"""The GGUF file against two readers of it: the gguf package and llama.cpp itself (`make llama`)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.interop import llama_cpp
from tests.toy_corpus import toy_documents

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.generate.writer import Generation, Writer
from byteproxy.interop.gguf import GGUF, write_gguf
from byteproxy.interop.llama import stock_files
from byteproxy.interop.tokenizer import SPECIAL_NAMES
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig, RopeScaling
from byteproxy.model.network import Transformer
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer

LLAMA = ModelConfig(width=64, layers=3, heads=4, key_value_heads=2, ffn=96, rope_theta=500.0, norm_epsilon=1e-4)
ENDS = [2, 13]
CONTEXT = 255
TEXTS = ["def main(", "\u00e9t\u00e9 \U0001f600 \u4e2d", "a <raw> b </raw> <eos> !", "", " a  ?\r\n\tb 's ."]


def ids(text):
    return [12, *(64 + byte for byte in text.encode())]


def logits(model, symbols):
    """The model without a cache: float32 [320]."""
    with torch.no_grad():
        hidden = model.hidden(torch.tensor(symbols), layout_of(np.array([len(symbols)])))
        return (hidden @ model.lm_head.weight[:320].T)[-1].numpy()


def file_of(model, folder):
    path = folder / GGUF
    write_gguf(path, stock_files(model, CONTEXT), "toy")
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["llama", "qwen3"])
def shape(request):
    return replace(LLAMA, qk_norm=request.param)


@pytest.fixture(scope="module")
def written(shape, tmp_path_factory):
    torch.manual_seed(0)
    model = Transformer(shape, 1320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model, file_of(model, tmp_path_factory.mktemp("gguf"))


def test_the_library_reads_every_tensor_and_field(written):
    gguf = pytest.importorskip("gguf")
    model, path = written
    reader = gguf.GGUFReader(path)
    kind = "qwen3" if model.config.qk_norm else "llama"
    said = {name: field.contents() for name, field in reader.fields.items()}
    assert said["general.architecture"] == kind
    assert said[f"{kind}.context_length"] == 256
    assert said[f"{kind}.rope.freq_base"] == 500.0
    assert said["tokenizer.ggml.tokens"][:64] == list(SPECIAL_NAMES)
    assert said["tokenizer.ggml.token_type"] == [3] * 64 + [1] * 256
    assert said["tokenizer.ggml.merges"] == []  # llama.cpp refuses a file without the field
    found = {tensor.name: tensor for tensor in reader.tensors}
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[kind.upper()], 3)
    for name, tensor in model.state_dict().items():
        theirs = names.get_name(name if name == "lm_head.weight" else f"model.{name}", (".weight",))
        ours = tensor[:320] if name in ("lm_head.weight", "embed_tokens.weight") else tensor
        data = found.pop(theirs).data
        if kind == "llama" and ("q_proj" in name or "k_proj" in name):
            ours, data = np.sort(ours, axis=0), np.sort(data, axis=0)  # the order is llama.cpp's to judge
        np.testing.assert_array_equal(data, ours)
    assert not found


def needs_llama_cpp():
    if not llama_cpp.FOLDER:
        pytest.skip("LLAMA_CPP names no folder with llama.cpp's libraries: make llama")


def loaded(path):
    needs_llama_cpp()
    return llama_cpp.Model(path, CONTEXT + 1)


@pytest.fixture(scope="module")
def theirs(written):
    return loaded(written[1])


@pytest.mark.parametrize("text", TEXTS)
def test_llama_cpp_reads_a_text_as_its_bytes_and_gives_it_back(theirs, text):
    assert theirs.tokenize(text.encode()) == ids(text)
    assert theirs.tokenize(text.encode(), add_special=False) == ids(text)[1:]
    assert theirs.text(ids(text)[1:]) == text.encode()


def test_llama_cpp_takes_a_special_for_one_only_if_asked(theirs):
    assert theirs.tokenize(b"<raw>a", add_special=False, parse_special=True) == [12, 64 + ord("a")]
    assert theirs.ends() == ENDS


@pytest.mark.parametrize(
    "options",
    [
        {"attention_biases": "qkv"},
        {"attention_biases": "all"},
        {"head_dim": 32},
        {"head_dim": 32, "qk_norm": True},
        {"rope_scaling": RopeScaling("linear", 2.5)},
        {"rope_scaling": RopeScaling("linear", 2.5), "attention_biases": "qkv"},
        {"rope_scaling": RopeScaling("llama3", 8.0, 1.0, 4.0, 64)},
    ],
)
def test_llama_cpp_has_our_logits_with_each_option(options, tmp_path):
    torch.manual_seed(0)
    model = Transformer(replace(LLAMA, **options), 320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    read = ids("def main(x, y):\n    return 12\n" * 4)
    ours = logits(model, read)
    assert np.abs(loaded(file_of(model, tmp_path)).logits(read) - ours).max() / np.abs(ours).max() < 1e-4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"attention_biases": "qkv", "rope_scaling": RopeScaling("llama3", 8.0)},
            r"\"llama3\", which llama\.cpp has in a",
        ),
        ({"attention_biases": "qkv", "head_dim": 32}, r"model\.head_dim is not model\.width / model\.heads"),
        ({"attention_biases": "all", "qk_norm": True}, r"model\.attention_biases and model\.qk_norm are both on"),
    ],
)
def test_what_llama_cpp_has_not_is_refused(options, said, tmp_path):
    with pytest.raises(InputError, match=said):
        file_of(Transformer(replace(LLAMA, **options), 320), tmp_path)
    assert not list(tmp_path.iterdir())


def greedy(model, theirs, text):
    """The ids that both write after a text, the best of all 320 each time, up to 60 or one that ends a text."""
    read = ids(text)
    symbols, got = list(read), theirs.logits(read)
    while len(symbols) < len(read) + 60 and symbols[-1] not in ENDS:
        ours = logits(model, symbols)
        assert np.abs(got - ours).max() / np.abs(ours).max() < 1e-4
        best = int(ours.argmax())
        assert got.argmax() == best
        symbols.append(best)
        got = theirs.logits([best], fresh=False)
    return symbols[len(read) :]


def test_llama_cpp_has_our_logits_and_writes_our_ids(written, theirs):
    found = {symbol for text in TEXTS for symbol in greedy(written[0], theirs, text)}
    assert min(found) < 64  # random weights write specials, too


@pytest.fixture(scope="module")
def trained(shape, tmp_path_factory):
    """A model that has read some functions, each a document, and llama.cpp with its file."""
    needs_llama_cpp()
    folder = tmp_path_factory.mktemp("trained")
    texts = [text for document in toy_documents() for text in document.text.split(b"\n\n")]
    documents = [Document(f"{number}.py", text, "toy", str(number)) for number, text in enumerate(texts)]
    prepare_documents(documents, folder / "c", SplitOptions(0.1, 0.1))
    config = TrainConfig(
        stop="60 steps",
        corpus=str(folder / "c"),
        model=replace(shape, layers=2),
        mixture=BYTES,
        shape=Shape(8, 128, 126),
        validation=Validation(0),
        compile=False,
    )
    trainer = Trainer(config, Store.open(folder / "c"), folder / "run")
    while trainer.state.step < config.steps:
        trainer.step()
    model = trainer.model.eval()
    return model, loaded(file_of(model, folder))


@pytest.mark.parametrize(
    "text", ["def path_name(value):\n    name =", "def main(", "", "\u00e9 <raw>", "    return size"]
)
def test_after_training_too_and_text_and_end_are_ours(trained, text):
    model, theirs = trained
    found = greedy(model, theirs, text)
    end = "model" if found[-1] in ENDS else "budget"
    written = bytes(symbol - 64 for symbol in found if symbol not in ENDS)  # and no other special
    assert Writer(model, CONTEXT).write([text.encode()], 60) == [Generation(written, end)]


def test_what_was_trained_writes_a_function_and_ends_it(trained):
    found = greedy(*trained, "def main(")
    assert found[-1] == 13
    assert b"    return " in bytes(symbol - 64 for symbol in found[:-1])
