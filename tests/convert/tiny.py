"""A tiny Llama of tokens that was trained here, and text for it to learn bytes from."""

import json
from dataclasses import replace
from pathlib import Path

from tests.toy_corpus import toy_documents

from byteproxy.convert.conversion import Conversion, ConvertRecipe, Samples
from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.interop.llama import export_llama
from byteproxy.mixture.loader import Shape
from byteproxy.mixture.schedule import Mixture, Phase
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.model.objective import Objective
from byteproxy.store.encode import add_view
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.train.optim_config import OptimConfig
from byteproxy.train.train_config import TrainConfig, Validation
from byteproxy.train.trainer import Trainer
from byteproxy.views.bpe import BpeView

TOKENS, BOS, EOS = 300, 300, 301
SHAPE = ModelConfig(width=32, layers=1, heads=2, ffn=64)
RECIPE = ConvertRecipe(
    run=TrainConfig(
        stop="8 steps",
        compile=False,
        model=ModelConfig(byte_heads=3),
        objective=Objective(heads_detached=True),
        mixture=Mixture(phases=(Phase(rate=0.5),)),
        shape=Shape(2, 256, 100),
        optim=OptimConfig(optimizer="adamw", learning_rate=1e-3),
        validation=Validation(2000, 500, 50),
        log_every=1,
    ),
    split=SplitOptions(0.1, 0.1),
    samples=Samples(("def path_name(", "def size_"), 20),
    evaluations=2,
)


def write_text(folder: Path, documents: list[Document]) -> Path:
    """The documents as files, each project a folder."""
    for document in documents:
        path = folder / document.project / document.id
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(document.text)
    return folder


def tiny_llama(folder: Path, shape: ModelConfig = SHAPE, steps: int = 0, documents: int = 80) -> Path:
    """A Llama as transformers would keep it, with its tokenizer; trained on its tokens for so many steps."""
    texts = toy_documents(documents, seed=1)
    corpus = folder.with_name(f"{folder.name}-corpus")
    prepare_documents(texts, corpus, SplitOptions(0.02, 0.0))
    view = BpeView.train((document.text for document in texts), TOKENS)
    add_view(corpus, view)
    config = TrainConfig(
        stop=f"{max(1, steps)} steps",
        compile=False,
        views=(view.name,),
        model=shape,
        mixture=Mixture("symbols"),
        shape=Shape(8, 256, 200),
        validation=Validation(0),
    )
    trainer = Trainer(replace(config, corpus=str(corpus)), Store.open(corpus), folder.with_name(f"{folder.name}-run"))
    if steps:
        trainer.run()
    tokens = Transformer(shape, TOKENS + 2)
    rows = [*range(320, 320 + TOKENS), 14, 2]
    state = {
        name: tensor[rows] if name in ("embed_tokens.weight", "lm_head.weight") else tensor
        for name, tensor in trainer.model.state_dict().items()
    }
    tokens.load_state_dict(state)
    export_llama(tokens, 200, folder, rows=None)
    said = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**said, "bos_token_id": BOS, "eos_token_id": [EOS]}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# tiny\n")
    view.save(folder / "tokenizer.json")
    return folder


def conversion(model: Path, text: Path, recipe: ConvertRecipe = RECIPE) -> Conversion:
    """A conversion of a model by some text and nothing else."""
    return Conversion(str(model), (str(text),), recipe)
