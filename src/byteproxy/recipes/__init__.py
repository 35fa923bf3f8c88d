"""The recipes that come with byteproxy, and the run, study or mixture behind a recipe's name or file."""
