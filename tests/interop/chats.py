"""A tokenizer of a chat model, trained here, with its template, as transformers keeps one."""

import json

from tests.toy_corpus import toy_documents
from tokenizers import AddedToken, Tokenizer

from byteproxy.views.bpe import BpeView

SPECIALS = ["<|begin|>", "<|im_start|>", "<|im_end|>", "<|end_of_text|>", "<|unused|>"]
FIRST = 300
TEMPLATE = """{%- if messages[0]['role'] != 'system' %}
    {{- bos_token + '<|im_start|>system\\nYou help.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + eos_token + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}"""


def chat_tokenizer(folder, template=TEMPLATE, specials=SPECIALS, **said):
    """Write the tokenizer's files and a generation_config.json into a folder; gives it as a view."""
    folder.mkdir(exist_ok=True)
    view = BpeView.train([document.text for document in toy_documents()], FIRST)
    tokenizer = Tokenizer.from_str(view.tokenizer_json)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in specials])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin|>",
        "eos_token": "<|im_end|>",
        "clean_up_tokenization_spaces": False,
        "chat_template": template,
        **said,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [FIRST + 2, FIRST + 3]}))
    return BpeView.load(folder / "tokenizer.json")
