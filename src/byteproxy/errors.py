"""The one kind of error that a user can cause, and therefore read; and what was probably meant."""

from collections.abc import Iterable


class InputError(ValueError):
    """Something outside the program is wrong: a file, a folder, an option, the disk.

    The message is one sentence for a person: what is wrong, where (file, line, field), what to do.
    The command line prints it without a traceback and exits with status 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question to put behind a refusal: the known word nearest to one that isn't; nothing if none is near."""
    from difflib import get_close_matches

    near = get_close_matches(word.casefold(), list(known), 1, 0.6)
    return f"; did you mean {near[0]}?" if near else ""
