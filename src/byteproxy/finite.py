"""Values that JSON can hold."""

import math
from collections.abc import Mapping


def finite(value: object) -> object:
    """The same nested value with None for each number that isn't finite, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
