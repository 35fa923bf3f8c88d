"""Train a small model on raw bytes and a BPE view of the same text, and let it write raw bytes."""

import sysconfig

import byteproxy
from byteproxy.generate.choice import Sampling

SOURCE = f"{sysconfig.get_path('stdlib')}:name=code,include=asyncio/*|email/*|http/*|json/*|logging/*|unittest/*"

corpus = byteproxy.prepare([SOURCE], "runs/examples/corpus", views=["bpe:1024"])

# A recipe that comes with byteproxy, and what is to differ from it: seconds of training.
changes = {
    "stop": "40 steps",
    "corpus": str(corpus.path),
    "compile": False,
    "model": {"width": 64, "layers": 2, "heads": 2, "ffn": 160},
    "shape": {"sequences_per_step": 8, "sequence_length": 256, "context_bytes": 128},
    "validation": {"bytes": 4000},
}
figures = byteproxy.train("3m-paper", "runs/examples/run", changes, resume="if_exists")
print(f"{figures['raw_bpb']:.2f} bits per byte of held-out text; {figures['page']} has the curves")

model = byteproxy.load("runs/examples/run")
for found in model.generate(["def main(", "class "], max_bytes=60, sampling=Sampling(temperature=0.7, seed=1)):
    print(found.text, found.ended)
