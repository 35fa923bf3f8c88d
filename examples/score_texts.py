"""Ask a model what texts cost it: bits of each, and which of several continuations is the likeliest."""

import sysconfig

import byteproxy

SOURCE = f"{sysconfig.get_path('stdlib')}:name=code,include=asyncio/*|email/*|http/*|json/*|logging/*|unittest/*"

corpus = byteproxy.prepare([SOURCE], "runs/examples/corpus", views=["bpe:1024"])
changes = {
    "stop": "40 steps",
    "corpus": str(corpus.path),
    "compile": False,
    "model": {"width": 64, "layers": 2, "heads": 2, "ffn": 160},
    "shape": {"sequences_per_step": 8, "sequence_length": 256, "context_bytes": 128},
    "validation": {"bytes": 4000},
}
byteproxy.train("1m", "runs/examples/run", changes, resume="if_exists")

model = byteproxy.load("runs/examples/run")
scored = model.score([b"def main():\n", b"", b"\xff\xfe"])  # any bytes are a text
print(scored.bits, scored.bytes)
print(f"{scored.bpb:.2f} bits per byte, all texts together")

choices = ["self)", "banana"]
costs = model.score(choices, prompts=["def method("] * len(choices)).bits
print(f"likeliest: {choices[costs.argmin()]}")

found = byteproxy.evaluate("runs/examples/run", max_bytes=4000)
print(f"held-out text: {found['runs']['run']['raw_bpb']:.2f} bits per byte, PPMd {found['compressors']['ppmd']:.2f}")
