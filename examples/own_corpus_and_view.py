"""Make a corpus of files of your own, train a view on it, and see how the view cuts a line."""

import sysconfig

import byteproxy

# A folder of source files; each folder in it is a project, which is held out as a whole.
SOURCE = f"{sysconfig.get_path('stdlib')}:name=code,include=asyncio/*|email/*|http/*|json/*|logging/*|unittest/*"

corpus = byteproxy.prepare([SOURCE], "runs/examples/corpus", views=["bpe:1024"])
for split, held in corpus.manifest.splits.items():
    print(f"{split}: {held.documents} documents, {held.bytes:,} bytes, {held.projects} projects")
for known in corpus.manifest.views:
    print(f"{known.name}: {known.bytes_per_symbol:.2f} bytes per symbol")

codebook = byteproxy.view("codebook:bits=10", corpus)
line = b"    return self._value\n"
encoded = codebook.encode(line)
ends = encoded.span_bytes.cumsum()
print([line[end - size : end] for end, size in zip(ends, encoded.span_bytes, strict=True)])
assert codebook.decode(encoded.symbols) == line
