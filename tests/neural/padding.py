"""How much a pass in context pads, for a test and a benchmark."""

from byteproxy.neural.entropies import _batches


def padding(documents):
    """The share of slots in attention that hold nothing, over all windows of some documents."""
    positions = slots = 0
    for _, layout in _batches(documents):
        positions += sum(layout.lengths)
        slots += sum(bucket.documents * bucket.length for bucket in layout.buckets)
    return 1 - positions / slots if slots else 0.0
