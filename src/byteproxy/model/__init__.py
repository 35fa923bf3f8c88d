"""The transformer, its attention backends, and the typed loss."""
