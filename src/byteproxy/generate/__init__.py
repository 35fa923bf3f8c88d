"""Reading and writing raw bytes: a key-value cache, a sampler, text that never ends inside a character."""
