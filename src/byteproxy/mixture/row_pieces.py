"""A piece: the part of one segment that stands in one row, as a plan describes it to the loader.

ROW, AT          where its opening symbol stands
DOCUMENT         number of its document in the step, from 0, empty stretches included
PASSAGE          row of the table
REPRESENTATION   0 raw, 1 and up the compressed views
OPENING          id of the opening symbol
FROM, TO         which symbols of the passage, in that representation, follow
CLOSED, ENDED    whether its closing sentinel, and whether eos, follow these
"""

from byteproxy.jit import nb
from byteproxy.mixture.draws import PLAIN
from byteproxy.vocab import FIRST_SENTINEL, NEUTRAL

ROW, AT, DOCUMENT, PASSAGE, REPRESENTATION, OPENING, FROM, TO, CLOSED, ENDED = range(10)
COLUMNS = 10


@nb.njit(cache=True)
def written(piece, row, at, document, passage, representation, kind, begin, end, closed, ended):  # type: ignore[no-untyped-def]
    """Fill in a piece, int64 [10]."""
    piece[ROW], piece[AT], piece[DOCUMENT] = row, at, document
    piece[PASSAGE], piece[REPRESENTATION] = passage, representation
    piece[OPENING] = NEUTRAL if kind == PLAIN else FIRST_SENTINEL + 2 * representation
    piece[FROM], piece[TO] = begin, end
    piece[CLOSED], piece[ENDED] = closed, ended
