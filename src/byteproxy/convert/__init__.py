"""A model that exists learns to read and write raw bytes: from its folder to an exported byte model, in one command."""
