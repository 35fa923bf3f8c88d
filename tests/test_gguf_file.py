"""The beginning of a GGUF file, copied part by part, says what the whole file says."""

import numpy as np
import pytest

from byteproxy import gguf_file
from byteproxy.errors import InputError
from byteproxy.gguf_file import GgufFile, copy_header

gguf = pytest.importorskip("gguf")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "whole.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token {number}" for number in range(300)])
    writer.add_chat_template("{{ messages }}")
    for name in ("first", "wanted", "last"):
        writer.add_tensor(name, np.random.default_rng(0).normal(size=(64, 32)).astype(np.float32))
    writer.add_tensor("packed", np.ones((4, 34), np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return GgufFile(path)


def copied(whole, to, content=None, wanted=()):
    """The places of a file that were asked for while it was copied."""
    content, asked = whole.path.read_bytes() if content is None else content, []

    def read(begin, end):
        asked.append((begin, end))
        return content[begin:end]

    copy_header(read, len(content), to, wanted)
    return asked


@pytest.mark.parametrize("part", [7, 1000, 1 << 20])
def test_a_copy_says_the_same(whole, tmp_path, monkeypatch, part):
    monkeypatch.setattr(gguf_file, "_PART", part)
    asked = copied(whole, tmp_path / "copy.gguf", wanted=("wanted",))
    copy = GgufFile(tmp_path / "copy.gguf")
    assert (copy.shapes, copy.quantization) == (whole.shapes, "Q8_0")
    for name in ("general.architecture", "tokenizer.ggml.tokens", "tokenizer.chat_template"):
        assert copy.get(name) == whole.get(name)
    assert copy.tensor("wanted").tolist() == whole.tensor("wanted").tolist()
    assert copy.path.stat().st_size == whole.path.stat().st_size
    if part < 1 << 20:
        header = whole.path.stat().st_size - 3 * 64 * 32 * 4 - 4 * 34
        assert sum(end - begin for begin, end in asked) < header + part + 64 * 32 * 4
        assert not copy.tensor("last").any()


def test_damage_is_refused(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(gguf_file, "_PART", 100)
    content = whole.path.read_bytes()
    for damaged, said in ((content[:500], "it ends at byte 500"), (b"no GGUF file", "magic"), (b"", "empty")):
        with pytest.raises(InputError, match=rf"copy\.gguf is no GGUF file that can be read .*{said}"):
            copied(whole, tmp_path / "copy.gguf", damaged)
    monkeypatch.setattr(gguf_file, "_MAX_HEADER", 200)
    with pytest.raises(InputError, match="it says more than 200 bytes before its tensors"):
        copied(whole, tmp_path / "copy.gguf")
    with pytest.raises(InputError, match="of its bytes 0 to 100 only 5 came"):
        copy_header(lambda begin, end: content[begin : begin + 5], len(content), tmp_path / "copy.gguf")
