"""Reading and writing raw bytes: a packed model with its keys and values, choices, guesses, UTF-8 that is never cut."""
