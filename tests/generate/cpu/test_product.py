"""Products with a packed matrix against the plain one, and the same bits whatever rows are beside a row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.generate.cpu.product import Matrix

BOUNDS = {torch.float32: 1e-5, torch.bfloat16: 1e-5, torch.float64: 1e-13}


@pytest.mark.parametrize("dtype", BOUNDS)
@settings(max_examples=40)
@given(st.integers(1, 15), st.integers(1, 70), st.integers(1, 150))
def test_products_are_those_of_the_plain_matrix(dtype, rows, width, outputs):
    weight = torch.randn(outputs, width, generator=torch.Generator().manual_seed(rows)).to(dtype)
    x = torch.randn(rows, width, dtype=torch.float64).to(torch.float64 if dtype == torch.float64 else torch.float32)
    found = Matrix(weight)(x)
    assert found.dtype == x.dtype
    wanted = x.double() @ weight.double().T
    assert (found - wanted).abs().max() < BOUNDS[dtype] * width**0.5
    for row in range(rows):
        assert np.array_equal(Matrix(weight)(x[row : row + 1])[0].numpy(), found[row].numpy())
