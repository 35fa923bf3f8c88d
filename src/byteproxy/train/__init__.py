"""The training loop and what it stands on: optimizers, FLOPs, checkpoints, metrics."""
