import gc
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

HERE = Path(__file__).parent
# Tensors are small here, and another process of the tests uses the next core: threads would only wait for each other.
# Whoever is started by a test does as this process does.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # or each process that compiles starts others, which import torch
os.environ["BYTEPROXY_PROGRESS_SECONDS"] = "0"  # a slow machine has no lines to say that a fast one has not


# The suite says the same about the same code each time: examples are a function of the test, and no clock decides.
# `make test TEST_ARGS="--hypothesis-profile search"` looks at others, more of them, anew each time.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile(
    "search", max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("suite")


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def the_machine_is_measured_briefly():
    """Each run measures the rate of matrix products for a tenth of a second, which is as long as many of them train."""
    from byteproxy.train import run_plan, trainer

    with pytest.MonkeyPatch.context() as patch:
        for module in (trainer, run_plan):
            patch.setattr(module, "matmul_rate", partial(module.matmul_rate, seconds=0.002))
        yield


@pytest.fixture(autouse=True, scope="session")
def ctrl_c_is_heard():
    """Where the suite was started in the background SIGINT is ignored, and by all it starts: tests need it heard."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


LONGEST = (
    "test_readme.py",
    "convert/test_run_conversion.py",
    "cli/test_train_begins.py",
    "convert/test_kills.py",
    "fuzz/test_fuzz.py",
    "store/test_kills.py",
    "study/test_study.py",
    "cli/test_generate.py",
    "cli/test_main.py",
    "train/test_overfit.py",
    "demo/test_with_model.py",
    "demo/test_from_scratch.py",
    "store/test_damage.py",
    "study/test_model_study.py",
    "study/test_damage.py",
    "train/test_kills.py",
    "cli/test_ctrl_c.py",
    "train/test_checkpoint.py",
    "train/test_same_run.py",
    "views/test_codebook.py",
    "views/bpe/test_engine.py",
    "views/bpe/test_families.py",
    "views/bpe/test_added_tokens.py",
    "cli/test_train.py",
)
"""Files whose tests take ten seconds and more, longest first; the README's forks the process that it finds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that no core waits for one of them at the end."""
    places = {HERE / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: no collection of garbage looks at it, here or in a fork."""
    gc.collect()
    gc.freeze()
