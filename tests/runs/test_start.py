"""A model of tokens that learns to read bytes: what it knew of tokens stays, and bytes come on top."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.cli.commands import in_process, refusal
from tests.toy_corpus import toy_documents, toy_store

from byteproxy.config import to_toml
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.generate.score import score
from byteproxy.interop.llama import export_llama, load_llama
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.runs.lineage import recorded
from byteproxy.runs.load import load
from byteproxy.runs.start import fitted, fitted_to_start, start_from
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.identity import ensure_same_run, identity
from byteproxy.train.train_config import Start, TrainConfig, Validation
from byteproxy.train.trainer import Trainer, model_of, stream_of
from byteproxy.views.bpe import BpeView

SHAPE = ModelConfig(width=48, layers=2, heads=4, key_value_heads=2, ffn=96)
RUN = TrainConfig(
    stop="60 steps",
    compile=False,
    views=("bpe-300",),
    model=SHAPE,
    mixture=Mixture("symbols"),
    shape=Shape(8, 256, 120),
    validation=Validation(0),
)
BOS, EOS = 300, 301


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A corpus, and a Llama of its tokens that was trained here, as transformers would keep it with its tokenizer."""
    folder = tmp_path_factory.mktemp("start")
    store, view = toy_store(folder / "c")
    arm = Trainer(replace(RUN, corpus=str(folder / "c")), store, folder / "arm")
    arm.run()
    tokens = Transformer(SHAPE, 302)
    rows = [*range(320, 620), 14, 2]
    state = {
        name: tensor[rows] if name in ("embed_tokens.weight", "lm_head.weight") else tensor
        for name, tensor in arm.model.state_dict().items()
    }
    tokens.load_state_dict(state)
    export_llama(tokens, 200, folder / "llama", rows=None)
    config = json.loads((folder / "llama/config.json").read_text())
    (folder / "llama/config.json").write_text(json.dumps({**config, "bos_token_id": BOS, "eos_token_id": [EOS]}))
    view.save(folder / "llama/tokenizer.json")
    return folder, store, view


def config_of(made):
    folder, store, _ = made
    changes = {"views": (), "model": ModelConfig(byte_heads=2), "mixture": Mixture("paper")}
    asked = replace(RUN, corpus=str(folder / "c"), **changes)
    return fitted_to_start(asked, store, folder / "llama")


def begun(made):
    config = config_of(made)
    stream = stream_of(config, made[1])
    torch.manual_seed(config.seed)
    model = model_of(config, stream.vocab.size)
    start_from(model, stream.vocab, config.start)
    return model.eval(), stream


def logits(model, symbols):
    with torch.no_grad():
        return model.hidden(symbols, layout_of(np.array([len(symbols)]))) @ model.lm_head.weight.T


def test_what_it_makes_of_compressed_text_stays(made):
    folder, _, view = made
    model, _ = begun(made)
    stock = pytest.importorskip("transformers").LlamaForCausalLM.from_pretrained(folder / "llama", dtype=torch.float32)
    tokens = torch.from_numpy(view.encode(toy_documents()[0].text).symbols[:150].astype(np.int64))
    with torch.no_grad():
        wanted = stock(torch.cat((torch.tensor([BOS]), tokens))[None]).logits[0]
    found = logits(model, torch.cat((torch.tensor([14]), tokens + 320)))
    torch.testing.assert_close(found[:, 320:], wanted[:, :300], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 2], wanted[:, EOS], rtol=1e-4, atol=1e-4)
    assert wanted.std() > 0.5


def test_its_folder_is_loaded_as_a_model_of_tokens(made):
    folder, _, view = made
    loaded = load(folder / "llama")
    assert (loaded.kind, loaded.context, loaded.run) == ("transformers", 200, None)
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.fingerprint == view.fingerprint
    for ask in (lambda: loaded.generate("x"), lambda: loaded.score("x")):
        with pytest.raises(InputError, match=r"reads tokens, and raw bytes are asked of it.*--from"):
            ask()
    with pytest.raises(InputError, match="holds no run but a stock model already"):
        loaded.export(folder / "never")


def test_bytes_begin_as_the_tokens_of_one_byte(made):
    model, _ = begun(made)
    stock, _ = load_llama(made[0] / "llama")
    strings = made[2].strings
    for ours, theirs in ((model.embed_tokens, stock.embed_tokens), (model.lm_head, stock.lm_head)):
        for byte in range(256):
            assert torch.equal(ours.weight[64 + byte], theirs.weight[strings.index(bytes([byte]))])
        assert torch.equal(ours.weight[12], theirs.weight[BOS])
        assert torch.equal(ours.weight[13], theirs.weight[EOS])
        torch.testing.assert_close(ours.weight[0], theirs.weight[:300].mean(0))


def test_weights_go_where_the_model_is(made):
    """Into its type, as onto a device: an assignment by a list of rows takes values of its own type and device only."""
    config = config_of(made)
    vocab = stream_of(config, made[1]).vocab
    model = model_of(config, vocab.size).to(torch.float64)
    start_from(model, vocab, config.start)
    expected, _ = begun(made)
    for name in ("embed_tokens.weight", "lm_head.weight"):
        torch.testing.assert_close(model.state_dict()[name].float(), expected.state_dict()[name])


def test_rows_of_bytes_begin_as_they_are_told(made):
    folder, store, view = made
    config, stock = config_of(made), load_llama(folder / "llama")[0]
    tables = {}
    for how in ("single", "first_byte", "random"):
        asked = fitted_to_start(replace(config, start=Start(byte_rows=how)), store, folder / "llama")
        assert asked.start == replace(config.start, byte_rows=how)
        torch.manual_seed(0)
        model = model_of(asked, stream_of(asked, store).vocab.size)
        fresh = model.embed_tokens.weight[64:320].clone()
        start_from(model, stream_of(asked, store).vocab, asked.start)
        tables[how] = model.embed_tokens.weight.detach()
        assert torch.equal(model.embed_tokens.weight[64:320], fresh) == (how == "random")
    for byte in (b"a", b"\n", b"\xff"):
        tokens = [number for number, string in enumerate(view.strings) if string.startswith(byte)]
        mean = stock.embed_tokens.weight[tokens].mean(0)
        torch.testing.assert_close(tables["first_byte"][64 + byte[0]], mean)
    others = [row for row in range(len(tables["single"])) if not 64 <= row < 320]
    for how in ("first_byte", "random"):
        assert torch.equal(tables[how][others], tables["single"][others]), "only rows of bytes differ"


def test_rows_of_bytes_decide_a_run_and_older_runs_had_the_usual_ones(made):
    config = config_of(made)
    older = identity(config).replace('byte_rows = "single"\n', "")
    assert "byte_rows" not in older
    ensure_same_run(older, config, 0, made[0])
    with pytest.raises(InputError, match=r"start\.byte_rows is 'single' there and 'random' here"):
        ensure_same_run(older, replace(config, start=replace(config.start, byte_rows="random")), 0, made[0])
    with pytest.raises(InputError, match="begins with no model whose tokens have rows"):
        fitted(replace(RUN, start=Start(byte_rows="random")), made[1], print)
    with pytest.raises(InputError, match=r"start\.byte_rows is 'last'"):
        Start(byte_rows="last")


def test_training_teaches_it_bytes(made, tmp_path):
    """And what `--resume` would begin with is what was imported."""
    _, store, _ = made
    texts = [document.text for document in store.documents("validation")]
    before, _ = begun(made)
    config = config_of(made)
    trainer = Trainer(config, store, tmp_path / "run", start_from=start_from)
    trainer.save()
    kept = load(tmp_path / "run").model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.state_dict().items())
    trainer.run()
    was, now = (score(one.eval(), texts, 120, 60).bpb for one in (before, trainer.model))
    assert now < was - 1


@pytest.fixture
def byteproxy(monkeypatch, capsys):
    return in_process(monkeypatch, capsys)


def test_the_command_begins_with_it_and_resumes(byteproxy, made, tmp_path):
    folder, _, _ = made
    recipe = tmp_path / "tiny.toml"
    short = replace(RUN, stop="2 steps", views=(), model=ModelConfig(), mixture=Mixture("paper"))
    recipe.write_text(to_toml(replace(short, corpus=str(folder / "c"))))
    status, _, stderr = byteproxy("train", recipe, "--from", folder / "llama", "--out", tmp_path / "run")
    assert status == 0, stderr
    run = load(tmp_path / "run")
    assert (run.run.config.model, run.run.config.views) == (SHAPE, ("bpe-300",))
    assert run.lineage.start == run.run.config.start == recorded(folder / "llama")
    assert f"--from {folder / 'llama'}" in run.lineage.command
    stock, _ = load_llama(folder / "llama")
    assert (run.model.norm.weight - stock.norm.weight).abs().max() < 0.1
    assert (run.model.embed_tokens.weight[320:] - stock.embed_tokens.weight[:300]).abs().mean() < 0.05
    assert sorted(path.name for path in (tmp_path / "run/checkpoints").iterdir()) == ["step-000000", "step-000002"]
    (tmp_path / "other").mkdir()
    said = refusal(byteproxy("train", recipe, "--from", tmp_path / "other", "--out", tmp_path / "more"))
    assert "holds no tokenizer.json" in said


def test_raw_bytes_alone_go_on_with_it_and_say_what_they_cost(byteproxy, made, tmp_path):
    folder, recipe = made[0], tmp_path / "tiny.toml"
    for mixture, says in (("bytes", True), ("paper", False)):
        short = replace(RUN, stop="1 steps", corpus=str(folder / "c"), views=(), mixture=Mixture(mixture))
        recipe.write_text(to_toml(short))
        status, said, stderr = byteproxy("train", recipe, "--from", folder / "llama", "--out", tmp_path / mixture)
        assert status == 0, stderr
        told = "forgets its tokens; the recipe convert shows it both"
        assert (told in " ".join(said.split())) == says
    assert load(tmp_path / "bytes").generate("def ", max_bytes=3)


def test_what_does_not_belong_together_is_refused(made, tmp_path):
    folder, store, view = made
    for model, named in ((ModelConfig(inputs="mean"), "model.inputs"), (ModelConfig(soft_cap=9.0), "model.soft_cap")):
        with pytest.raises(InputError, match=named):
            fitted_to_start(replace(RUN, model=model), store, folder / "llama")
    other = BpeView.train([document.text for document in toy_documents(seed=1)], 280)
    other.save(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match=r"no view that is the tokenizer.*--view"):
        fitted_to_start(RUN, store, tmp_path)
    view.save(tmp_path / "tokenizer.json")
    with pytest.raises(InputError, match="no model that can be read"):
        fitted_to_start(RUN, store, tmp_path)
    export_llama(Transformer(SHAPE, 290), 200, tmp_path, rows=None)
    config = fitted_to_start(replace(RUN, corpus=str(folder / "c")), store, tmp_path)
    stream = stream_of(config, store)
    with pytest.raises(InputError, match="290 tokens, its tokenizer 300"):
        start_from(model_of(config, stream.vocab.size), stream.vocab, config.start)


def test_bytes_without_a_token_begin_as_the_mean_of_the_others(made, tmp_path):
    """As SmolLM2, whose vocabulary lacks 21 bytes. Their symbols come behind all of its tokens."""
    folder, _, view = made
    content = json.loads(view.tokenizer_json)
    for symbol in ("\u0121", "\u00c0", "\u00ff"):
        del content["model"]["vocab"][symbol]
    content["added_tokens"] = [{"id": number, "content": f"<{number}>", "special": True} for number in (BOS, EOS)]
    shutil.copytree(folder / "llama", tmp_path / "llama")
    (tmp_path / "llama/tokenizer.json").write_text(json.dumps(content))
    smaller = BpeView.load(tmp_path / "llama/tokenizer.json")
    assert list(smaller.own_bytes) == [302, 303, 304]
    prepare_documents(toy_documents(), tmp_path / "c", SplitOptions(0.1, 0.2))
    add_view(tmp_path / "c", smaller)
    store = Store.open(tmp_path / "c")
    asked = replace(RUN, corpus=str(tmp_path / "c"), views=(), mixture=Mixture("paper"))
    config = fitted_to_start(asked, store, tmp_path / "llama")
    stream = stream_of(config, store)
    model = model_of(config, stream.vocab.size)
    start_from(model, stream.vocab, config.start)
    stock, _ = load_llama(tmp_path / "llama")
    bytes_of = {byte: smaller.byte_symbols[byte] for byte in range(256)}
    for table, their_table in ((model.embed_tokens, stock.embed_tokens), (model.lm_head, stock.lm_head)):
        ours, theirs = table.weight, their_table.weight
        known = [symbol for symbol in bytes_of.values() if symbol not in smaller.own_bytes]
        mean = theirs[known].mean(0)
        for byte, symbol in bytes_of.items():
            wanted = mean if symbol in smaller.own_bytes else theirs[symbol]
            torch.testing.assert_close(ours[64 + byte], wanted)
            torch.testing.assert_close(ours[320 + symbol], wanted)
