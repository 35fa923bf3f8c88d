"""What is written, against a loop that reads the whole window anew for every byte, and against the model's own odds."""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from byteproxy.coins import hashed
from byteproxy.errors import InputError
from byteproxy.generate import writer as writing
from byteproxy.generate.choice import Sampling
from byteproxy.generate.writer import Generation, Writer
from byteproxy.model.attention.layout import layout_of
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.vocab import EOS, FIRST_BYTE, byte_ids, closing, opening

ENDS = [closing(0), EOS]
CHOICES = [*ENDS, *range(FIRST_BYTE, 320)]
CONTEXT = 40
PROMPTS = [b"", b"def f(", b"x" * 39, b"y" * 40, b"z" * 1000, bytes(range(256)), "für €".encode()[:-1]]
EVERYTHING = {
    "qk_norm": True,
    "value_embeddings": True,
    "ngrams": (2, 4),
    "ngram_rows": 512,
    "ngram_outputs": True,
    "soft_cap": 30.0,
    "byte_head_ngrams": (2, 3),
}
DRAFTS = ["none", "heads", "copy", "both"]


def filled(rows=320, end=0.0, **options):
    torch.manual_seed(0)
    shape = {"width": 32, "layers": 2, "heads": 4, "key_value_heads": 2, "ffn": 48, "byte_heads": 4}
    model = Transformer(ModelConfig(**{**shape, **options}), rows)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.lm_head.weight.data[ENDS] *= end
    return model


def easy(**options):
    """A model that follows a cycle of 64 bytes, but not always, with heads that are right about it, but not always."""
    model = filled(layers=1, width=128, heads=4, **options)
    with torch.no_grad():
        model.norm.weight.fill_(1)
        for block in model.blocks():
            block.self_attn.o_proj.weight.mul_(0.03)
            block.mlp.down_proj.weight.mul_(0.03)
        table = model.embed_tokens.weight[FIRST_BYTE:]
        cycle = torch.arange(256) % 64
        model.lm_head.weight.mul_(0.3)
        for ahead, rows in enumerate([model.lm_head.weight, *model.byte_heads.weight], 1):
            rows[FIRST_BYTE : FIRST_BYTE + 64] = table[(cycle[:64] - ahead) % 64] * 2
    return model


@pytest.fixture(scope="module")
def model():
    return filled()


@pytest.fixture(scope="module")
def predictable():
    return easy()


def slow(model, prompt, most, temperature=0.0, seed=0, number=0):
    """The same without a cache, a batch or guesses, and with noise hashed one choice at a time."""
    text, start = bytearray(prompt), 0
    if len(prompt) >= CONTEXT:
        start = len(prompt) - CONTEXT // 2
    out = bytearray()
    for place in range(most):
        if len(text) - start > CONTEXT:
            start = len(text) - CONTEXT // 2
        symbols = torch.cat((torch.tensor([opening(0)]), torch.from_numpy(byte_ids(bytes(text[start:])))))
        with torch.no_grad():
            logits = model.lm_head.weight[CHOICES] @ model.hidden(symbols, layout_of(np.array([len(symbols)])))[-1]
        if cap := model.config.soft_cap:
            logits = cap * torch.tanh(logits / cap)
        if temperature:
            key = hashed(np.uint64(seed), np.uint64(number), np.uint64(0))
            bits = np.array(
                [hashed(key, np.uint64(place), np.uint64(choice)) >> np.uint64(11) for choice in range(258)]
            )
            uniform = (bits.astype(np.float64) + 0.5) / 2**53
            logits = logits / temperature - torch.from_numpy(np.log(-np.log(uniform)).astype(np.float32))
        symbol = CHOICES[int(logits.argmax())]
        if symbol < FIRST_BYTE:
            return Generation(bytes(out), "model")
        text.append(symbol - FIRST_BYTE)
        out.append(symbol - FIRST_BYTE)
    return Generation(bytes(out), "budget")


MODELS = {
    "plain": lambda: filled(),
    "everything": lambda: filled(**EVERYTHING),
    "ends": lambda: filled(end=1.0, soft_cap=3.0),
    "predictable": easy,
}


@cache
def written_slowly(name, temperature):
    model = MODELS[name]()
    return model, [slow(model, prompt, 50, temperature, 3, number) for number, prompt in enumerate(PROMPTS)]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("drafts", DRAFTS)
def test_as_a_model_that_reads_everything_anew(name, temperature, drafts):
    """One by one and all together; new windows too, where what n-grams reach back to ends with the window."""
    model, wanted = written_slowly(name, temperature)
    writer, sampling = Writer(model, CONTEXT), Sampling(temperature, seed=3)
    assert len({one.text for one in wanted}) > 3
    assert writer.write(PROMPTS, 50, sampling, drafts=drafts) == wanted
    assert writer.counts.close <= 2  # whose gaps are far above rounding
    assert writer.write(PROMPTS[:1], 50, sampling, drafts=drafts) == wanted[:1]
    assert (writer.counts.bytes_per_pass > 1) == (sum(writer.counts.right.values()) > 0)


def test_close_choices_are_counted(model):
    twin = Transformer(model.config, 320)
    twin.load_state_dict(model.state_dict())
    with torch.no_grad():
        twin.lm_head.weight[FIRST_BYTE + 128 :] = twin.lm_head.weight[FIRST_BYTE : FIRST_BYTE + 128]
    for drafts in ("none", "heads"):
        writer = Writer(twin, CONTEXT)
        writer.write([b"a", b"b"], 30, drafts=drafts)
        assert writer.counts.close == 60


def test_guesses_save_passes_and_are_counted_by_who_made_them(predictable):
    writer = Writer(predictable, 200)
    plain = writer.write([b"ab", b"", b"q"], 300, drafts="none")
    assert (writer.counts.bytes, writer.counts.passes, writer.counts.bytes_per_pass) == (900, 300, 1.0)
    for drafts in ("heads", "copy", "both"):
        assert writer.write([b"ab", b"", b"q"], 300, drafts=drafts) == plain
        counts = writer.counts
        assert (counts.bytes, counts.steps + sum(counts.right.values())) == (900, 900)
        assert counts.bytes_per_pass > 1.5
        assert (counts.guessed["heads"] > 0, counts.guessed["copy"] > 0) == (drafts != "copy", drafts != "heads")
        assert all(0 <= counts.right[name] <= counts.guessed[name] for name in counts.right)


def test_useless_guesses_are_given_up(model):
    writer = Writer(model, 200)
    writer.write([b"ab"], 600, Sampling(1.0))
    assert writer.counts.guessed["heads"] < 150


@pytest.mark.parametrize("drafts", DRAFTS)
def test_one_seed_one_text(model, drafts):
    writer = Writer(model, CONTEXT)
    texts = [writer.write([b"def"], 80, Sampling(1.0, seed=seed), drafts=drafts)[0].text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    one, other = writer.write([b"def", b"def"], 80, Sampling(1.0, seed=1), drafts=drafts)
    assert one.text == texts[0] != other.text


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-40])
@pytest.mark.parametrize("how", [{}, {"top_p": 0.9}, {"min_p": 0.1}])
def test_next_to_no_temperature_is_none(model, temperature, how):
    writer = Writer(model, CONTEXT)
    (wanted,) = writer.write([b"def"], 60)
    for drafts in DRAFTS:
        assert writer.write([b"def"], 60, Sampling(temperature, **how), drafts=drafts) == [wanted]


def constant(**options):
    """A model that says the same after every byte, so that one text is many draws; its heads say something like it."""
    model = filled(layers=1, end=1.0, **options)
    with torch.no_grad():
        model.embed_tokens.weight[:] = model.embed_tokens.weight[0]
        for block in model.blocks():
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
        model.lm_head.weight *= 3
        model.byte_heads.weight += model.lm_head.weight[:320]
        hidden = model.hidden(torch.tensor([opening(0)]), layout_of(np.array([1])))[0]
        model.lm_head.weight[ENDS] = -10 * hidden  # so that it does not end
        logits = (model.lm_head.weight[CHOICES] @ hidden)[2:].double()
    cap = model.config.soft_cap
    return model, (cap * torch.tanh(logits / cap) if cap else logits).numpy()


@pytest.mark.parametrize("drafts", ["none", "heads", "copy"])
@pytest.mark.parametrize(
    "how",
    [
        {"temperature": 1.0},
        {"temperature": 2.0},
        {"temperature": 0.7, "soft_cap": 4.0},
        {"temperature": 1.5, "top_p": 0.6},
        {"temperature": 1.5, "min_p": 0.05},
    ],
)
def test_draws_follow_the_models_distribution(how, drafts):
    how = dict(how)
    model, logits = constant(soft_cap=how.pop("soft_cap", 0.0))
    sampling = Sampling(**how, seed=5)
    wanted = np.exp(logits / sampling.temperature)
    wanted /= wanted.sum()
    wanted[wanted < sampling.min_p * wanted.max()] = 0
    order = np.argsort(-wanted)
    wanted[order[1:][np.cumsum(wanted[order])[:-1] >= sampling.top_p]] = 0
    wanted /= wanted.sum()
    writer = Writer(model, 60)
    draws = np.frombuffer(b"".join(one.text for one in writer.write([b""] * 8, 500, sampling, drafts=drafts)), np.uint8)
    assert len(draws) == 4000
    if drafts == "heads":
        assert writer.counts.right["heads"] > 500
    expected, counted = 4000 * wanted, np.bincount(draws, minlength=256)
    assert counted[wanted == 0].sum() == 0
    often = expected >= 5
    chi2 = ((counted[often] - expected[often]) ** 2 / expected[often]).sum()
    assert often.sum() > 4
    assert chi2 < often.sum() + 4 * np.sqrt(2 * often.sum())


@pytest.fixture(scope="module")
def writer(model):
    return Writer(model, CONTEXT)


@settings(max_examples=40)
@given(
    st.lists(st.text(max_size=30), min_size=1, max_size=3),
    st.integers(0, 40),
    st.floats(0, 3),
    st.integers(0, 1 << 62),
    st.sampled_from(DRAFTS),
    st.lists(st.text(min_size=1, max_size=2), max_size=2),
)
def test_masked_output_decodes(writer, prompts, most, temperature, seed, drafts, stops):
    sampling = Sampling(temperature, seed=seed, utf8=True)
    found = writer.write([one.encode() for one in prompts], most, sampling, [one.encode() for one in stops], drafts)
    for one in found:
        assert not any(stop in one.text.decode() for stop in stops)
        assert len(one.text) == most or one.ended != "budget"


@pytest.mark.parametrize("drafts", DRAFTS)
def test_a_character_that_the_prompt_began_is_finished(writer, drafts):
    for prompt in ("€".encode()[:1], "€".encode()[:2], b"\xf0\x90", b"\xff\xc3", b"\xed", b"\xf4"):
        (found,) = writer.write([prompt], 30, Sampling(1.0, utf8=True), drafts=drafts)
        (prompt.removeprefix(b"\xff") + found.text).decode()
        assert len(found.text) == 30


@settings(max_examples=40)
@given(st.integers(0, 1 << 62), st.integers(0, 30), st.integers(1, 4), st.sampled_from(DRAFTS), st.booleans())
def test_a_stop_ends_a_text_where_it_first_appears(writer, seed, place, length, drafts, longer):
    sampling = Sampling(2.0, seed=seed)
    (whole,) = writer.write([b"a"], 60, sampling, drafts="none")
    stop = whole.text[place : place + length]
    assume(len(stop) == length)  # a text may end before
    stops = [stop, stop + b"??", b"never"] + ([whole.text[place : place + length + 1]] if longer else [])
    pieces = list(writer.pieces([b"a"], 60, sampling, stops, drafts))
    assert b"".join(piece for _, piece, _ in pieces) == whole.text[: whole.text.index(stop)]
    assert [end for _, _, end in pieces if end] == ["stop"]


def test_what_may_begin_a_stop_is_held_back_and_released_in_the_end(predictable):
    writer = Writer(predictable, CONTEXT)
    (whole,) = writer.write([b"a"], 30)
    begun = whole.text[-3:] + b"!"
    streamed = list(writer.stream(b"a", 30, stops=[begun], drafts="none"))
    assert b"".join(streamed) == whole.text
    assert streamed[-1][-3:] == whole.text[-3:]


def test_the_model_can_end_the_text(model):
    for end in ENDS:
        ending = Transformer(model.config, 320)
        ending.load_state_dict(model.state_dict())
        with torch.no_grad():
            hidden = ending.hidden(torch.tensor([opening(0)]), layout_of(np.array([1])))
            ending.lm_head.weight[end] = hidden[0] * 10
        assert Writer(ending, CONTEXT).write([b"", b""], 10) == [Generation(b"", "model")] * 2


def test_more_prompts_than_go_together_and_none(model, monkeypatch):
    writer = Writer(model, CONTEXT)
    prompts = [bytes([65 + number]) * number for number in range(9)]
    together = writer.write(prompts, 20, Sampling(1.0))
    monkeypatch.setattr("byteproxy.generate.writer.MAX_DOCUMENTS_PER_PASS", 4)
    assert writer.write(prompts, 20, Sampling(1.0)) == together
    assert writer.write([], 20) == []
    assert writer.write(prompts[:2], 0) == [Generation(b"", "budget")] * 2


def test_streams_of_one_writer_do_not_disturb_each_other(model):
    writer = Writer(model, CONTEXT)
    wanted = writer.write([b"ab"], 20)[0].text, writer.write([b"cd"], 20)[0].text
    one, other = (writer.stream(prompt, 20, drafts="none") for prompt in (b"ab", b"cd"))
    pairs = list(zip(one, other, strict=True))
    assert tuple(b"".join(pieces) for pieces in zip(*pairs, strict=True)) == wanted


def test_a_megabyte_is_read_from_its_end(model):
    tail = bytes(range(100, 120))
    assert Writer(model, CONTEXT).write([b"\x00\xff" * 500_000 + tail, b"." * 40 + tail], 20)[0] == slow(
        model, tail, 20
    )


def test_a_window_costs_no_more_after_a_long_prompt(model, monkeypatch):
    turned = []
    monkeypatch.setattr(writing, "byte_ids", lambda text: turned.append(len(text)) or byte_ids(text))
    Writer(model, CONTEXT).write([b"ab" * 500_000], 3 * CONTEXT, drafts="none")
    assert len(turned) > 4, "several windows were opened"
    assert max(turned) <= CONTEXT + 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"most": -1}, "give a whole number from 0"),
        ({"stops": [b""]}, "stop string is empty"),
        ({"stops": [b"\xff"], "sampling": Sampling(utf8=True)}, "no UTF-8"),
    ],
)
def test_wrong_requests_are_refused(writer, change, says):
    with pytest.raises(InputError, match=says):
        writer.write(**{"prompts": [b"a"], "most": 3, **change})


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0}, {"min_p": 1.5}, {"seed": -1}]
)
def test_wrong_sampling_is_refused(wrong):
    with pytest.raises(InputError, match="give"):
        dataclasses.replace(Sampling(), **wrong)


def test_models_and_contexts_that_cannot_write_are_refused(model):
    with pytest.raises(InputError, match=r"319 symbols.* first 320"):
        Writer(filled(rows=319), CONTEXT)
    with pytest.raises(InputError, match="at least 2"):
        Writer(model, 1)
