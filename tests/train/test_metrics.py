import math
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.errors import InputError
from byteproxy.train import metrics as metrics_module
from byteproxy.train.metrics import Metrics, _scalars, read, read_log


def drawn(folder):
    """What TensorBoard shows of a run: {name: [(step, value)]}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # seconds, for each process

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return {name: [(one.step, one.value) for one in events.Scalars(name)] for name in events.Tags()["scalars"]}


def line(step):
    return {"step": step, "loss": 1 / 2**step, "raw_loss": None, "share": {"text": {"code": step / 4}, "no": None}}


def test_lines_go_to_both_and_only_numbers_are_drawn(tmp_path):
    metrics = Metrics(tmp_path, 0, tensorboard=True)
    lines = [line(step) | {"name": "x", "flag": True, "list": [1], "flops": 1 << 60} for step in (1, 2)]
    for one in lines:
        metrics.write(one)
    metrics.close()
    assert read(tmp_path / "metrics.jsonl") == lines
    assert drawn(tmp_path) == {
        "loss": [(1, 0.5), (2, 0.25)],
        "share/text/code": [(1, 0.25), (2, 0.5)],
        "flops": [(1, float(1 << 60)), (2, float(1 << 60))],
    }


def test_a_resumed_run_draws_over_what_it_takes_back(tmp_path):
    for start, stop in ((0, 5), (2, 4)):
        metrics = Metrics(tmp_path, start, tensorboard=True)
        for step in range(start + 1, stop + 1):
            metrics.write(line(step))
        metrics.close()
    assert [one["step"] for one in read(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]
    assert [step for step, _ in drawn(tmp_path)["loss"]] == [1, 2, 3, 4]


def test_nothing_but_the_lines_is_written_unless_asked(tmp_path):
    metrics = Metrics(tmp_path, 0)
    metrics.write(line(1))
    metrics.close()
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


@pytest.mark.parametrize("failing", ["__init__", "add_scalar", "close"])
def test_a_sink_that_fails_is_switched_off_with_one_line(failing, tmp_path, monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(28, "No space left\non device")

    monkeypatch.setattr(f"torch.utils.tensorboard.SummaryWriter.{failing}", full)
    metrics = Metrics(tmp_path, 0, tensorboard=True)
    for step in (1, 2, 3):
        metrics.write(line(step))
    metrics.close()
    assert len(read(tmp_path / "metrics.jsonl")) == 3
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning == "TensorBoard is switched off, metrics.jsonl goes on: [Errno 28] No space left"


def test_a_missing_package_is_said_before_anything_is_touched(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"pip install 'byteproxy\[track\]'"):
        Metrics(tmp_path, 0, tensorboard=True)
    assert list(tmp_path.iterdir()) == []
    Metrics(tmp_path, 0).close()


def test_a_line_torn_by_a_kill_is_left_out_and_written_over(tmp_path):
    whole = [{"step": 1}, {"step": 2}]
    path = logged(tmp_path, [*whole, {"step": 3}])
    path.write_bytes(path.read_bytes()[:-20])
    metrics = Metrics(tmp_path, 2)
    metrics.write({"step": 3})
    metrics.close()
    assert read(tmp_path / "metrics.jsonl") == [*whole, {"step": 3}]


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)


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


LINES = [line(step) | ({"raw_bpb": 2.5 / step} if step % 3 == 0 else {}) for step in range(1, 13)]


def logged(folder, lines=LINES):
    metrics = Metrics(folder, 0)
    for one in lines:
        metrics.write(one)
    metrics.close()
    return folder / "metrics.jsonl"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    return logged(tmp_path_factory.mktemp("log")).read_bytes()


def damages(content):
    """Bits flipped, bytes replaced, stretches cut out or doubled or overwritten: anywhere."""
    at = st.integers(0, len(content) - 1)
    bit = st.integers(0, 7)
    flipped = st.builds(lambda i, n: content[:i] + bytes([content[i] ^ 1 << n]) + content[i + 1 :], at, bit)
    stretch = st.binary(min_size=1, max_size=60)
    written = st.builds(lambda i, what: content[:i] + what + content[i + len(what) :], at, stretch)
    cut = st.builds(lambda i, n: content[:i] + content[i + n :], at, st.integers(1, 60))
    digits = st.builds(
        lambda i, digit: content[:i] + digit + content[i + 1 :],
        st.sampled_from([i for i, byte in enumerate(content) if chr(byte).isdigit()]),
        st.sampled_from([b"%d" % digit for digit in range(10)]),
    )
    return st.one_of(flipped, written, cut, digits)


def around(log):
    """The lines read before and after each gap, if no damaged one stands between."""
    number, found = 0, []
    for index, one in enumerate(log.lines):
        number += 1
        while number in log.damaged:
            number += 1
        if number in log.gaps:
            found.append((log.lines[index - 1] if index else {"step": 0}, one))
    return found


@settings(max_examples=300)
@given(data=st.data())
def test_no_damage_changes_a_figure_and_none_takes_a_sound_line_away(data, content, tmp_path_factory):
    """Each line read is one that was written; each that stands there unaltered is read, before and after a resume."""
    damaged = data.draw(damages(content))
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / "metrics.jsonl"
    path.write_bytes(damaged)
    whole = [values for raw, values in zip(content.splitlines(), LINES, strict=True) if raw in damaged.split(b"\n")]
    log = read_log(path)
    assert all(one in LINES for one in log.lines)
    assert [one for one in LINES if one in log.lines] == log.lines
    assert all(one in log.lines for one in whole)
    assert all(before["step"] + 1 < after["step"] for before, after in around(log))
    if len(log.lines) < len(LINES) - 1 and len(damaged) == len(content):
        assert log.damaged
    step = data.draw(st.integers(0, 13))
    metrics = Metrics(folder, step)
    metrics.write({"step": 13})
    metrics.close()
    assert read_log(path).lines == [*(one for one in log.lines if one["step"] <= step), {"step": 13}]


def test_damaged_lines_are_said_once_and_stay_where_they_are(tmp_path, capsys):
    path = logged(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1], lines[4] = b"{\n", lines[4].replace(b"0.03125", b"0.03126")
    path.write_bytes(b"".join(lines))
    expected = [one for one in LINES if one["step"] not in (2, 5)]
    assert read(path) == read(path) == expected
    assert capsys.readouterr().err == f"{path}: 2 lines are damaged and left out (2, 5)\n"
    Metrics(tmp_path, 6).close()
    assert path.read_bytes() == b"".join(lines[:6])
    assert [line["step"] for line in read(path)] == [1, 3, 4, 6]


@settings(max_examples=100)
@given(data=st.data())
def test_lines_that_were_taken_out_are_noticed_in_a_resumed_run_too(data, tmp_path_factory):
    """All but the last ones, whose absence nothing in the file can tell."""
    stop = data.draw(st.integers(0, 12))
    folder = tmp_path_factory.mktemp("cut")
    logged(folder, LINES[:stop])
    metrics = Metrics(folder, data.draw(st.integers(0, stop)))
    metrics.write({"step": 13})
    metrics.write({"step": 14})
    metrics.close()
    path = folder / "metrics.jsonl"
    assert read_log(path).gaps == []
    raws = path.read_bytes().splitlines(keepends=True)
    kept = sorted(data.draw(st.sets(st.integers(0, len(raws) - 1))))
    path.write_bytes(b"".join(raws[number] for number in kept))
    gaps = [place for place, number in enumerate(kept, 1) if number != (kept[place - 2] + 1 if place > 1 else 0)]
    assert read_log(path).gaps == gaps
    assert read_log(path).damaged == []


def test_that_lines_were_taken_out_is_said_once(tmp_path, capsys):
    path = logged(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:3] + lines[5:]))
    assert len(read(path)) == len(read(path)) == len(LINES) - 2
    assert capsys.readouterr().err == f"{path}: lines were taken out before those of these numbers (4)\n"


def test_a_line_without_a_checksum_is_damaged_wherever_it_is_cut(tmp_path):
    """A cut may leave one sound object of JSON, with the checksum of the line before fused with its own."""
    content = logged(tmp_path, LINES[:2]).read_bytes()
    first = content.index(b"\n") + 1
    path = tmp_path / "cut.jsonl"
    for begin in range(first - 1):
        for size in range(1, first - 1 - begin):
            path.write_bytes(content[:begin] + content[begin + size :])
            assert read_log(path) == ([LINES[1]], [1], [])


def test_a_full_disk_leaves_whole_lines_and_one_line_of_why(tmp_path, monkeypatch):
    metrics = Metrics(tmp_path, 0)
    metrics.write(LINES[0])
    write = os.write
    room = 30

    def full(file, content):
        nonlocal room
        if room == 0:
            raise OSError(28, "No space left on device")
        written, room = write(file, content[:room]), 0
        return written

    monkeypatch.setattr(metrics_module.os, "write", full)
    with pytest.raises(InputError, match=r"cannot write .*metrics.jsonl \(No space left on device\)"):
        metrics.write(LINES[1])
    monkeypatch.undo()
    metrics.write(LINES[2])
    metrics.close()
    assert read_log(tmp_path / "metrics.jsonl") == ([LINES[0], LINES[2]], [], [])


def test_what_is_no_file_is_no_log(tmp_path):
    assert read(tmp_path / "metrics.jsonl") == []
    (tmp_path / "metrics.jsonl").mkdir()
    assert read(tmp_path / "metrics.jsonl") == []
    with pytest.raises(InputError, match="cannot write"):
        Metrics(tmp_path, 0)


def test_a_pipe_that_nobody_writes_to_is_no_log_and_holds_nobody_up(tmp_path):
    os.mkfifo(tmp_path / "metrics.jsonl")
    assert read_log(tmp_path / "metrics.jsonl") == ([], [1], [])
    with pytest.raises(InputError, match="no regular file"):
        Metrics(tmp_path, 0)
