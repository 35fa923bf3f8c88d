"""A chat model that learned bytes: what its run keeps, and its exports, as transformers and llama.cpp take them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.cli.commands import in_process, last_object, refusal
from tests.interop import llama_cpp
from tests.interop.chats import FIRST, SPECIALS, TEMPLATE, chat_tokenizer
from tests.toy_corpus import toy_documents

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.interop.llama import export_llama
from byteproxy.interop.published import published
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.runs.load import load
from byteproxy.runs.start import fitted_to_start, start_from
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.train_config import Start, TrainConfig, Validation
from byteproxy.train.trainer import model_of
from byteproxy.training import train
from byteproxy.vocab import Vocab

transformers = pytest.importorskip("transformers")
pytest.importorskip("gguf")

SENTINELS = {"<|im_end|>": 3, "<|end_of_text|>": 4, "<|im_start|>": 5}
HELLO = [{"role": "user", "content": "def main("}]
SHAPE = ModelConfig(width=32, layers=1, heads=2, ffn=64)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A chat model of tokens, a run that began with it, and the export of that, all side by side."""
    folder = tmp_path_factory.mktemp("chat")
    view = chat_tokenizer(folder / "source")
    torch.manual_seed(0)
    model = Transformer(SHAPE, FIRST + len(SPECIALS))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    export_llama(model, 200, folder / "source", rows=None)
    config = json.loads((folder / "source/config.json").read_text())
    (folder / "source/config.json").write_text(json.dumps(config | {"bos_token_id": FIRST, "eos_token_id": FIRST + 2}))
    prepare_documents(toy_documents(30), folder / "c", SplitOptions(0.05, 0.0))
    add_view(folder / "c", view)
    asked = TrainConfig(
        stop="2 steps",
        corpus=str(folder / "c"),
        compile=False,
        dtype="float32",
        start=Start(str(folder / "source")),
        mixture=Mixture("paper"),
        shape=Shape(2, 256, 100),
        validation=Validation(0),
    )
    train(asked, folder / "run")
    load(folder / "run").export(folder / "out", gguf=True)
    (folder / "gguf").mkdir()
    (folder / "out/model.gguf").rename(folder / "gguf/model.gguf")
    listed = json.loads((folder / "out/byteproxy.json").read_text())
    listed["files"].pop("model.gguf")
    (folder / "out/byteproxy.json").write_text(json.dumps(listed))
    return folder, asked


def test_sentinels_begin_as_the_tokens_that_they_stand_for(made):
    folder, asked = made
    store = Store.open(folder / "c")
    config = fitted_to_start(asked, store, folder / "source")
    vocab = Vocab((store.manifest.views[0].alphabet_size,))
    model, stock = model_of(config, vocab.size), published(folder / "source").model()
    start_from(model, vocab, config.start)
    for ours, theirs in ((model.embed_tokens, stock.embed_tokens), (model.lm_head, stock.lm_head)):
        for name, special in SENTINELS.items():
            assert torch.equal(ours.weight[special], theirs.weight[FIRST + SPECIALS.index(name)])
        assert torch.equal(ours.weight[2], theirs.weight[FIRST + 2])  # eos


def test_run_and_exports_have_the_same_chat_and_give_the_same_answer(made):
    folder, _ = made
    found = [load(folder / name) for name in ("run", "out", "gguf")]
    assert found[0].chat.sentinels == SENTINELS
    assert found[0].chat.templates == {"default": TEMPLATE}
    assert found[1].chat == found[2].chat == found[0].chat
    answers = [model.generate([model.chat_prompt(HELLO), "def main("], 40) for model in found]
    assert answers[0] == answers[1] == answers[2]


def test_transformers_reads_and_answers_as_we_do(made):
    folder, _ = made
    ours = load(folder / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "out")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "out", dtype=torch.float32)
    read = tokenizer.apply_chat_template(HELLO, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    assert read.input_ids[0].tolist() == ours.chat_prompt(HELLO).ids.tolist()
    config = model.generation_config
    assert config.eos_token_id == [2, 13, 3, 4]
    assert sorted([*config.suppress_tokens, 2, 3, 4, 13]) == list(range(64))
    ids = model.generate(**read, max_new_tokens=40, do_sample=False, suppress_tokens=[*config.suppress_tokens, 2, 13])[
        0, read.input_ids.shape[1] :
    ]
    (answer,) = ours.generate(ours.chat_prompt(HELLO), 40)
    assert bytes(number - 64 for number in ids.tolist() if number >= 64) == answer.text


def test_llama_cpp_has_the_same_specials_and_ends(made):
    if not llama_cpp.FOLDER:
        pytest.skip("LLAMA_CPP names no folder with llama.cpp's libraries: make llama")
    theirs = llama_cpp.Model(made[0] / "gguf/model.gguf", 101)
    assert theirs.ends() == [2, 3, 4, 13]
    text = "<|begin|><|im_start|>user\nHi<|im_end|>\n".replace("<|begin|>", "<raw>")
    wanted = [12, 5, *(64 + byte for byte in b"user\nHi"), 3, 64 + 10]
    assert theirs.tokenize(text.encode(), add_special=False, parse_special=True) == wanted


def test_a_chat_from_the_command_line(made, monkeypatch, capsys):
    byteproxy = in_process(monkeypatch, capsys)
    options = ("--temperature", "0", "--max-bytes", "30", "--json")
    found = last_object(byteproxy("generate", made[0] / "out", "--chat", "--prompt", "def main(", *options))
    ours = load(made[0] / "out")
    (answer,) = ours.generate(ours.chat_prompt(HELLO), 30)
    assert (found["bytes"], found["ended"]) == (len(answer.text), answer.ended)
    told = last_object(
        byteproxy("generate", made[0] / "out", "--chat", "--system", "x", "--prompt", "def main(", *options)
    )
    with_system = ours.chat_prompt([{"role": "system", "content": "x"}, *HELLO])
    assert told["bytes"] == len(ours.generate(with_system, 30)[0].text)
    assert "give --chat too" in refusal(byteproxy("generate", made[0] / "out", "--system", "x"))
    assert "give one of them" in refusal(byteproxy("generate", made[0] / "run", "--chat", "--view", "x"))


def test_a_run_without_its_chat_is_refused(made, tmp_path):
    shutil.copytree(made[0] / "run", tmp_path / "run")
    (tmp_path / "run/chat.json").unlink()
    with pytest.raises(InputError, match=r"chat\.json, the chat format of its start, is missing"):
        load(tmp_path / "run")


def test_a_model_without_a_template_has_no_chat(made, tmp_path):
    export_llama(load(made[0] / "out").model, 100, tmp_path)
    with pytest.raises(InputError, match="has no chat template"):
        load(tmp_path).chat_prompt(HELLO)


def test_another_template_is_another_start(made, tmp_path):
    shutil.copytree(made[0] / "source", tmp_path / "source")
    before = published(tmp_path / "source").source_chat()
    (tmp_path / "source/chat_template.jinja").write_text("another")
    after = published(tmp_path / "source").source_chat()
    assert before.fingerprint == published(made[0] / "source").source_chat().fingerprint != after.fingerprint
    assert replace(before, templates={"default": "another"}).fingerprint == after.fingerprint
    assert np.unique([before.fingerprint, after.fingerprint]).size == 2
