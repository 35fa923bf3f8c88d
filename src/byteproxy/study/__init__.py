"""Several arms at equal training FLOPs on one corpus: run, compare, report."""
