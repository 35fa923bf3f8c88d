"""The recipes that come with byteproxy, and what somebody means by a recipe's name or file."""
