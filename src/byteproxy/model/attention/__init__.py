"""Causal attention inside documents, one file per backend, each tested against `dense`."""
