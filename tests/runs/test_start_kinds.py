"""Each kind of published model as the start of a run: what it makes of its own tokens stays, and the run goes on."""

import json
from dataclasses import replace

import gguf
import pytest
import torch
from tests.interop.gguf_files import copied
from tests.interop.test_stock import KINDS, LLAMA3, stock
from tests.runs.test_start import RUN, logits
from tests.toy_corpus import toy_documents
from tests.views.bpe.families import qwen2, smollm2
from tests.views.bpe.test_gguf_tokenizer import scores_of, written
from tests.views.bpe.test_sentencepiece import PREPEND, REPLACE, made, metaspace, steps

from byteproxy.corpus.split import SplitOptions
from byteproxy.interop.gguf import GGUF, write_gguf
from byteproxy.interop.llama import load_llama, stock_files
from byteproxy.mixture.schedule import Mixture
from byteproxy.runs.load import load
from byteproxy.runs.start import fitted_to_start, start_from
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.trainer import Trainer, model_of, stream_of
from byteproxy.views.registry import load as load_view

transformers = pytest.importorskip("transformers")

TOKENIZERS = {
    "llama": lambda: made(steps(PREPEND, REPLACE)),
    "mistral": lambda: made(None, metaspace("first", False)),
    "qwen2": qwen2,
    "qwen3": smollm2,
}


@pytest.fixture(scope="module", params=[*KINDS, "gguf", "gguf spm"])
def begun(request, tmp_path_factory):
    """A model with its tokenizer, a corpus in which that is a view, and the run that begins with it."""
    folder = tmp_path_factory.mktemp("kind")
    kind = {"gguf": "qwen2", "gguf spm": "llama"}.get(request.param, request.param)
    content = smollm2() if request.param == "gguf" else TOKENIZERS[kind]()
    tokens = max([*content["model"]["vocab"].values(), *(one["id"] for one in content["added_tokens"])]) + 1
    sizes = {"vocab_size": tokens, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
    rope = {"rope_parameters": LLAMA3} if kind == "llama" and request.param != "gguf spm" else {}
    heads = 8 if request.param == "gguf" else 12  # llama.cpp's qwen2 has no others
    theirs = stock(kind, **sizes, **rope, head_dim=heads, bos_token_id=1, eos_token_id=2)
    theirs.save_pretrained(folder / "model")
    (folder / "model/tokenizer.json").write_text(json.dumps(content))
    path = folder / "model"
    if request.param.startswith("gguf"):
        path = as_gguf(path, content, "spm" in request.param)
    view = load_view(path)
    prepare_documents(toy_documents(), folder / "c", SplitOptions(0.1, 0.2))
    add_view(folder / "c", view)
    store = Store.open(folder / "c")
    asked = replace(RUN, corpus=str(folder / "c"), views=(), mixture=Mixture("paper"), stop="3 steps")
    config = fitted_to_start(asked, store, path)
    return theirs, view, store, config, path


def as_gguf(folder, content, scored):
    """The model and its tokenizer in one file, as llama.cpp's converter makes it."""

    ours, context = load_llama(folder)
    write_gguf(folder / GGUF, stock_files(ours, context, None), "toy")
    written(folder / "vocabulary.gguf", content, "smollm", scores_of(content) if scored else None)
    fields = gguf.GGUFReader(folder / "vocabulary.gguf").fields
    said = {
        name.replace(".", "__"): one.contents() for name, one in fields.items() if name.startswith("tokenizer.ggml")
    }
    said |= {"tokenizer__ggml__bos_token_id": 1, "tokenizer__ggml__eos_token_id": 2}
    return copied(folder / GGUF, folder / "whole.gguf", drop=("tokenizer.ggml.eot", "tokenizer.ggml.pad"), **said)


def test_what_it_makes_of_its_tokens_stays(begun):
    theirs, view, store, config, _ = begun
    stream = stream_of(config, store)
    model = model_of(config, stream.vocab.size)
    start_from(model, stream.vocab, config.start)
    text = toy_documents()[0].text
    tokens = torch.from_numpy(view.encode(text).symbols[:100].astype("int64"))
    with torch.no_grad():
        wanted = theirs(torch.cat((torch.tensor([1]), tokens))[None]).logits[0]
    found = logits(model.eval(), torch.cat((torch.tensor([14]), tokens + 320)))
    known = theirs.config.vocab_size
    torch.testing.assert_close(found[:, 320 : 320 + known], wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 2], wanted[:, 2], rtol=1e-4, atol=1e-4)


def test_the_run_is_kept_gone_on_with_and_exported(begun, tmp_path):
    theirs, _, store, config, path = begun
    trainer = Trainer(config, store, tmp_path / "run", start_from=start_from)
    trainer.step()
    trainer.save()
    going_on = Trainer(config, store, tmp_path / "run", start_from=start_from)
    going_on.step()
    trainer.step()
    for name, tensor in trainer.model.state_dict().items():
        assert torch.equal(tensor, going_on.model.state_dict()[name])
    trainer.save()
    run = load(tmp_path / "run")
    assert run.run.config.start.path == str(path)
    assert run.model.config == config.model
    figures = run.export(tmp_path / "out")
    kind = "llama" if path.suffix == ".gguf" and theirs.config.model_type == "mistral" else theirs.config.model_type
    assert figures["architecture"] == type(theirs).__name__
    assert json.loads((tmp_path / "out/config.json").read_text())["model_type"] == kind
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    symbols = torch.tensor([12, *(64 + byte for byte in b"def main(")])
    with torch.no_grad():
        wanted = again(symbols[None]).logits[0]
    torch.testing.assert_close(logits(run.model, symbols)[:, :320], wanted, rtol=1e-4, atol=1e-4)
    assert load(tmp_path / "out").generate("def ", 5)[0].text is not None
