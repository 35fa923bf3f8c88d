"""Runs as folders: where they come from, how they begin and go on, and how any model comes back from its folder."""
