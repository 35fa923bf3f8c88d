"""What a run measures while it trains, against the two scores it is made of, and where there is less to measure."""

from dataclasses import replace

import pytest
import torch
from tests.toy_corpus import toy_store

from byteproxy.errors import InputError
from byteproxy.evaluate.bpb import view_bpb
from byteproxy.evaluate.compressors import ppmd_bpb, xz_bpb, zstd_bpb
from byteproxy.evaluate.held_out import held_out_texts
from byteproxy.evaluate.validation import validate_with
from byteproxy.generate.score import score
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import BYTES, Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective
from byteproxy.store.encode import add_view
from byteproxy.store.store import Store
from byteproxy.train.metrics import read
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer, model_of, stream_of
from byteproxy.views import registry

CONFIG = TrainConfig(
    stop="6 steps",
    compile=False,
    views=("bpe-300", "nibbles"),
    model=ModelConfig(width=32, layers=2, heads=2, ffn=64),
    shape=Shape(2, 256, 100),
    validation=Validation(1500, 400, 0),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    toy_store(folder)
    add_view(folder, registry.build("nibbles", lambda: ()).view, spec="nibbles")
    return Store.open(folder)


def measured(config, store):
    torch.manual_seed(0)
    model = model_of(config, stream_of(config, store).vocab.size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model, validate_with(config, store)(model)


def test_figures_are_those_of_both_scores(store):
    model, figures = measured(CONFIG, store)
    vocab = stream_of(CONFIG, store).vocab
    texts = held_out_texts(store, "validation", 1500, 400)
    assert figures["raw_bpb"] == score(model, texts, 100, 50).bpb
    bpe, nibbles = (
        view_bpb(model, vocab, number, store.view(name), texts, 100, 50).bpb
        for number, name in ((1, "bpe-300"), (2, "nibbles"))
    )
    assert figures["view_bpb"] == {"bpe-300": bpe, "nibbles": nibbles}
    assert figures["transfer_gap"] == pytest.approx(figures["raw_bpb"] - (bpe + nibbles) / 2)
    assert len({figures["raw_bpb"], bpe, nibbles}) == 3


def test_it_says_how_much_text_it_measured_and_what_compressors_make_of_it(store):
    texts = held_out_texts(store, "validation", 1500, 400)
    compressors = {"xz": xz_bpb(texts), "zstd": zstd_bpb(texts), "ppmd": ppmd_bpb(texts)}
    assert measured(CONFIG, store)[1]["validation_text"] == {
        "bytes": sum(map(len, texts)),
        "documents": len(texts),
        "compressors": compressors,
    }


def test_a_stride_of_its_own_is_used(store):
    config = replace(CONFIG, validation=replace(CONFIG.validation, stride=7))
    assert measured(config, store)[1]["raw_bpb"] != measured(CONFIG, store)[1]["raw_bpb"]


@pytest.mark.parametrize(
    ("changed", "views"),
    [
        ({"mixture": Mixture("paper", view_weights={"nibbles": 0.0})}, ["bpe-300"]),
        ({"mixture": Mixture(phases=(Phase(0.5, rate=0.9, view="nibbles"), Phase(0.5, rate=0.0)))}, ["nibbles"]),
        ({"mixture": BYTES}, None),
        ({"objective": Objective(symbols=0.0, bag=1.0)}, None),
        ({"views": ("bpe-300",), "model": replace(CONFIG.model, inputs="mean")}, ["bpe-300"]),
        ({"views": ("bpe-300",), "model": replace(CONFIG.model, softmax="shared")}, ["bpe-300"]),
        (
            {
                "model": replace(CONFIG.model, inputs="positions", hashed_rows=64),
                "objective": Objective(symbols=0.0, bytes=1.0),
            },
            None,
        ),
    ],
)
def test_views_are_measured_where_their_symbols_are_predicted(store, changed, views):
    _, figures = measured(replace(CONFIG, **changed), store)
    assert list(figures.get("view_bpb", {})) == (views or [])
    assert ("transfer_gap" in figures) == (views is not None)
    assert figures["raw_bpb"] > 0


def test_a_run_takes_it_as_it_is_and_learns_by_it(store, tmp_path):
    config = replace(CONFIG, stop="25 steps", views=("bpe-300",), validate_every=5)
    trainer = Trainer(config, store, tmp_path)
    trainer.run(validate_with(config, store))
    lines = [line for line in read(tmp_path / "metrics.jsonl") if "raw_bpb" in line]
    assert len(lines) == 5
    assert lines[-1]["view_bpb"]["bpe-300"] < 0.8 * lines[0]["view_bpb"]["bpe-300"]
    assert lines[-1]["transfer_gap"] == pytest.approx(lines[-1]["raw_bpb"] - lines[-1]["view_bpb"]["bpe-300"])


def test_nothing_is_measured_where_nothing_is_asked_for(store):
    assert validate_with(replace(CONFIG, validation=Validation(0)), store) is None


def test_what_is_missing_is_said_before_anything_is_trained(store, monkeypatch):
    with pytest.raises(InputError, match="no view 'words'"):
        validate_with(replace(CONFIG, views=("words",)), store)
    monkeypatch.setattr(Store, "documents", lambda self, split: iter(()))
    with pytest.raises(InputError, match="validation split holds no text"):
        validate_with(CONFIG, store)
