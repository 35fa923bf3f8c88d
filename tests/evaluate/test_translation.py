"""Translation costs and comes out as a slow reader finds, and a model that learned pairs by heart does it exactly."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.evaluate.passage_forms import documents_of, inputs_of, sampled
from byteproxy.evaluate.retrieval import pooled, retrieval
from byteproxy.evaluate.transfer import saw_pairs, transfer, transfer_figures, transfer_notes
from byteproxy.evaluate.translation import translation_scores
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.runs.with_corpus import Run
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig
from byteproxy.train.trainer import Trainer, model_of
from byteproxy.views.bpe import BpeView
from byteproxy.vocab import EOS, RAW, Vocab, closing, opening

PASSAGES = 16
CONFIG = TrainConfig(
    stop="90 steps",
    views=("bpe-264",),
    compile=False,
    model=ModelConfig(width=48, layers=2, heads=2, ffn=96),
    mixture=Mixture(phases=(Phase(1.0, "pairs", 0.6),), packing="whole"),
    shape=Shape(2, 160, 100),
    optim=OptimConfig(learning_rate=6e-3, weight_decay=0.0),
    checkpoint_seconds=1e9,
)
COMPOSED = replace(
    CONFIG,
    stop="110 steps",
    model=replace(CONFIG.model, inputs="positions", hashed_rows=512, byte_heads=2),
    objective=Objective(symbols=0.0, bytes=1.0),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Documents of one passage each, which differ from their first letters on."""
    rng, folder = random.Random(0), tmp_path_factory.mktemp("corpus")
    letters = "abcdefghijklmnopqrstuvwxyz"
    documents = []
    for number in range(PASSAGES):
        words = ["".join(rng.choices(letters, k=rng.randint(2, 4))) for _ in range(2)]
        text = f"{letters[number]} = {' + '.join(words)}"
        documents.append(Document(f"{number}.py", text.encode(), "toy", f"project{number}"))
    prepare_documents(documents, folder, SplitOptions(0.0, 0.0))
    add_view(folder, BpeView.train((document.text for document in documents), 264))
    return Store.open(folder)


def run_with(model, config, store):
    vocab = Vocab(tuple(store.manifest.view(name).alphabet_size for name in config.views))
    return Run("run", store.path, config, store, vocab, model.eval(), 0)


def random_run(config, store, scale=0.3):
    torch.manual_seed(0)
    model = run_with(model_of(config, Vocab((264,)).size), config, store).model
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return run_with(model, config, store)


@pytest.fixture(scope="module", params=[CONFIG, COMPOSED], ids=["symbols", "composed"])
def learned(request, store, tmp_path_factory):
    trainer = Trainer(request.param, store, tmp_path_factory.mktemp("run"))
    trainer.run()
    return run_with(trainer.model, request.param, store)


def slow(run, prompt, content, representation):
    """Bits of content, one symbol at a time and all before it read anew, among all ids masked by hand."""
    bits, seen = 0.0, list(prompt)
    own = run.vocab.symbol_ids(representation)
    with torch.no_grad():
        for symbol in content:
            logits = run.model.lm_head.weight @ anew(run, seen)[-1]
            masked = torch.full_like(logits, -math.inf)
            masked[:64], masked[own.start : own.stop] = logits[:64], logits[own.start : own.stop]
            bits -= float(masked.double().log_softmax(0)[symbol]) / math.log(2)
            seen.append(symbol)
    return bits


def anew(run, symbols):
    """Hidden states of one document."""
    return run.model.hidden(torch.tensor(symbols), layout_of(np.array([len(symbols)])))


def slow_writing(run, prompt, most, representation):
    """What a model writes that takes the most probable symbol each time, ended or after `most` symbols."""
    found, seen = [], list(prompt)
    own = run.vocab.symbol_ids(representation)
    choices = [closing(representation), EOS, *own]
    with torch.no_grad():
        while len(found) < most:
            logits = run.model.lm_head.weight[choices] @ anew(run, seen)[-1]
            symbol = choices[int(logits.argmax())]
            if symbol < 64:
                return found, True
            found.append(symbol)
            seen.append(symbol)
    return found, False


def prompts(passage, context, representation):
    """A document up to the sentinel that opens its last segment, written out by hand."""
    if context is None:
        return [opening(representation)]
    return [opening(context), *passage.forms[context].ids.tolist(), closing(context), opening(representation)]


@pytest.mark.parametrize(("context", "target"), [(None, RAW), (None, 1), (1, RAW), (RAW, 1)])
def test_bits_are_those_of_a_slow_reader(store, monkeypatch, context, target):
    monkeypatch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", 100)
    run = random_run(CONFIG, store)
    passages = sampled(run, "train", 9)
    found = translation_scores(run, passages, [target] if context is None else [context, target])
    for passage, bits in zip(passages, found.bits, strict=True):
        content = passage.forms[target].ids.tolist()
        assert bits == pytest.approx(slow(run, prompts(passage, context, target), content, target), rel=1e-4)
    assert found.content.tolist() == [len(passage.forms[target].ids) for passage in passages]


@pytest.mark.parametrize(("context", "target"), [(1, RAW), (RAW, 1)])
def test_exact_is_what_writing_symbol_by_symbol_gives(learned, context, target):
    """Among passages by heart and, with a model shaken a little, half forgotten."""
    if target == 1 and not learned.config.objective.symbols:
        pytest.skip("predicts no symbols")
    if learned.config.model.composed:
        pytest.skip("read without a spelling, a unit has no bytes")
    passages = sampled(learned, "train", 8)
    kept = {name: tensor.clone() for name, tensor in learned.model.state_dict().items()}
    rates = []
    for shaken in (0.0, 0.01, 0.015, 0.02):
        torch.manual_seed(1)
        learned.model.load_state_dict({name: one + shaken * torch.randn_like(one) for name, one in kept.items()})
        found = translation_scores(learned, passages, [context, target])
        for number, passage in enumerate(passages):
            content = passage.forms[target].ids.tolist()
            text, ended = slow_writing(learned, prompts(passage, context, target), len(content) + 16, target)
            assert found.exact[number] == (ended and text == content)
            right = next((at for at, one in enumerate(content) if text[at : at + 1] != [one]), len(content))
            assert found.right[number] == right
        rates.append(found.exact.mean())
    learned.model.load_state_dict(kept)
    assert rates[0] == 1
    assert any(0 < rate < 1 for rate in rates), rates


def test_a_model_that_knows_nothing_pays_for_every_row(store):
    run = run_with(model_of(CONFIG, Vocab((264,)).size), CONFIG, store)  # its head starts at zero
    passages = sampled(run, "train", 5)
    sizes = np.array([len(passage.text) for passage in passages])
    symbols = np.array([len(passage.forms[1].ids) for passage in passages])
    assert translation_scores(run, passages, [1, RAW]).bits == pytest.approx(sizes * math.log2(320), rel=1e-5)
    assert translation_scores(run, passages, [RAW, 1]).bits == pytest.approx(symbols * math.log2(328), rel=1e-5)


def test_learned_pairs_are_translated_and_found(learned):
    found = transfer(learned, sampled(learned, "train", PASSAGES))
    figures = transfer_figures(learned, found)
    view = figures["views"]["bpe-264"]
    assert figures["passages"] == PASSAGES
    assert view["translated_exact"] == view["translated_right"] == 1
    assert view["translated_bpb"] < 0.2 < figures["raw_bpb"]
    found_first = [max(view["retrieval"][way]) for way in ("raw_to_view", "view_to_raw")]
    if learned.config.model.composed:  # both forms read the same rows of bytes
        assert found_first == [1, 1]
    if learned.config.objective.symbols:
        assert view["reverse_exact"] == 1
        assert view["reverse_bpb"] < 0.2 < view["view_bpb"]
        assert figures["transfer_gap"] == pytest.approx(figures["raw_bpb"] - view["view_bpb"])
    else:
        assert {view["reverse_exact"], view["reverse_bpb"], view["view_bpb"], figures["transfer_gap"]} == {None}
        assert "predicts no symbols" in " ".join(transfer_notes([learned], [found]))


def test_an_untrained_model_is_at_chance(store):
    run = random_run(CONFIG, store, scale=0.02)
    figures = transfer_figures(run, transfer(run, sampled(run, "train", PASSAGES)))
    view = figures["views"]["bpe-264"]
    assert view["translated_exact"] == view["reverse_exact"] == 0
    for way in ("raw_to_view", "view_to_raw"):
        shares = view["retrieval"][way]
        assert len(shares) == 1 + CONFIG.model.layers
        assert max(shares) <= 5 / PASSAGES, "of 16, one is chance, and five are seldom (under 1 in 200)"
    assert view["retrieval"]["chance"] == 1 / PASSAGES


def test_forms_that_read_the_same_bytes_are_found(store):
    """Rows of symbols made by hand, each the sum of its bytes' rows: both means point the same way."""
    run, strings = random_run(CONFIG, store), store.view("bpe-264").strings
    with torch.no_grad():
        table = run.model.embed_tokens.weight
        for symbol in range(264):
            table[320 + symbol] = table[[64 + byte for byte in strings[symbol]]].sum(0)
    passages = sampled(run, "train", PASSAGES)
    raw, view = (pooled(run, passages, representation) for representation in (RAW, 1))
    counts = np.array([len(passage.text) / len(passage.forms[1].ids) for passage in passages])
    assert view[0] == pytest.approx(raw[0] * counts[:, None], rel=1e-4, abs=1e-6)
    assert retrieval(raw[:1] * counts[:, None], view[:1]) == ([1.0], [1.0])


def test_states_are_means_over_content_alone(store, monkeypatch):
    """Those of the inputs are rows of the table; those of the last layer what a model makes that reads by itself."""
    run = random_run(CONFIG, store)
    passages = sampled(run, "train", 7)
    whole = pooled(run, passages, 1)
    monkeypatch.setattr("byteproxy.model.attention.layout.MAX_POSITIONS_PER_PASS", 40)
    parts = pooled(run, passages, 1)
    assert parts == pytest.approx(whole, abs=1e-5)
    for number, passage in enumerate(passages):
        ids = torch.from_numpy(passage.forms[1].ids)
        table = run.model.embed_tokens(ids).mean(0).detach().numpy()
        assert whole[0, number] == pytest.approx(table, abs=1e-5)
    passage = passages[0]
    symbols = [opening(1), *passage.forms[1].ids.tolist()]
    with torch.no_grad():
        seen = []
        run.model.layers[-1].register_forward_hook(lambda _, given, after: seen.append(after))
        anew(run, symbols)
    assert whole[2, 0] == pytest.approx(seen[-1][1:].mean(0).numpy(), abs=1e-4)


def test_states_are_those_of_the_model_whatever_its_places_count(store):
    """What the last norm is given when the model itself reads the document."""
    model = replace(COMPOSED.model, rope_positions="bytes")
    run, seen = random_run(replace(COMPOSED, model=model), store), []
    passage = sampled(run, "train", 5)[0]
    run.model.norm.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    documents = documents_of([passage], [1])
    with torch.no_grad():
        run.model.hidden(*inputs_of(run, documents))
    content = seen[0][documents.predicting + 1].mean(0).numpy()
    assert pooled(run, [passage], 1)[-1, 0] == pytest.approx(content, abs=1e-5)


def test_retrieval_of_states_made_by_hand():
    """Found where the other form points the same way from the mean; a common offset and lengths don't matter."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(1, 6, 8))
    same = 3 * raw + 100
    assert retrieval(raw, same) == ([1.0], [1.0])
    swapped = same[:, [1, 0, 2, 3, 4, 5]]
    assert retrieval(raw, swapped) == ([pytest.approx(4 / 6)], [pytest.approx(4 / 6)])
    one_wins = same.copy()
    one_wins[0, 1] = same[0, 0] + 1e-3 * rng.normal(size=8)  # two candidates for the first, none for the second
    there, back = retrieval(raw, one_wins)
    assert back[0] == pytest.approx(5 / 6)
    assert there[0] <= 5 / 6
    constant = np.ones((1, 6, 8))
    assert retrieval(raw, constant) == ([pytest.approx(1 / 6)], [pytest.approx(1 / 6)])


@pytest.mark.parametrize(
    ("phases", "seen"),
    [
        ((Phase(1.0, "pairs", 0.5),), True),
        ((Phase(0.5, "pairs", 0.0, 0.5), Phase(0.5, "one", 0.9)), True),
        ((Phase(1.0, "one", 0.5),), False),
        ((Phase(1.0, "pairs", 1.0),), False),
        ((Phase(0.0, "pairs", 0.5), Phase(1.0, "one", 0.5)), False),
        ((Phase(1.0, "parallel", 0.5),), False),
        ((Phase(1.0, "one", 0.0),), False),
    ],
)
def test_who_saw_pairs(store, phases, seen):
    config = replace(CONFIG, mixture=Mixture(phases=phases))
    run = random_run(config, store)
    assert saw_pairs(run) == seen
    found = transfer(run, sampled(run, "train", 4))
    notes = " ".join(transfer_notes([run], [found]))
    shows = any(phase.share and (phase.rate or phase.rate_end) for phase in phases)
    assert ("never saw pairs" in notes) == (shows and not seen)
    assert ("no compressed text" in notes) == (not shows)
    assert bool(transfer_figures(run, found)["views"]) == shows
