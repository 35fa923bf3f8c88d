"""Score and generate raw bytes: decoder, choice of bytes, guesses at several bytes a pass, UTF-8 that is never cut."""
