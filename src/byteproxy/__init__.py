"""Train language models on compressed text, run them on raw bytes.

The folders, read from top to bottom, are the pipeline; data flows one way and so do the imports:
`vocab`, `corpus`, `views`, `store`, `mixture`, `model`, `train`, `generate`, `export`, `evaluate`,
`study`, `demo`, `cli`. The idea is proxy compression (Zheng et al., arXiv 2602.04289).
"""

__version__ = "0.1.0"
