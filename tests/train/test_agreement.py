from dataclasses import replace

import pytest
from tests.train.toy_run import CONFIG

from byteproxy.errors import InputError
from byteproxy.train import parallel
from byteproxy.train.agreement import ensure_alike
from byteproxy.train.parallel import World


@pytest.fixture
def others(monkeypatch):
    """Three processes, of which the last one says something else: what it says, to be filled in."""
    changed = {}
    monkeypatch.setattr(parallel, "world", lambda: World(1, 3))
    monkeypatch.setattr(parallel, "from_all", lambda mine: [mine, mine, {**mine, **changed}])
    return changed


def said_by(config, store):
    """What a process tells the others."""
    told = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "from_all", lambda mine: told.append(mine) or [mine])
        ensure_alike(config, store)
    return told[0]


def test_alike_processes_may_begin_wherever_their_corpus_lies(others, store):
    others |= said_by(replace(CONFIG, corpus="elsewhere", device="cpu"), store)
    ensure_alike(CONFIG, store)


def test_a_rank_with_another_configuration_is_named_with_the_field(others, store):
    others |= said_by(replace(CONFIG, optim=replace(CONFIG.optim, learning_rate=0.5)), store)
    with pytest.raises(InputError, match=r"rank 2 has .* configuration than rank 0 \(optim.learning_rate is 0.5, not"):
        ensure_alike(CONFIG, store)


@pytest.mark.parametrize("what", ["corpus", "version of torch", "code of byteproxy"])
def test_a_rank_with_another_corpus_or_code_is_named(others, store, what):
    others[what] = "another"
    with pytest.raises(InputError, match=f"rank 2 has another {what} than rank 0: start all with the same"):
        ensure_alike(CONFIG, store)


def test_a_process_alone_asks_nobody(store, monkeypatch):
    monkeypatch.setattr(parallel, "from_all", None)
    ensure_alike(CONFIG, store)
