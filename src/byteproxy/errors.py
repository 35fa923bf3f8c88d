"""The one kind of error that a user can cause, and therefore read; and what was probably meant."""

from collections.abc import Iterable


class InputError(ValueError):
    """Something outside the program is wrong: a file, a folder, an option, the disk.

    The message is one sentence for a person: what is wrong, where (file, line, field), what to do.
    The command line prints it without a traceback and exits with status 2.
    """


RENAMED = {
    "rows": "sequences_per_step",
    "length": "sequence_length",
    "passage_bytes": "context_bytes",
    "places": "rope_positions",
    "micro_rows": "micro_sequences",
    "side": "split",
    "bytes": "max_bytes",
    "most_bytes": "max_bytes",
    "most_faulty": "max_faulty",
    "most_skips": "max_skips",
    "smallest": "min_bytes",
    "largest": "max_bytes",
    "validations": "evaluations",
    "curve": "schedule",
    "spell": "symbol_bytes",
}
"""Earlier names of fields and options; a refusal of one says what it is called now."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask whether the nearest known word was meant; empty if there is none."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that another one was probably meant to be, or the new name of a renamed one; None: no word is."""
    from difflib import get_close_matches

    names = list(known)
    new = RENAMED.get(_field(word))
    near = [name for name in names if _field(name) == new] or get_close_matches(word.casefold(), names, 1, 0.6)
    return near[0] if near else None


def _field(name: str) -> str:
    """The last part of a dotted field or an option, as a field is written."""
    return name.rpartition(".")[2].lstrip("-").replace("-", "_")
