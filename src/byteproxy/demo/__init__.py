"""The main job, end to end and small: a corpus, a view, several arms at equal training FLOPs, a sample, a report."""
