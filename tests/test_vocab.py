import numpy as np
import pytest

from byteproxy import vocab
from byteproxy.vocab import Vocab


def test_the_numbers_are_the_papers():
    assert (vocab.opening(0), vocab.closing(0), vocab.opening(1), vocab.closing(1)) == (12, 13, 14, 15)
    assert vocab.byte_ids(b"\x00\xff").tolist() == [64, 319]
    assert Vocab((4096,)).symbol_ids(1) == range(320, 4416)


def test_every_content_id_belongs_to_exactly_one_representation():
    space = Vocab((300, 7, 4096))
    owned = [i for r in range(space.representations) for i in space.symbol_ids(r)]
    assert owned == list(range(vocab.SPECIALS, space.size))
    assert [space.softmax_rows(r) for r in range(4)] == [320, 364, 71, 4160]


def test_sentinels_stay_among_the_specials():
    most = Vocab((1,) * vocab.MAX_VIEWS)
    ids = [f(r) for r in range(most.representations) for f in (vocab.opening, vocab.closing)]
    assert len(set(ids)) == len(ids)
    assert max(ids) < vocab.SPECIALS
    assert vocab.EOS not in ids
    with pytest.raises(ValueError, match="sentinels"):
        Vocab((1,) * (vocab.MAX_VIEWS + 1))


def test_byte_ids_are_whole_numbers_torch_can_index_with():
    assert vocab.byte_ids(b"abc").dtype == np.int64
