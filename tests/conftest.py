import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tensors are small here: threads would only wait for each other where something else uses the cores."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The README's commands take minutes, one after the other: first, so that no core waits for them at the end."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")
