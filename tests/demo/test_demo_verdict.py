"""The sentence says who is behind, and says when nobody can tell."""

import numpy as np

from byteproxy.demo.demo_verdict import verdict
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
