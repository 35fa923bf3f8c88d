"""Train a model of transformers on byteproxy's stream, in a loop of PyTorch."""

import sysconfig

import torch
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

import byteproxy
from byteproxy.mixture.batches import BatchDataset

SOURCE = f"{sysconfig.get_path('stdlib')}:name=code,include=asyncio/*|email/*|http/*|json/*|logging/*|unittest/*"

corpus = byteproxy.prepare([SOURCE], "runs/examples/corpus", views=["bpe:1024"])
batches = byteproxy.stream(corpus, "paper", steps=20, sequences_per_step=4, sequence_length=256, context_bytes=100)

model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=batches.vocab_size,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        attn_implementation="sdpa",
    )
)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
# Positions begin at 0 with each document, which is how transformers keeps packed documents apart.
for step, batch in enumerate(DataLoader(BatchDataset(batches), batch_size=None)):
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(f"step {step}: {loss.item():.3f} nats per symbol")
