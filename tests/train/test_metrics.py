import json
import math
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from byteproxy.errors import InputError
from byteproxy.train.metrics import Sinks, _scalars, read


def drawn(folder):
    """What TensorBoard shows of a run: {name: [(step, value)]}."""
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def line(step):
    return {"step": step, "loss": 1 / 2**step, "raw_loss": None, "share": {"text": {"code": step / 4}, "no": None}}


def test_lines_go_to_both_and_only_numbers_are_drawn(tmp_path):
    sinks = Sinks(tmp_path, 0, tensorboard=True)
    lines = [line(step) | {"name": "x", "flag": True, "list": [1], "flops": 1 << 60} for step in (1, 2)]
    for one in lines:
        sinks.write(one)
    sinks.close()
    assert read(tmp_path / "metrics.jsonl") == lines
    assert drawn(tmp_path) == {
        "loss": [(1, 0.5), (2, 0.25)],
        "share/text/code": [(1, 0.25), (2, 0.5)],
        "flops": [(1, float(1 << 60)), (2, float(1 << 60))],
    }


def test_a_resumed_run_draws_over_what_it_takes_back(tmp_path):
    for start, stop in ((0, 5), (2, 4)):
        sinks = Sinks(tmp_path, start, tensorboard=True)
        for step in range(start + 1, stop + 1):
            sinks.write(line(step))
        sinks.close()
    assert [one["step"] for one in read(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]
    assert [step for step, _ in drawn(tmp_path)["loss"]] == [1, 2, 3, 4]


def test_nothing_but_the_lines_is_written_unless_asked(tmp_path):
    sinks = Sinks(tmp_path, 0)
    sinks.write(line(1))
    sinks.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("failing", ["__init__", "add_scalar", "close"])
def test_a_sink_that_fails_is_switched_off_with_one_line(failing, tmp_path, monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(28, "No space left\non device")

    monkeypatch.setattr(f"torch.utils.tensorboard.SummaryWriter.{failing}", full)
    sinks = Sinks(tmp_path, 0, tensorboard=True)
    for step in (1, 2, 3):
        sinks.write(line(step))
    sinks.close()
    assert len(read(tmp_path / "metrics.jsonl")) == 3
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == "TensorBoard is switched off, metrics.jsonl goes on: [Errno 28] No space left"


def test_a_missing_package_is_said_before_anything_is_touched(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'byteproxy\[track\]'"):
        Sinks(tmp_path, 0, tensorboard=True)
    assert list(tmp_path.iterdir()) == []
    Sinks(tmp_path, 0).close()


def test_a_line_torn_by_a_kill_is_left_out_and_written_over(tmp_path):
    whole = [{"step": 1}, {"step": 2}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in whole) + '{"step": 3, "lo')
    sinks = Sinks(tmp_path, 2)
    sinks.write({"step": 3})
    sinks.close()
    assert read(tmp_path / "metrics.jsonl") == [*whole, {"step": 3}]


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), values, max_size=3))
def test_numbers_are_found_by_their_way(tree):
    found = dict(_scalars(tree))
    leaves = 0

    def walk(node, way):
        nonlocal leaves
        if isinstance(node, dict):
            for name, inner in node.items():
                walk(inner, (*way, name))
        elif type(node) in (int, float):
            leaves += 1
            assert math.isclose(found["/".join(way)], node)

    walk(tree, ())
    assert len(found) == leaves
