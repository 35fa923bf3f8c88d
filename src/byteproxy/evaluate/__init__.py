"""What a model is worth: bits per byte of text it has not seen, and what plain compressors make of the same text."""
