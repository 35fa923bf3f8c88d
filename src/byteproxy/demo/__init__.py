"""The whole pipeline, small: a corpus, a view, several arms at equal training FLOPs, a sample, a report."""
