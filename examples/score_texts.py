"""Ask a model what texts cost it: bits of each, and which of several continuations is the likeliest.

The model is the one that `train_and_generate.py` leaves, so run that first.
"""

import byteproxy

model = byteproxy.load("runs/examples/run")
scored = model.score([b"def main():\n", b"", b"\xff\xfe"])  # any bytes are a text
print(scored.bits, scored.bytes)
print(f"{scored.bpb:.2f} bits per byte, all texts together")

choices = ["self)", "banana"]
costs = model.score(choices, prompts=["def method("] * len(choices)).bits
print(f"likeliest: {choices[costs.argmin()]}")

found = byteproxy.evaluate("runs/examples/run", max_bytes=4000)
print(f"held-out text: {found['runs']['run']['raw_bpb']:.2f} bits per byte, PPMd {found['compressors']['ppmd']:.2f}")
