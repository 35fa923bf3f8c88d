"""The kind: made, saved, opened, and cut in its three ways."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.neural.models import random_model, tiny
from tests.toy_corpus import toy_documents
from tests.views.contract import check_identity, check_kind
from tests.views.neural_oracle import windows

from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.neural.entropies import entropies
from byteproxy.neural.kind import NeuralKind, NeuralOptions
from byteproxy.neural.predictor import ModelPredictor
from byteproxy.store import entropy_cache as store_entropies
from byteproxy.store.build import build_corpus
from byteproxy.store.encode import add_view
from byteproxy.store.entropy_cache import add_entropies
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.views import registry
from byteproxy.views.artefact import to_content
from byteproxy.views.neural_tree import expanded
from byteproxy.views.segments import cuts_of

__all__ = ["tiny"]  # a fixture

TEXTS = [document.text for document in toy_documents(12)]
PREDICTOR = ModelPredictor(random_model(spread=1.0))


def view_of(**options):
    return NeuralKind.compiled(PREDICTOR, NeuralOptions(12, **options), TEXTS)


def counted(view):
    """The documents that the view's model is asked to read from now on."""
    calls, predict_entropies = [], view.predict_entropies
    view.predict_entropies = lambda documents, progress: (
        calls.extend(documents) or predict_entropies(documents, progress)
    )
    return calls


def test_it_is_a_kind():
    check_kind(NeuralKind)
    assert registry.kind("neural") is NeuralKind


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("neural:8", "8 bits: give 12 to 24"),
        ("neural:bits=24", "parts is 1"),
        ("neural:bits=16,parts=3", "parts is 3"),
        ("neural:minutes=0", "minutes is 0.0: give a number above 0 to"),
        ("neural:quantile=1", "quantile is 1"),
        ("neural:size=3m", "give one of 1m, 2m, 6m, 40m"),
        ("neural:precision=9", "give 10 to 16"),
        ("neural:raw=1", "raw is 1: give 0, or a whole number from 2 to 64"),
    ],
)
def test_options_that_cannot_be(spec, said):
    with pytest.raises(InputError, match=said):
        registry.build(spec, lambda: TEXTS)


def test_made_from_text_saved_and_opened(tmp_path, tiny):
    reports = []
    notes = []

    def report(done, total, note=""):
        reports.append((done, total))
        notes.append(note)

    built = registry.build("neural:12,steps=4", lambda: TEXTS, report)
    view = built.view
    check_identity(view)
    assert reports[-1] == (4, 4)
    assert notes[-1].endswith("strings found")
    assert built.train_seconds > view.compile_seconds > 0
    view.save(tmp_path / "a.neural")
    again = registry.build(str(tmp_path / "a.neural"), lambda: ()).view
    assert again.fingerprint == view.fingerprint
    assert again.predictor.fingerprint == view.about.model
    document = TEXTS[0][:400]
    found = windows(document, [], again.predictor, again.about.code)
    symbols, spans = again.encode(document)
    assert list(zip(symbols.tolist(), spans.tolist(), strict=True)) == found


def test_a_walk_never_goes_on_from_what_is_hard_to_go_on_from():
    """Against the rule as it is told: of all strings that a walk passes, the share above the threshold is a tenth."""
    whole = expanded(PREDICTOR, NeuralOptions(12).code)
    for criterion in ("global", "monotonic", "either"):
        view = view_of(segments="walk", criterion=criterion)
        kept = dict(zip(view.tree.strings(), view.tree.symbol.tolist(), strict=True))
        every = whole.strings()
        entropy = dict(zip(every, whole.entropy.tolist(), strict=True))
        symbols = dict(zip(every, whole.symbol.tolist(), strict=True))
        ended = {string for string in kept if not any(string + bytes([b]) in kept for b in range(256))}
        extended = set(kept) - ended
        assert len(kept) < len(every)
        assert all(symbols[string] == symbol for string, symbol in kept.items())
        if criterion == "monotonic":  # a single byte has risen from nothing that is known
            single = {string for string in every if len(string) == 2}
            assert single <= set(kept)
        if criterion == "global":
            cut = {string for string in ended if any(string + bytes([b]) in entropy for b in range(256))}
            level = max(entropy[string] for string in extended)
            assert cut
            assert min(entropy[string] for string in cut) > level
        document = TEXTS[3]
        begin = 0
        for span in view.encode(document).span_bytes.tolist():
            text = document[begin : begin + span]
            sizes = range(1, min(64, len(document) - begin) + 1)
            longest = max(size for size in sizes if document[begin : begin + size] in kept)
            assert len(text) == longest
            begin += span


def test_cuts_from_context_are_those_of_the_whole_document():
    view = view_of(segments="context", quantile=0.8)
    for document, (symbols, spans) in zip(TEXTS, view.encode_batch(TEXTS), strict=True):
        cuts = cuts_of(entropies(PREDICTOR.model(torch.float32), [document])[0], view.about.context)
        assert 0.05 < len(cuts) / len(document) < 0.6
        expected = view.between(document, cuts)
        assert np.array_equal(symbols, expected.symbols)
        assert np.array_equal(spans, expected.span_bytes)
        assert np.isin(cuts, np.cumsum(spans)).all()


def test_a_corpus_keeps_it(tmp_path):
    """Shard by shard, so a stop costs no shard that is done; the corpus then holds the view with its model."""
    prepare_documents(toy_documents(12), tmp_path, SplitOptions(0.1, 0.2), shard_bytes=2000)
    view = view_of(segments="context")
    manifest = add_view(tmp_path, view)
    entry = manifest.view("neural-12-context")
    assert entry.aligned
    calls = counted(view)
    assert add_view(tmp_path, view) == manifest
    assert not calls
    opened = registry.load(tmp_path / entry.artefact.name)
    assert opened.fingerprint == view.fingerprint
    assert np.array_equal(opened.encode(TEXTS[0]).symbols, view.encode(TEXTS[0]).symbols)


def test_two_preparations_are_the_same_to_the_byte(tmp_path, tiny, monkeypatch):
    """However long each took: a time in a file would give two corpora other checksums, and another fingerprint."""
    monkeypatch.chdir(tmp_path)
    Path("code").mkdir()
    for number, text in enumerate(TEXTS):
        Path(f"code/{number}.py").write_bytes(text)
    seconds, files, clock = set(), [], [0.0]
    made = NeuralKind.compiled

    def told(*given):
        view = made(*given)
        seconds.add(view.compile_seconds)
        return view

    def later():
        clock[0] += 1.5 ** len(files)
        return clock[0]

    monkeypatch.setattr(NeuralKind, "compiled", told)
    monkeypatch.setattr("byteproxy.neural.kind.time", SimpleNamespace(perf_counter=later))
    for folder in (Path("one"), Path("other")):
        build_corpus(["code"], ["neural:12,steps=2"], folder, workers=1)
        files.append({path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()})
    assert seconds == {1.0, 1.5}
    assert "view-neural-12.neural" in files[0]
    assert files[0] == files[1]


def test_what_the_model_read_is_kept_in_parts(tmp_path, monkeypatch):
    """Encoding asks for nothing that was read before, a stop costs a part, and other views of the model nothing."""
    monkeypatch.setattr(store_entropies, "PART_BYTES", 700)
    prepare_documents(toy_documents(12), tmp_path, SplitOptions(0.1, 0.2), shard_bytes=2000)
    view = view_of(segments="context")
    reports = []
    calls = counted(view)
    add_entropies(tmp_path, view, lambda done, total, note="": reports.append((done, total)))
    texts = [one.text for split in ("train", "validation", "test") for one in Store.open(tmp_path).documents(split)]
    assert calls == texts
    assert reports == sorted(reports)
    assert reports[-1] == (sum(map(len, texts)),) * 2
    parts = sorted((tmp_path / ".entropies").rglob("*.entropies"))
    assert len(parts) > 5
    calls.clear()
    manifest = add_view(tmp_path, view)
    assert not calls
    encoded = [view.encode(text) for text in texts]
    assert manifest.view(view.name).symbols == sum(len(one.symbols) for one in encoded)

    parts[1].unlink()  # a stop
    content = parts[3].read_bytes()
    parts[3].write_bytes(content[:-2] + bytes([content[-2] ^ 1, content[-1]]))  # another bit
    parts[4].write_bytes(content)  # of other documents
    parts[5].write_bytes(content[:100])
    other = NeuralKind.compiled(PREDICTOR, NeuralOptions(13, segments="context", quantile=0.7), TEXTS)
    calls = counted(other)
    add_view(tmp_path, other)
    again = [text for text in texts if text in calls]
    assert 3 < len(calls) == len(again) < len(texts) / 2
    assert parts[3].read_bytes() == content
    calls.clear()
    add_entropies(tmp_path, other)
    assert not calls
    random = NeuralKind.compiled(ModelPredictor(random_model(7)), NeuralOptions(14, segments="context"), TEXTS)
    calls = counted(random)
    add_entropies(tmp_path, random)
    assert calls == texts
    add_entropies(tmp_path, view_of())  # a view that needs none
    assert len(list((tmp_path / ".entropies").iterdir())) == 2


def test_entropies_of_other_text_are_made_again_and_that_is_said(tmp_path, capsys):
    """Compiled code cuts a text where they say: also where the checksum fits, there is one for each of its bytes."""
    prepare_documents(toy_documents(12), tmp_path, SplitOptions(0.1, 0.2))
    view = view_of(segments="context")
    add_entropies(tmp_path, view)
    path = min((tmp_path / ".entropies").rglob("*.entropies"))
    content = path.read_bytes()
    bits, said = store_entropies.check_part(path)
    said = {name: value for name, value in said.items() if name not in ("format", "version")}
    for other in (bits[:-1], np.append(bits, bits), bits.astype(np.float32), bits.reshape(-1, 1)):
        path.write_bytes(to_content(store_entropies.FORMAT, {"bits": other}, said))
        add_entropies(tmp_path, view)
        assert path.read_bytes() == content
        assert "made again" in capsys.readouterr().err
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match="it is a cache"):
        Store.open(tmp_path).verify()
    add_entropies(tmp_path, view)
    assert "its checksum is wrong" in capsys.readouterr().err
    Store.open(tmp_path).verify()


def test_an_altered_shard_is_not_read(tmp_path):
    manifest = prepare_documents(toy_documents(12), tmp_path, SplitOptions(0.1, 0.2))
    path = tmp_path / manifest.shards[0].file.name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="was altered"):
        add_entropies(tmp_path, view_of(segments="context"))


def test_a_training_that_is_stopped_goes_on(tmp_path, tiny, monkeypatch):
    """The same view as in one go, from the steps that were saved; minutes are not measured a second time."""
    options = NeuralOptions(12, steps=6)
    whole = NeuralKind.make(options, TEXTS)
    steps = []

    def stopped(done, total, note=""):
        steps.append(done)
        if done == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        NeuralKind.make(options, TEXTS, stopped, tmp_path / "begun")
    assert max(steps) == 4
    again = []
    view = NeuralKind.make(options, TEXTS, lambda done, total, note="": again.append(done), tmp_path / "begun")
    assert min(again) == 5
    assert view.fingerprint == whole.fingerprint
    assert view.about.model == whole.about.model


def test_minutes_stay_the_steps_that_they_were(tmp_path, tiny, monkeypatch):
    """A faster machine, or a busier one, goes on with the same run."""
    models, totals = set(), set()
    for rate in (1e10, 5e10):
        monkeypatch.setattr("byteproxy.train.budget.training_rate", lambda config, store, rate=rate: rate)
        options = NeuralOptions(12, minutes=0.002, segments="walk")
        view = NeuralKind.make(options, TEXTS, lambda done, total, note="": totals.add(total), tmp_path)
        models.add(view.about.model)
    assert len(models) == 1
    assert len(totals - {0}) == 1
    assert max(totals) > 3


def test_names_tell_views_apart():
    named = {
        view_of(**options).name
        for options in (
            {},
            {"seed": 3},
            {"size": "2m"},
            {"segments": "walk"},
            {"segments": "walk", "quantile": 0.8},
            {"segments": "walk", "criterion": "either"},
            {"raw": 2},
            {"parts": 2},
        )
    }
    assert len(named) == 8
    assert {"neural-12", "neural-12-2m", "neural-12-walk-either", "neural-12-raw2"} < named


def test_a_file_with_another_model_is_refused(tmp_path):
    view = view_of(segments="context")
    view.weights = ModelPredictor(random_model(5)).to_bytes()
    view.save(tmp_path / "a.neural")
    with pytest.raises(InputError, match="was compiled from the model"):
        NeuralKind.load(tmp_path / "a.neural")


def test_no_text_gives_no_thresholds():
    for segments, said in (("walk", "no text"), ("context", "no two bytes")):
        with pytest.raises(InputError, match=said):
            NeuralKind.compiled(PREDICTOR, NeuralOptions(12, segments=segments), [])
