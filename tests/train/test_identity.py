"""What a run may change when it goes on, field by field, and what it is refused for."""

from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
import tomli_w

from byteproxy.errors import InputError
from byteproxy.parsing import parse_toml
from byteproxy.train.identity import MAY_CHANGE, differences, ensure_same_run, identity, taking
from byteproxy.train.train_config import Parallel, Start, TrainConfig, Validation

CONFIG = TrainConfig(start=Start("llama", "ab", "cd", "ef"))
CHANGED = {
    "corpus": "elsewhere",
    "device": "cuda",
    "attention": "dense",
    "micro_sequences": 1,
    "parallel": Parallel(shard=2),
    "activation_checkpointing": "full",
    "validation": Validation(5, 6, 7),
    "validate_every": 9,
    "log_every": 9,
    "tensorboard": True,
    "checkpoint_seconds": 9.0,
    "keep": 9,
    "rank_timeout_seconds": 9.0,
}
REFUSED = {
    "": "seed views dtype compile deterministic",
    "start.": "weights tokenizer chat byte_rows",
    "model.": "width layers heads key_value_heads head_dim ffn rope_theta norm_epsilon qk_norm attention_biases "
    "architecture soft_cap value_embeddings "
    "ngrams ngram_rows ngram_outputs rope_positions inputs hashed_rows softmax "
    "byte_heads byte_head_ngrams symbol_heads",
    "model.rope_scaling.": "kind factor low_frequency_factor high_frequency_factor original_positions",
    "objective.": "symbols bag bytes symbol_bytes distill distill_form distill_threshold distill_teacher reach "
    "head_decay heads_weight heads_weight_end heads_detached "
    "compressed_weight raw_weight",
    "lora.": "rank alpha matrices",
    "mixture.": "preset phases count passages view_weights source_weights packing",
    "shape.": "sequences_per_step sequence_length context_bytes",
    "optim.": "optimizer learning_rate schedule warmup_share warmup_steps decay_share final_share "
    "states weight_decay decay_all beta1 beta2 momentum epsilon clip spike max_skips "
    "first_layer_rate last_layer_rate new_rows_rate new_rows_share new_rows_layers "
    "heads_rate",
    "scaffolding.hints.": "share view",
    "scaffolding.hints.scale.": "start steady until",
    "scaffolding.ngrams.": "start steady until",
}
"""By group, what decides the weights."""
REFUSED_FIELDS = {f"{group}{name}" for group, names in REFUSED.items() for name in names.split()}


def leaves(config, name=""):
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from leaves(value, f"{name}{field.name}.")
        else:
            yield f"{name}{field.name}"


def otherwise(value):
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"{value}x" if isinstance(value, str) else ["other"]


def test_every_field_is_one_that_may_change_or_one_that_may_not():
    """A new field has to be put among these, and so somebody has to think of what it decides."""
    may = {name for name in leaves(CONFIG) if name.partition(".")[0] in MAY_CHANGE or name == "start.path"}
    assert {*may, *REFUSED_FIELDS, "stop"} == set(leaves(CONFIG))
    assert not may & REFUSED_FIELDS
    assert CHANGED.keys() == set(MAY_CHANGE)


@pytest.mark.parametrize("name", MAY_CHANGE)
def test_what_may_change_is_no_difference(name):
    now = replace(CONFIG, **{name: CHANGED[name]})
    assert now != CONFIG
    assert differences(identity(CONFIG), identity(now)) == []
    ensure_same_run(identity(CONFIG), now, 999, Path("run"))
    assert taking(CONFIG, now) == now


def test_a_start_may_lie_elsewhere():
    moved = replace(CONFIG, start=replace(CONFIG.start, path="away/llama"))
    assert differences(identity(CONFIG), identity(moved)) == []


@pytest.mark.parametrize(("name", "other"), [("distill_threshold", 0.5), ("heads_detached", True)])
def test_a_run_that_began_before_a_field_was_there_has_its_default(name, other):
    then = parse_toml(identity(CONFIG))
    usual = then["objective"].pop(name)
    ensure_same_run(tomli_w.dumps(then), CONFIG, 0, Path("run"))
    now = replace(CONFIG, objective=replace(CONFIG.objective, **{name: other}))
    with pytest.raises(InputError, match=rf"\(objective.{name} is {usual!r} there and {other!r} here\)"):
        ensure_same_run(tomli_w.dumps(then), now, 0, Path("run"))


@pytest.mark.parametrize("name", sorted(REFUSED_FIELDS))
def test_what_decides_weights_is_refused_by_its_name(name):
    then = parse_toml(identity(CONFIG))
    *groups, last = name.split(".")
    part = then
    for group in groups:
        part = part[group]
    part[last] = otherwise(part.get(last))
    with pytest.raises(InputError, match=rf"run holds a run of another configuration \({name} is .* there and"):
        ensure_same_run(tomli_w.dumps(then), CONFIG, 0, Path("run"))
