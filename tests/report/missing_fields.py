"""A property of pages that show results: each field may be missing or odd, and nothing breaks."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
from tests.report.parsed_page import Page

from byteproxy.report import line_plots
from byteproxy.report.page import Picture

ABSENT = "absent"
ODD = pytest.mark.parametrize("value", [None, math.nan, ABSENT, [], {}], ids=repr)
"""What stands in place of a field."""


def survives(page: Callable[[dict[str, Any]], str], results: dict[str, Any], value: object) -> None:
    """Assert that a page is made, and shows no NaN, whichever field of its results is missing or odd."""
    with pytest.MonkeyPatch.context() as patch:  # what is drawn has tests of its own, and takes longest
        patch.setattr(line_plots, "curves", lambda *_: Picture("<svg></svg>", "a", ("x",), []))
        for path in _paths(results):
            broken = inner = copy.deepcopy(results)
            for key in path[:-1]:
                inner = inner[key]
            if value == ABSENT:
                del inner[path[-1]]
            else:
                inner[path[-1]] = value
            assert "nan" not in Page(page(broken)).text, path


def _paths(value: object, at: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return []
    return [(*at, key, *rest) for key, inner in value.items() for rest in ((), *_paths(inner))]
