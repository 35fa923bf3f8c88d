"""What is said of figures."""

import pytest

from byteproxy.report.headline import headline
from byteproxy.study.tokens_kept import sentences
from byteproxy.study.verdict import verdict


def results(**changes):
    """Two byte arms of which the second is better on validation, a control, a proxy and a tokenizer."""

    def arm(role, validation, test):
        return {
            "role": role,
            "scored": "view" if role == "tokenizer" else "raw",
            "raw_bpb": {"mean": test, "split": "test", "seeds": {}},
            "validation_bpb": {"mean": validation, "seeds": {}},
        }

    arms = {
        "plain": arm("bytes", 2.10, 2.00),
        "tuned": arm("bytes", 2.00, 2.05),
        "bags": arm("control", 1.95, 1.98),
        "proxy": arm("proxy", 1.80, 1.85),
        "bpe": arm("tokenizer", 1.50, 1.55),
    }
    documents = {"low": -0.2, "high": -0.1}

    def difference(name, other, low, high):
        bpb = arms[name]["raw_bpb"]["mean"] - arms[other]["raw_bpb"]["mean"]
        percent = 100 * bpb / arms[other]["raw_bpb"]["mean"]
        said = {"arm": name, "against": other, "size": "small", "flops": 1e12, "split": "test", "bpb": bpb}
        said["means"] = [arms[name]["raw_bpb"]["mean"], arms[other]["raw_bpb"]["mean"]]
        return {**said, "percent": percent, "low": low, "high": high, "seeds": 3, "documents": documents}

    return {
        "main": {"size": "small", "flops": 1e12, "seeds": [0, 1, 2]},
        "arms": arms,
        "queue": {"done": 3, "left": 4},
        "differences": [
            difference("proxy", "plain", -0.3, -0.1),
            difference("proxy", "tuned", -0.25, -0.15),
            difference("proxy", "bags", -0.3, 0.04),
            difference("bpe", "tuned", None, None),
        ],
        "cells": [
            {"arm": name, "size": "small", "flops": 1e12, "split": "test", "mean": one["raw_bpb"]["mean"]}
            for name, one in arms.items()
        ],
        "compressors": {"test": {"ppmd": 1.9}, "validation": {"ppmd": 1.9}},
        **changes,
    }


def test_the_best_arms_are_those_of_the_validation_split():
    said = verdict(results())
    assert "proxy is 9.8 % below tuned on raw bytes, 1.8500 against 2.0500 bits per byte of test text" in said
    assert "(95 % over 3 seeds: -0.2500 to -0.1500)." in said
    assert "plain" not in said


def test_what_chance_may_do_is_said_so():
    sentences = verdict(results()).split(". ")
    (control,) = [one for one in sentences if "below bags" in one]
    assert "the interval includes zero: no difference that can be told from chance" in control
    assert sum("includes zero" in one for one in sentences) == 1


def test_a_tokenizers_distance_is_in_bits_of_its_symbols():
    said = verdict(results())
    assert "bpe is 24.4 % below tuned in the bits of its symbols" in said
    assert "over documents; 3 seeds" in said


def test_an_interval_over_seeds_says_nothing_of_other_text():
    """Three seeds may agree on a difference that is one of few documents."""
    found = results()
    found["differences"][1]["documents"] = {"low": -0.4, "high": 0.02}
    said = verdict(found)
    assert (
        "-0.2500 to -0.1500; over documents: -0.4000 to +0.0200); with other text there may be no difference." in said
    )


def test_each_claim_is_said_though_another_arm_is_the_best():
    found = results()
    found["arms"]["second"] = found["arms"]["proxy"] | {"validation_bpb": {"mean": 1.9, "seeds": {}}}
    found["differences"] += [
        found["differences"][1] | {"arm": "second", "against": other, "bpb": 0.1, "low": low, "high": 0.2}
        for other, low in (("tuned", 0.05), ("proxy", -0.05))
    ]
    assert "second" not in verdict(found)
    claims = [
        {"name": "one", "arms": ["tuned", "second", "bpe"], "against": ["tuned"]},
        {"name": "two", "arms": ["tuned", "second", "proxy"], "against": ["tuned", "second"]},
        {"name": "three", "arms": ["tuned", "second", "proxy"], "against": ["tuned", "proxy"]},
    ]
    said = verdict({**found, "claims": claims})
    assert said.count("second is 9.8 % above tuned") == 1
    assert said.count("proxy is 9.8 % below tuned") == 1
    assert "second is 9.8 % above proxy on raw bytes" in said
    assert "+0.2000); the interval includes zero" in said


def test_a_claim_about_another_budget_says_which():
    found = results(claims=[{"name": "one", "arms": ["plain", "proxy", "small"], "against": ["small"]}])
    found["arms"]["small"] = found["arms"]["plain"] | {"raw_bpb": None, "validation_bpb": None}
    found["differences"] += [
        found["differences"][0] | {"against": "small", "flops": flops, "percent": percent}
        for flops, percent in ((2e11, -7.0), (5e11, -9.0))
    ]
    said = verdict(found)
    assert "proxy is 9.0 % below small on raw bytes, 1.8500 against 2.0000 bits per byte of test text at 5e+11" in said
    assert "size small (95 % over 3 seeds: -0.3000 to -0.1000)." in said
    assert "7.0 %" not in said


def test_of_a_claim_about_many_arms_the_best_is_said():
    names = [f"other{number}" for number in range(4)]
    found = results(claims=[{"name": "one", "arms": ["plain", "proxy", *names], "against": ["plain"]}])
    found["arms"] |= {name: found["arms"]["proxy"] | {"validation_bpb": {"mean": 1.9, "seeds": {}}} for name in names}
    found["differences"] += [found["differences"][0] | {"arm": name} for name in names]
    said = verdict(found)
    assert "proxy is 7.5 % below plain" in said
    assert "other" not in said.replace("other forms", "")


def test_what_became_of_tokens_is_said_with_how_surely():
    kept = {"size": "small", "flops": 1e12, "split": "test", "against": "model", "bpb": 0.1, "percent": 10.0}
    kept |= {"arm": "bytes", "means": [1.1, 1.0], "seeds": 3, "low": 0.08, "high": 0.12}
    kept |= {"documents": {"low": 0.06, "high": 0.14}}
    joint = {"arm": "joint", "means": [0.99, 1.0], "percent": -1.0, "seeds": 1, "low": None, "high": None}
    joint = kept | joint | {"documents": {"low": -0.03, "high": 0.01}}
    found = results(model={"may_have_seen": ""}, token_differences=[kept, joint, {**kept, "split": "validation"}])
    assert sentences(found) == [
        "The model's own tokens cost 1.0000 bits per byte of test text before, and after training: "
        "bytes 1.1000, +10.0 % (95 % over 3 seeds: +0.0800 to +0.1200); "
        "joint 0.9900, -1.0 % (95 % over documents; 1 seed: -0.0300 to +0.0100), which may be chance."
    ]


def transfer(**changes):
    said = {"arm": "proxy", "size": "small", "flops": 1e12, "split": "test", "against": "tuned", "budgets": 3}
    said |= {"m": 2.5, "low": 2.25, "high": 2.75, "over": "seeds and documents", "break_even": 2.0, "stands": "above"}
    return said | dict.fromkeys(("more_than", "less_than", "refused")) | changes


def change(**changes):
    said = {"arm": "proxy", "size": "small", "split": "test", "from": 1e12, "to": 4e12, "ratio": 1.21, "low": 1.1}
    known = {"high": 1.3, "over": "seeds", "direction": "rises", "more_than": None, "less_than": None}
    return said | known | changes


REFUSED = {"m": None, "low": None, "high": None, "over": None, "stands": None, "less_than": 1.5}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {},
            "proxy is 2.50 (95 % over seeds and documents: 2.25 to 2.75), above its break-even of 2.00: what it learnt",
        ),
        (
            {"m": 1.5, "stands": "below"},
            "below its break-even of 2.00: what it learnt from text in other forms doesn't out",
        ),
        (
            {"m": 1.9, "stands": "unclear", "high": None},
            "above 2.25), below its break-even of 2.00, a side that can't be",
        ),
        ({"over": None, "stands": None}, "The transfer multiplier of proxy is 2.50, above its break-even of 2.00."),
        ({**REFUSED, "refused": "why"}, "can't be read off (why), but is below 1.50, with a break-even of 2.00."),
        ({**REFUSED, "refused": "why", "less_than": 2.0}, "(why), but is below its break-even of 2.00."),
        ({**REFUSED, "refused": "why", "less_than": None}, "proxy has no transfer multiplier: why."),
    ],
)
def test_where_transfer_stands(found, said):
    assert said in verdict(results(m=[transfer(split="validation", m=9.0), transfer(**found)], m_trends=[]))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "From 1e+12 to 4e+12 FLOPs m rises by 10\xa0% a doubling (95 % of the ratio over seeds: 1.10 to 1.30)."),
        ({"ratio": 0.81}, "m falls by 10\xa0% a doubling (95 % of the ratio over seeds: 1.10 to 1.30)."),
        ({"direction": "unclear"}, "1.10 to 1.30), a change that can't be told from chance."),
        ({"over": None, "direction": "unclear"}, "m rises by 10\xa0% a doubling (one seed)."),
        ({"ratio": None, "more_than": 1.44, "over": None}, "m rises by more than 20\xa0% a doubling (one seed)."),
        ({"ratio": None, "less_than": 0.64, "over": None}, "m falls by more than 20\xa0% a doubling (one seed)."),
        ({"ratio": None, "more_than": 0.9}, "the curve is too short to say whether it rises or falls."),
    ],
)
def test_how_transfer_changes_with_compute(found, said):
    assert said in verdict(results(m=[transfer()], m_trends=[change(**found)]))


def test_transfer_is_said_beside_what_was_said_before():
    with_transfer = verdict(results(m=[transfer()], m_trends=[change()]))
    for sentence in verdict(results()).split(". "):
        assert sentence.rstrip(".") in with_transfer


@pytest.mark.parametrize(("ppmd", "above"), [(1.84, True), (1.86, False)])
def test_under_trained_is_what_ppmd_beats(ppmd, above):
    said = verdict(results(compressors={"test": {"ppmd": ppmd}, "validation": {"ppmd": 1.0}}))
    assert ("under-trained" in said) == above


def test_nothing_to_compare_yet():
    assert "3 runs are done and 4 are left" in verdict(results(main=None))


def test_the_pictures_percentages_are_of_the_seeds_that_both_arms_have():
    """The second arm is level with the first on its one seed, though not with the mean of all."""
    one = {"role": "bytes", "raw_bpb": {"mean": 2.5, "split": "test", "seeds": {"0": 2.0, "1": 3.0}}}
    other = {"role": "proxy", "raw_bpb": {"mean": 2.0, "split": "test", "seeds": {"0": 2.0}}}
    strange = {"role": "proxy", "raw_bpb": {"mean": 2.0, "split": "test", "seeds": {"7": 2.0}}}
    shown = headline({"arms": {"bytes": one, "proxy": other, "strange": strange}})
    assert [row.percent for row in shown.rows] == [None, 0.0, None]
