"""What an objective weighs, and what of it is refused by name."""

import pytest

from byteproxy.errors import InputError
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.objective import Objective, check_fit


def test_weights_of_further_heads_follow_their_schedule():
    objective = Objective(head_decay=0.5, heads_weight=1.0, heads_weight_end=0.0)
    assert [objective.head_weight(head, 0.0) for head in (1, 2, 3)] == [1.0, 0.5, 0.25]
    assert [objective.head_weight(head, 0.5) for head in (1, 2, 3)] == [1.0, 0.25, 0.125]
    assert [objective.head_weight(head, 1.0) for head in (1, 2, 3)] == [1.0, 0.0, 0.0]
    assert Objective(heads_weight=2.0).head_weight(2, 1.0) == 1.5


@pytest.mark.parametrize(
    ("model", "objective", "field"),
    [
        ({"symbol_heads": 2}, {"symbols": 0.0, "bag": 1.0}, "model.symbol_heads"),
        ({"softmax": "shared", "inputs": "mean"}, {}, "model.softmax"),
        ({"softmax": "shared"}, {"bag": 1.0}, "objective.bag"),
        ({"inputs": "mean"}, {"symbol_bytes": 1.0}, "model.ngram_outputs"),
        ({"ngrams": (2,), "ngram_outputs": True}, {"symbol_bytes": 1.0}, "model.inputs"),
        ({"value_embeddings": True, "inputs": "mean"}, {}, "model.value_embeddings"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(model, objective, field):
    with pytest.raises(InputError, match=field):
        check_fit(ModelConfig(**model), Objective(**objective))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"symbols": 0.0}, "objective.symbols"),
        ({"bag": -1.0}, "objective.bag"),
        ({"symbol_bytes": -1.0}, "objective.symbol_bytes"),
        ({"head_decay": float("nan")}, "objective.head_decay"),
        ({"reach": "far"}, "objective.reach"),
        ({"heads_weight_end": -0.1}, "objective.heads_weight_end"),
    ],
)
def test_wrong_objectives_are_refused_by_name(wrong, field):
    with pytest.raises(InputError, match=field):
        Objective(**wrong)
