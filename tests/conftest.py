import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tensors are small here: threads would only wait for each other where something else uses the cores."""
    torch.set_num_threads(1)
