"""Models as files that need no compressor to run."""
