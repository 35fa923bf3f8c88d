"""The sentence says who is behind or ahead, and says when nobody can tell."""

import numpy as np
import pytest

from byteproxy.demo.demo_verdict import model_verdict, verdict
from byteproxy.generate.score import Scored

SIZES = np.full(100, 1000)
NOISE = np.tile([30.0, -30.0, 10.0, -10.0], 25)


def scored(bpb, noise=0.0):
    return Scored(bpb * SIZES + noise * NOISE, SIZES)


def test_behind_and_ahead_are_said_in_figures():
    behind = verdict({"bytes": scored(2.0), "proxy": scored(2.5, 1)}, 1.5)
    assert "the proxy arm is behind the bytes arm by 0.5" in behind
    assert "one seed" in behind
    assert "above PPMd (1.500)" in behind
    ahead = verdict({"bytes": scored(2.5), "proxy": scored(2.0, 1)}, 3.0)
    assert "the proxy arm is ahead of the bytes arm by 0.5" in ahead
    assert "PPMd" not in ahead
    assert "chance" not in behind + ahead


def test_a_difference_within_its_interval_is_called_none():
    assert "no difference that can be told from chance" in verdict({"a": scored(2.0), "b": scored(2.0, 1)}, 1.0)


def test_every_further_arm_is_compared_and_one_alone_is_just_told():
    three = verdict({"a": scored(2.0), "b": scored(2.2), "c": scored(1.8)}, 1.0)
    assert "b arm is behind" in three
    assert "c arm is ahead" in three
    assert "2.000 bits per byte" in verdict({"a": scored(2.0)}, 3.0)


@pytest.mark.parametrize(
    ("scratch", "said"), [(2.5, "20.0 % fewer than the 2.500"), (1.6, "25.0 % more than the 1.600")]
)
def test_a_model_that_learned_bytes_is_told_beside_the_one_from_scratch_whoever_wins(scratch, said):
    found = {
        "convert": {
            **{"raw_bpb_before": 7.0, "raw_bpb_after": 2.0, "token_bpb": 1.1, "scratch_raw_bpb": scratch},
            **{"flops": 3e13, "seconds": 150, "scratch_seconds": 200},
        },
        "held_out": "some text",
        "conversion": {"model": {"given": "models/small.gguf"}},
        "cuts": {"drawn": {"cuts": 32, "before": 4, "after": 9, "scratch": 3}},
    }
    told = model_verdict(found).replace("\N{NO-BREAK SPACE}", " ")
    assert told.startswith("small.gguf needed 7.000 bits for each raw byte of some text, and needs")
    assert "needs 2.000 after 2.5 min" in told
    assert "1.100, which is the ceiling" in told
    assert said in told
    assert "One seed." in told
    assert "rest of 4 as tokens and writes that of 9 as bytes; the one from scratch, of 3." in told
    found["cuts"]["drawn"]["cuts"] = 0
    assert "cut" not in model_verdict(found)
