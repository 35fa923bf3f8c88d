"""The one kind of error that a user can cause, and therefore read."""


class InputError(ValueError):
    """Something outside the program is wrong: a file, a folder, an option, the disk.

    The message is one sentence for a person: what is wrong, where (file, line, field), what to do.
    The command line prints it without a traceback and exits with status 2.
    """
