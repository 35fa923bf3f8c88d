"""Files of trained views that were damaged, also by somebody who let the checksum fit: one line, nothing followed."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.views.predictors import Rolling

from byteproxy.errors import InputError
from byteproxy.views import registry, shuffled
from byteproxy.views.artefact import from_content, to_content
from byteproxy.views.codebook import FORMAT as CODEBOOK
from byteproxy.views.codebook import SINGLES, CodebookView
from byteproxy.views.coder import Code
from byteproxy.views.neural_tree import expanded
from byteproxy.views.neural_view import FORMAT as NEURAL
from byteproxy.views.neural_view import Compiled, NeuralView

TEXT = b"the cat sat on the mat\n" * 3
NUMBERS = [0, 1, 2, 255, 256, -1, 1 << 16, 1 << 31, (1 << 63) - 1, -(1 << 63)]


def a_codebook(path: Path) -> None:
    CodebookView([*SINGLES, b"the ", b"at"]).save(path)


def a_neural_view(path: Path) -> None:
    tree = expanded(Rolling(), Code(12, 16))
    assert tree is not None
    NeuralView(tree, Compiled(Code(12, 16), "rolling")).save(path)


KINDS = {"codebook": (a_codebook, CODEBOOK, CodebookView.load), "neural": (a_neural_view, NEURAL, NeuralView.opened)}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    make, form, load = KINDS[request.param]
    path = tmp_path_factory.mktemp("views") / "view"
    make(path)
    return path, form, load


@settings(max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_is_refused(kind, data):
    path, _, load = kind
    content = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    other = path.with_name("other")
    other.write_bytes(flipped(content, bit))
    with pytest.raises(InputError) as error:
        load(other)
    assert "\n" not in str(error.value)


def flipped(content: bytes, bit: int) -> bytes:
    found = bytearray(content)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_number_that_the_checksum_agrees_with_is_refused_or_sound(kind, data):
    """What loads can be walked: it encodes a text into symbols of its alphabet that cover it."""
    path, form, load = kind
    tensors, about = from_content(path.read_bytes(), form, path)
    tensors = {name: tensor.copy() for name, tensor in tensors.items()}
    name = data.draw(st.sampled_from(sorted(tensors)))
    how = data.draw(st.sampled_from(["number", "cut", "type", "gone", "about"]))
    if how == "number" and tensors[name].size:
        place = data.draw(st.integers(0, tensors[name].size - 1))
        tensors[name].ravel()[place] = np.array(data.draw(st.sampled_from(NUMBERS))).astype(tensors[name].dtype)
    elif how == "cut":
        tensors[name] = tensors[name][: data.draw(st.integers(0, len(tensors[name])))]
    elif how == "type":
        tensors[name] = tensors[name].astype(data.draw(st.sampled_from(["int8", "uint16", "int64", "float64"])))
    elif how == "gone":
        del tensors[name]
    else:
        field = data.draw(st.sampled_from(sorted(set(about) - {"format", "version"})))
        about[field] = data.draw(st.sampled_from(["", "{}", "[" * 10**5, "1" * 5000, '{"code": {"bits": 99}}', "null"]))
    about = {field: value for field, value in about.items() if field not in ("format", "version", "sha256")}
    other = path.with_name("other")
    other.write_bytes(to_content(form, tensors, about))
    try:
        found = load(other)
        view = found if isinstance(found, CodebookView) else NeuralView(*found)
    except InputError as error:
        assert len(str(error)) < 1000  # noqa: PT017
        return
    symbols, spans = view.encode(TEXT)
    assert int(spans.sum()) == len(TEXT)
    assert int(symbols.max()) < view.alphabet_size


def test_what_is_packed_in_a_file_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(shuffled, "MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.shuffled"
    path.write_bytes(b"byteproxy-shuffled 1\n" + zlib.compress(bytes(1 << 24)))
    with pytest.raises(InputError, match="cut off or damaged"):
        registry.load(path)


def test_a_file_that_never_ends_is_no_view(tmp_path):
    (tmp_path / "endless.codebook").symlink_to("/dev/zero")
    for load in (registry.load, CodebookView.load, NeuralView.opened):
        with pytest.raises(InputError, match=r"no file|no regular file"):
            load(tmp_path / "endless.codebook")
    assert not CodebookView.recognises(tmp_path / "endless.codebook")


def test_options_of_a_file_are_those_of_a_codebook(tmp_path):
    a_codebook(tmp_path / "c.codebook")
    tensors, _ = from_content((tmp_path / "c.codebook").read_bytes(), CODEBOOK, tmp_path)
    for options in ({"bits": "many"}, {"unknown": 1}, {"parse": "backwards"}):
        said = {"options": json.dumps(options), "name": "x"}
        (tmp_path / "c.codebook").write_bytes(to_content(CODEBOOK, tensors, said))
        with pytest.raises(InputError, match="holds what no codebook does"):
            CodebookView.load(tmp_path / "c.codebook")
