"""The kinds of models that are converted: a GGUF file as well as a folder, and what of them is remembered."""

import json
import shutil

import pytest
from tests.convert.tiny import RECIPE, conversion
from tests.interop.test_stock import stock
from tests.views.bpe.families import smollm2

from byteproxy.convert.run_conversion import run_conversion
from byteproxy.errors import InputError
from byteproxy.runs.load import load
from byteproxy.runs.source_model import described, find, find_again, named

pytest.importorskip("gguf")
pytest.importorskip("transformers")
from tests.interop.gguf_files import copied
from tests.runs.test_start_kinds import as_gguf


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    """A Llama and its tokenizer in one file, as llama.cpp's converter makes it."""
    folder = tmp_path_factory.mktemp("gguf") / "model"
    content = smollm2()
    numbers = [*content["model"]["vocab"].values(), *(one["id"] for one in content["added_tokens"])]
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "intermediate_size": 64, "head_dim": 16}
    theirs = stock("llama", vocab_size=max(numbers) + 1, **shape, bos_token_id=1, eos_token_id=2)
    theirs.save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return as_gguf(folder, content, scored=False)


@pytest.fixture(scope="module")
def converted(gguf, text, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted") / "out"
    return out, run_conversion(conversion(gguf, text), out, gguf=True)


def test_a_gguf_file_is_converted(converted, gguf):
    out, results = converted
    assert results["model"]["path"] == str(gguf)
    assert results["model"]["architecture"] == "LlamaForCausalLM"
    assert results["model"]["tokens"] == described(gguf).view.alphabet_size
    assert results["after"]["raw_bpb"] < results["before"]["raw_bpb"]
    assert len(load(out / "model").generate("def ", 5)[0].text) <= 5
    assert len(results["samples"]) == len(RECIPE.samples.prompts)


def test_its_own_bytes_are_no_model_of_tokens(converted):
    out, _ = converted
    with pytest.raises(InputError, match="reads raw bytes already"):
        described(out / "model/model.gguf")


def test_of_another_architecture_it_is_refused(gguf, tmp_path):
    other = copied(gguf, tmp_path / "other.gguf", general__architecture="gpt2")
    with pytest.raises(InputError, match="gpt2"):
        described(other)


def test_what_few_bits_lost_is_said(gguf, text, tmp_path):
    small = copied(gguf, tmp_path / "small.gguf", "Q8_0")
    told = []
    results = run_conversion(conversion(small, text), tmp_path / "out", tell=told.append)
    assert results["model"]["quantization"] == "Q8_0"
    assert any("are stored as Q8_0" in line for line in told)


def test_it_is_known_again_and_another_in_its_place_is_not(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "copy")
    source = find(named(str(copy))).remembered()
    assert find_again(source) == source
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rope_theta": 5000.0}))
    with pytest.raises(InputError, match="is not the one that was begun with"):
        find_again(source)
    shutil.rmtree(copy)
    with pytest.raises(InputError, match="is not there: bring it back"):
        find_again(source)
