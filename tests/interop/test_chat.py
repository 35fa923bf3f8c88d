"""Chats of a model of bytes against the model of tokens that they come from, as transformers writes them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.interop.chats import FIRST, SPECIALS, TEMPLATE, chat_tokenizer

from byteproxy.errors import InputError
from byteproxy.interop import chat_prompt as prompts
from byteproxy.interop import chat_render
from byteproxy.interop.chat import Chat
from byteproxy.interop.chat_prompt import chat_prompt
from byteproxy.interop.source_chat import SourceChat, folder_byte_chat, folder_chat
from byteproxy.interop.tokenizer import is_byte_tokenizer, tokenizer_files
from byteproxy.runs import run_chat
from byteproxy.train.train_config import Start, TrainConfig

AutoTokenizer = pytest.importorskip("transformers").AutoTokenizer

SENTINELS = {"<|im_end|>": 3, "<|end_of_text|>": 4, "<|im_start|>": 5}
HELLO = [{"role": "user", "content": "Hello"}]
CONTENTS = st.lists(st.one_of(st.text(), st.sampled_from(["\n", "<|im", "\U000f0000", "{{ bos_token }}"]))).map("".join)
NAMES = st.lists(st.one_of(st.text(max_size=5), st.sampled_from([*SPECIALS, "<raw>", "<eos>", "<special-20>"])))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat") / "source"
    return folder, chat_tokenizer(folder)


@pytest.fixture(scope="module")
def chat(source):
    return folder_chat(source[0]).chat(2)


def written(chat, folder):
    folder.mkdir(exist_ok=True)
    for name, content in tokenizer_files(512, chat).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def exported(chat, tmp_path_factory):
    return written(chat, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def tokenizers(source, exported):
    return AutoTokenizer.from_pretrained(source[0]), AutoTokenizer.from_pretrained(exported)


@pytest.fixture
def here(monkeypatch):
    """Templates are rendered in this process: a property is tried a hundred times."""

    def rendered(template, messages, more):
        return chat_render._answer(json.loads(json.dumps({"template": template, "messages": messages, "more": more})))[
            "text"
        ]

    monkeypatch.setattr(prompts, "rendered", rendered)


def spelled(ids, view):
    """Tokens as ids of bytes and sentinels, by the stated rule; bos is `<raw>`."""
    sentinels = {FIRST + SPECIALS.index(name): number for name, number in SENTINELS.items()} | {FIRST: 12}
    strings = view.strings
    return [
        one for token in ids for one in ([sentinels[token]] if token in sentinels else [64 + b for b in strings[token]])
    ]


several = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@several
@given(contents=st.lists(CONTENTS, min_size=1, max_size=3))
def test_a_chat_is_that_of_the_source_spelled_to_bytes(contents, source, chat, tokenizers, here):
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(contents)]
    theirs, ours = tokenizers
    ids = theirs.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    wanted = spelled(ids, source[1])
    assert ours.apply_chat_template(messages, add_generation_prompt=True, return_dict=False) == wanted
    assert chat_prompt(chat, messages).ids.tolist() == wanted
    assert wanted[:2] == [12, 5]


@several
@given(content=NAMES.map("".join))
def test_a_name_in_a_message_stays_text(content, chat, tokenizers, here):
    messages = [{"role": "system", "content": content}, {"role": "user", "content": content}]
    found = chat_prompt(chat, messages).ids.tolist()
    assert found == tokenizers[1].apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False, sanitize_control_tokens=True
    )
    assert [one for one in found if one < 64] == [5, 3, 5, 3, 5]
    assert bytes(one - 64 for one in found if one >= 64).count(content.encode()) >= 2


def test_what_a_message_says_may_be_no_text(chat, here):
    found = chat_prompt(chat, [{"role": "user", "content": b"a\xff".decode("utf-8", "surrogateescape")}]).text
    assert b"user\na\xff\n" in found


def test_the_tokenizer_of_a_chat_is_still_that_of_bytes_and_says_the_same_chat(exported, chat, source):
    assert is_byte_tokenizer(exported / "tokenizer.json")
    assert not is_byte_tokenizer(source[0] / "tokenizer.json")
    (exported / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 13, *chat.ends]}))
    assert folder_byte_chat(exported) == chat
    assert (chat.sentinels, chat.ends, chat.eos) == (SENTINELS, (3, 4), "<|im_end|>")


def test_specials_in_text_are_found_by_all_tools_unless_they_are_told_not_to(tokenizers, exported):
    from tokenizers import Tokenizer

    ours, text = tokenizers[1], "a<|im_end|>b<raw>"
    ids = [12, 64 + ord("a"), 3, 64 + ord("b"), 12]
    assert ours(text).input_ids == Tokenizer.from_file(str(exported / "tokenizer.json")).encode(text).ids == ids
    assert ours(text, split_special_tokens=True).input_ids == [12, *(64 + byte for byte in text.encode())]
    assert ours.decode(ids, skip_special_tokens=True) == "ab"
    assert (ours.eos_token_id, ours.bos_token_id, ours.pad_token_id) == (3, 12, 0)


def test_sentinels_go_to_ends_first_and_then_by_id_as_far_as_there_are_free_ones():
    specials = {f"<t{number}>": number for number in range(100)}
    source = SourceChat({"default": "".join(specials)}, specials, (70,), "<t70>")
    found = source.sentinels(2)
    assert found["<t70>"] == 3
    assert [*found.values()] == [*range(3, 12), *range(16, 64)]
    assert [*found] == ["<t70>", *(f"<t{number}>" for number in range(56))]
    chat = source.chat(2)
    assert (chat.ends, chat.eos) == ((3,), "<t70>")
    assert source.sentinel_tokens(2, 50) == dict(zip([*range(4, 12), *range(16, 58)], range(50), strict=True))


def test_names_that_can_be_no_special_of_bytes_are_spelled():
    specials = {"!": 0, "\u010a": 1, "\ud800x": 2, "<raw>": 3, "<eos>": 4, "x" * 300: 5, "<a>": 6}
    source = SourceChat({"default": "".join(specials)}, specials, (4, 99), "<eos>")
    assert source.sentinels(1) == {"<a>": 3}
    assert (source.chat(1).ends, source.chat(1).eos) == ((), "<eos>")
    tokenizer_files(10, source.chat(1))


def test_several_templates_keep_their_names(tmp_path):
    several = [{"name": "default", "template": TEMPLATE}, {"name": "plain", "template": "{{ messages[0].content }}"}]
    chat_tokenizer(tmp_path / "source", several)
    chat = folder_chat(tmp_path / "source").chat(2)
    ours = AutoTokenizer.from_pretrained(written(chat, tmp_path / "out"))
    wanted = [64 + byte for byte in b"Hello"]
    assert ours.apply_chat_template(HELLO, chat_template="plain", return_dict=False) == wanted
    assert chat_prompt(chat, HELLO, "plain").ids.tolist() == wanted
    assert folder_byte_chat(tmp_path / "out").templates == chat.templates
    with pytest.raises(InputError, match=r"no chat template 'tools': name one of default, plain"):
        chat_prompt(chat, HELLO, "tools")


def test_templates_in_files_come_before_the_config(tmp_path):
    chat_tokenizer(tmp_path / "source", "of the config")
    (tmp_path / "source/chat_template.jinja").write_text("of the file")
    (tmp_path / "source/additional_chat_templates").mkdir()
    (tmp_path / "source/additional_chat_templates/rag.jinja").write_text("of another")
    assert folder_chat(tmp_path / "source").templates == {"default": "of the file", "rag": "of another"}


def test_without_a_template_there_is_no_chat(tmp_path):
    chat_tokenizer(tmp_path / "source", None)
    assert folder_chat(tmp_path / "source") is None
    assert folder_byte_chat(written(None, tmp_path / "out")) is None
    assert folder_chat(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (5, "is no text"),
        ({"default": "a"}, "is no text"),
        ([{"name": "default"}], "is no text"),
        (["a"], "is no text"),
        ("a" * (1 << 20) + "a", "has 1,048,577 characters"),
        ("\ud800", "no Unicode"),
        ([{"name": "a\n", "template": "a"}], "is no text"),
        ([{"name": ["a"], "template": "a"}], "is no text"),
    ],
)
def test_a_template_that_is_none_is_refused(template, said, tmp_path):
    chat_tokenizer(tmp_path / "source", template)
    with pytest.raises(InputError, match=said):
        folder_chat(tmp_path / "source")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b"[]"),
        ("generation_config.json", b"\xff"),
        ("chat_template.jinja", b"\xff"),
        ("tokenizer.json", b'{"added_tokens": [{"special": true}]}'),
    ],
)
def test_a_damaged_file_is_named(file, content, tmp_path):
    chat_tokenizer(tmp_path / "source")
    (tmp_path / "source" / file).write_bytes(content)
    with pytest.raises(InputError, match=file):
        folder_chat(tmp_path / "source")


def test_a_rendering_is_a_process_of_its_own(chat, here):
    inside = chat_prompt(chat, HELLO).ids
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompts, "rendered", chat_render.rendered)
        np.testing.assert_array_equal(chat_prompt(chat, HELLO).ids, inside)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('roles must\n alternate') }}", "refuses these messages: roles must alternate"),
        ("a\n{% if %}", "can't be used .line 2: Expected"),
        ("{{ ''.__class__.__mro__ }}", "can't be used .*unsafe"),
        ("{{ messages.append(1) }}", "can't be used .*unsafe"),
        ("{{ messages[0].content.nothing.more }}", "can't be used"),
        ("{{ 'a' * 10000000000 }}", "can't be used .MemoryError"),
        ("{{ 'a' * 20000000 }}", "it writes 20,000,000 characters"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "can't be used .RecursionError"),
    ],
)
def test_what_a_template_does_wrong_is_said_in_a_line(template, said, here):
    with pytest.raises(InputError, match=said) as raised:
        chat_render.rendered(template, HELLO, {})
    assert "\n" not in str(raised.value)


def test_a_template_that_never_ends_is_stopped(monkeypatch):
    monkeypatch.setattr(chat_render, "SECONDS", 1.0)
    loop = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with pytest.raises(InputError, match="was still running after 1 seconds"):
        chat_render.rendered(loop, HELLO, {})


@pytest.mark.parametrize("messages", [[], "Hello", [["user"]], [{"content": "a"}], None])
def test_what_is_no_list_of_messages_is_refused(messages, chat):
    with pytest.raises(InputError, match="messages are"):
        chat_prompt(chat, messages)


@pytest.mark.parametrize(
    ("content", "said"), [("a\ud83d", "half a surrogate pair, '.ud83d'"), (b"a", "can't be said in JSON .*bytes")]
)
def test_what_no_message_can_say_is_refused(content, said, chat, here, monkeypatch):
    if isinstance(content, bytes):
        monkeypatch.setattr(prompts, "rendered", chat_render.rendered)
    with pytest.raises(InputError, match=said):
        chat_prompt(chat, [{"role": "user", "content": content}])


def test_a_chat_with_every_mark_is_refused(chat):
    everything = "".join(map(chr, prompts._MARKS))
    for content in (everything, [{"type": "text", "text": everything}]):
        with pytest.raises(InputError, match=r"all 1,024 characters for private use from U\+F0000 to U\+F03FF"):
            chat_prompt(chat, [{"role": "user", "content": content}])


def test_an_eos_that_is_no_special_of_bytes_is_not_taken(chat, tmp_path):
    folder = written(chat, tmp_path)
    said = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(said | {"eos_token": "<other>"}))
    found = folder_byte_chat(folder)
    assert found.eos == "<eos>"


def test_a_run_that_lost_its_chat_takes_no_other(tmp_path, monkeypatch):
    sources = [SourceChat({"default": "{{ messages }}" * count}, {}, (), "") for count in (1, 2)]
    config = TrainConfig(start=Start("model", "ab", "cd", sources[0].fingerprint))
    there = SimpleNamespace(source_chat=lambda: None)
    monkeypatch.setattr(run_chat, "published", lambda _: there)
    for other in (sources[1], None):
        there.source_chat = lambda other=other: other
        with pytest.raises(InputError, match=r"chat\.json is missing, and model has another chat template"):
            run_chat.remember_chat(tmp_path, config)
        with pytest.raises(InputError, match=r"chat\.json.* is missing"):
            run_chat.chat_of_run(tmp_path, config)
    there.source_chat = lambda: sources[0]
    run_chat.remember_chat(tmp_path, config)
    assert run_chat.chat_of_run(tmp_path, config) == sources[0].chat(1)


def test_marks_of_trainers_are_taken_for_nothing():
    template = (
        "{% generation %}{{ messages[0].content }}{% endgeneration %}{% for a in [1, 2] %}{% break %}{% endfor %}"
    )
    assert chat_prompt(Chat({"default": template}), HELLO).text == b"Hello"
