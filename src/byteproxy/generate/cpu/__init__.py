"""The compiled CPU engine: passes over weights in panels by all threads, held by tests to the modules in `model`."""
