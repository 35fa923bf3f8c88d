import pytest
from tests.toy_corpus import toy_store
from tests.train.toy_run import CONFIG

from byteproxy.train.trainer import Trainer


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A small corpus, which no test writes to."""
    return toy_store(tmp_path_factory.mktemp("corpus"))[0]


@pytest.fixture(scope="session")
def undisturbed(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trainer = Trainer(CONFIG, store, folder)
    trainer.run(lambda model: {"raw_bpb": 1.0})
    return folder, trainer
