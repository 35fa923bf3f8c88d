"""Targets enumerated: by hand on small examples, and against plain loops on random rows."""

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from byteproxy.model.embedding import ByteExpansion, ngram_rows
from byteproxy.model.model_config import ModelConfig
from byteproxy.model.network import Transformer
from byteproxy.model.objective import Objective
from byteproxy.model.targets import Positions, byte_targets, columns, next_symbol_targets, targets_of
from byteproxy.vocab import EOS, FIRST_BYTE, PAD, RAW, SPECIALS, Vocab, closing, opening

STRINGS = [b"a", b"bc", b"def", b"ghij"]
VOCAB = Vocab((len(STRINGS),))
FIRST = VOCAB.first_id(1)


class Piece(NamedTuple):
    """A segment as far as it is in a row: its strings (single bytes if raw), and what ends it."""

    representation: int
    strings: tuple[bytes, ...]
    closed: bool = True
    ended: bool = True


class Place(NamedTuple):
    """A position: its id, the ids it is spelled with, and which document and piece it is in."""

    id: int
    spelled: list[int]
    representation: int
    document: int
    piece: int


def id_of(string, representation):
    return FIRST_BYTE + string[0] if representation == RAW else FIRST + STRINGS.index(string)


def places_of(documents):
    """Every position of documents, which are lists of pieces; None is an empty stretch of two."""
    places, piece_number = [], 0
    for document, pieces in enumerate(documents):
        if pieces is None:
            for _ in range(2):
                places.append(Place(PAD, [PAD], RAW, document, piece_number))
                piece_number += 1
            continue
        for piece in pieces:
            r = piece.representation
            symbols = [(id_of(s, r), [FIRST_BYTE + b for b in s]) for s in piece.strings]
            specials = [closing(r)] * piece.closed + [EOS] * piece.ended
            written = [(opening(r), [opening(r)]), *symbols, *((one, [one]) for one in specials)]
            places += [Place(number, spelled, r, document, piece_number) for number, spelled in written]
            piece_number += 1
    return places


def shown_of(places):
    ends, total = [], 0
    for place in places:
        total += len(place.spelled)
        ends.append(total)
    last = {place.piece: end for place, end in zip(places, ends, strict=True)}
    targets = [
        after.id if after.document == place.document and place.id != PAD else -1
        for place, after in zip(places, [*places[1:], Place(0, [], 0, -1, -1)], strict=True)
    ]
    ids = [number for place in places for number in place.spelled]
    return Positions(
        torch.tensor([place.id for place in places]),
        torch.tensor(targets),
        torch.tensor([place.representation for place in places]),
        ByteExpansion(torch.tensor(ids), torch.tensor(ends), torch.tensor([last[place.piece] for place in places])),
    )


def enumerated(places, config, objective):
    """{(position, softmax, head, row): weight}, softmax "byte" or "symbol", by loops; rows are ids, or symbols' own."""
    found = {}

    def add(position, softmax, head, number, weight):
        row = number if softmax == "byte" or number < SPECIALS else number - FIRST + SPECIALS
        key = position, softmax, head, row
        if weight:
            found[key] = found.get(key, 0.0) + weight

    for at, place in enumerate(places):
        if place.id == PAD:
            continue
        raw = place.representation == RAW
        rest = [one for one in places[at + 1 :] if one.piece == place.piece]
        following = [number for one in rest for number in one.spelled]
        document = [one for one in places[at + 1 :] if one.document == place.document]
        after = document[0] if document else None
        if after is not None and raw:
            add(at, "byte", 1, after.id, objective.raw_weight)
        elif after is not None:
            add(at, "symbol", 1, after.id, objective.compressed_weight * objective.symbols)
            if not rest:  # the sentinel of the next segment
                add(at, "byte", 1, after.id, objective.compressed_weight * (objective.bag + objective.bytes))
            for number in after.spelled if rest else []:
                add(at, "byte", 1, number, objective.compressed_weight * objective.bag / len(after.spelled))
        reach = following if raw or objective.reach == "text" else following[: len(after.spelled) if rest else 0]
        for head in range(1, config.byte_heads + 1):
            if head <= len(reach) and not (raw and head == 1):
                weight = objective.raw_weight if raw else objective.compressed_weight * objective.bytes
                add(
                    at,
                    "byte",
                    head,
                    reach[head - 1],
                    weight * (1.0 if head == 1 else objective.head_decay ** (head - 1)),
                )
        for head in range(2, config.symbol_heads + 1):
            if not raw and head <= len(rest):
                weight = objective.compressed_weight * objective.symbols * objective.head_decay ** (head - 1)
                add(at, "symbol", head, rest[head - 1].id, weight)
    return found


def ours(places, config, objective):
    shown, found = shown_of(places), {}
    first, further = byte_targets(config, shown, objective, 0.0)
    parts = [("byte", 1, first), ("byte", 2, further)]
    if objective.symbols:
        first, further = next_symbol_targets(config, shown, objective, 0.0, 1, VOCAB)
        parts += [("symbol", 1, first), ("symbol", 2, further)]
    for softmax, base, entries in parts:
        for position, head, row, weight in zip(*(one.tolist() for one in entries[:4]), strict=True):
            key = position, softmax, head + base, row
            found[key] = found.get(key, 0.0) + weight
    return {key: weight for key, weight in found.items() if weight}


def names(found, head, softmax="byte"):
    """What one head predicts, position by position: characters, and specials by name."""
    written = {closing(0): "</raw>", closing(1): "</comp>", EOS: "eos", opening(0): "<raw>", opening(1): "<comp>"}

    def name(row):
        if row in written:
            return written[row]
        return chr(row - FIRST_BYTE) if softmax == "byte" else STRINGS[row - SPECIALS].decode()

    chosen = sorted((key for key in found if key[1] == softmax and key[2] == head), key=lambda key: key[0])
    return {position: name(row) for position, _, _, row in chosen}


R3 = ModelConfig(byte_heads=3, symbol_heads=2)
CROSS = Objective(bytes=1.0)


def test_raw_by_hand():
    """<raw> a b c </raw> eos: no head sees past eos."""
    found = ours(places_of([[Piece(RAW, (b"a", b"b", b"c"))]]), R3, CROSS)
    assert names(found, 1) == {0: "a", 1: "b", 2: "c", 3: "</raw>", 4: "eos"}
    assert names(found, 2) == {0: "b", 1: "c", 2: "</raw>", 3: "eos"}
    assert names(found, 3) == {0: "c", 1: "</raw>", 2: "eos"}
    assert not names(found, 1, "symbol")


def test_compressed_by_hand():
    """<comp> bc a def </comp> eos: symbols, and the bytes of the text that follows."""
    found = ours(places_of([[Piece(1, (b"bc", b"a", b"def"))]]), R3, CROSS)
    assert names(found, 1, "symbol") == {0: "bc", 1: "a", 2: "def", 3: "</comp>", 4: "eos"}
    assert names(found, 2, "symbol") == {0: "a", 1: "def", 2: "</comp>", 3: "eos"}
    assert names(found, 1) == {0: "b", 1: "a", 2: "d", 3: "</comp>", 4: "eos"}
    assert names(found, 2) == {0: "c", 1: "d", 2: "e", 3: "eos"}
    assert names(found, 3) == {0: "a", 1: "e", 2: "f"}


def test_compressed_bytes_may_stop_at_the_next_symbol():
    found = ours(places_of([[Piece(1, (b"bc", b"a", b"def"))]]), R3, Objective(symbols=0, bytes=1.0, reach="symbol"))
    assert names(found, 1) == {0: "b", 1: "a", 2: "d", 3: "</comp>", 4: "eos"}
    assert names(found, 2) == {0: "c", 2: "e"}
    assert names(found, 3) == {2: "f"}


def test_pairs_by_hand():
    """<comp> bc </comp> <raw> b c </raw> eos: only the first head names the sentinel of the next segment."""
    pair = [Piece(1, (b"bc",), ended=False), Piece(RAW, (b"b", b"c"))]
    found = ours(places_of([pair]), R3, CROSS)
    assert names(found, 1, "symbol") == {0: "bc", 1: "</comp>", 2: "<raw>"}
    assert names(found, 2, "symbol") == {0: "</comp>"}
    assert names(found, 1) == {0: "b", 1: "</comp>", 2: "<raw>", 3: "b", 4: "c", 5: "</raw>", 6: "eos"}
    assert names(found, 2) == {0: "c", 3: "c", 4: "</raw>", 5: "eos"}
    assert names(found, 3) == {0: "</comp>", 3: "</raw>", 4: "eos"}


def test_switch_by_hand():
    """<raw> a </raw> <comp> a bc </comp> <raw> d, cut by the end of the row."""
    chain = [
        Piece(RAW, (b"a",), ended=False),
        Piece(1, (b"a", b"bc"), ended=False),
        Piece(RAW, (b"d",), closed=False, ended=False),
    ]
    found = ours(places_of([chain]), R3, CROSS)
    raw_and_first = {0: "a", 1: "</raw>", 2: "<comp>", 3: "a", 4: "b", 5: "</comp>", 6: "<raw>", 7: "d"}
    assert names(found, 1) == raw_and_first
    assert names(found, 2) == {0: "</raw>", 3: "b", 4: "c"}
    assert names(found, 3) == {3: "c", 4: "</comp>"}
    assert names(found, 1, "symbol") == {3: "a", 4: "bc", 5: "</comp>", 6: "<raw>"}
    assert names(found, 2, "symbol") == {3: "bc", 4: "</comp>"}


def test_a_bag_is_the_bytes_of_the_next_symbol_at_equal_weights():
    found = ours(places_of([[Piece(1, (b"def", b"a"))]]), ModelConfig(), Objective(symbols=0, bag=1.0))
    bag = {row - FIRST_BYTE: weight for (position, _, _, row), weight in found.items() if position == 0}
    assert bag == {ord(c): pytest.approx(1 / 3) for c in "def"}
    assert {key[3] for key in found if key[0] == 2} == {closing(1)}


raw_piece = st.builds(
    Piece,
    st.just(RAW),
    st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=4).map(tuple),
    st.booleans(),
    st.booleans(),
)


compressed_piece = st.builds(
    Piece, st.just(1), st.lists(st.sampled_from(STRINGS), max_size=4).map(tuple), st.booleans(), st.booleans()
)


rows = st.lists(st.none() | st.lists(raw_piece | compressed_piece, min_size=1, max_size=3), min_size=1, max_size=4)


weight = st.sampled_from([0.0, 0.5, 1.0])


@settings(max_examples=150)
@given(
    documents=rows,
    byte_heads=st.integers(1, 5),
    symbol_heads=st.integers(1, 3),
    symbols=weight,
    bag=weight,
    in_order=weight,
    reach=st.sampled_from(["text", "symbol"]),
)
def test_targets_are_those_of_the_loops(documents, byte_heads, symbol_heads, symbols, bag, in_order, reach):
    if not symbols + bag + in_order:
        symbols = 1.0
    config = ModelConfig(byte_heads=byte_heads, symbol_heads=symbol_heads)
    objective = Objective(symbols, bag, in_order, reach=reach, raw_weight=0.9, compressed_weight=0.3)
    places = places_of(documents)
    wanted = enumerated(places, config, objective)
    assert ours(places, config, objective) == {key: pytest.approx(one, rel=1e-5) for key, one in wanted.items()}


def test_losses_are_kept_apart_by_representation_and_head():
    """Zero heads: every target costs the log of its softmax's rows, however it is weighted."""
    config = ModelConfig(width=8, layers=1, heads=1, ffn=8, byte_heads=3, symbol_heads=2)
    model = Transformer(config, VOCAB.size)
    shown = shown_of(places_of([[Piece(1, (b"bc", b"a", b"def"))], [Piece(RAW, (b"a", b"b", b"c"))]]))
    targets = targets_of(config, shown, VOCAB, Objective(bag=0.5, bytes=0.25), 0.0)
    found = model.losses(torch.randn(len(shown.symbols_N), 8), targets)
    assert columns(config, Objective()) == ["byte_1", "byte_2", "byte_3", "symbol_1", "symbol_2", "bag", "symbol_bytes"]
    assert found.counts.tolist() == [[5, 4, 3, 0, 0, 0, 0], [5, 4, 3, 5, 4, pytest.approx(5), 0]]
    cost = torch.log(torch.tensor([320.0] * 3 + [68.0] * 2 + [320.0] * 2, dtype=torch.float64))
    torch.testing.assert_close(found.nats, found.counts * cost, rtol=1e-5, atol=1e-5)
    by_hand = 5 + 4 * 0.75 + 3 * 0.75**2 + 0.25 * (5 + 4 * 0.75 + 3 * 0.75**2) + 0.5 * 5
    by_hand = by_hand * float(cost[0]) + (5 + 4 * 0.75) * float(cost[3])
    assert float(found.total.detach()) == pytest.approx(by_hand, rel=1e-5)


def numbered(places):
    """How many positions of its document stand before each."""
    counts = [len([one for one in places[:at] if one.document == place.document]) for at, place in enumerate(places)]
    return torch.tensor([0 if place.id == PAD else count for place, count in zip(places, counts, strict=True)])


def told(tables, lengths, known):
    """What the n-grams of 50 rows at the end of `known`, ids of one document, add."""
    added = torch.zeros(8)
    for size, table in zip(lengths, tables, strict=True):
        padded = torch.tensor(([0] * size + known)[-size:])
        added += table[ngram_rows(padded, torch.tensor([size - 1]), torch.tensor([size]), size, 50)[0]]
    return added


@settings(max_examples=40)
@given(documents=rows, seed=st.integers(0, 99))
def test_spelled_bytes_are_those_of_the_loops(documents, seed):
    """Each byte of the next symbol, from the state scaled by its place and the n-gram of bytes before it."""
    torch.manual_seed(seed)
    config = ModelConfig(8, 1, 1, ffn=8, ngrams=(2, 3), ngram_rows=50, ngram_outputs=True, inputs="mean")
    model = Transformer(config, 320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    places = places_of(documents)
    shown = shown_of(places)
    hidden = torch.randn(len(places), 8)
    objective = Objective(symbols=0, symbol_bytes=0.5, compressed_weight=0.3)
    targets = targets_of(config, shown, VOCAB, objective, 0.0)
    found = model.losses(hidden, targets, numbered(places), shown.expansion)

    nats, count = [], 0
    for at, place in enumerate(places[:-1]):
        after, alone = places[at + 1], place.representation == RAW
        if alone or place.id == PAD or after.piece != place.piece:
            continue
        known = [id for one in places[: at + 1] if one.document == place.document for id in one.spelled]
        for turn, id in enumerate(after.spelled):
            state = (hidden[at] - told(model.ngram_bias.weight, (2, 3), known)) * model.expansion_scales.weight[turn]
            state = state + told(model.ngram_bias.weight, (2, 3), known + after.spelled[:turn])
            logit = model.lm_head.weight[:320] @ state
            nats.append((logit.logsumexp(0) - logit[id]).item())
            count += 1
    # What ends a piece with nothing after it in its own, the sentinel of the next one, is predicted as ever.
    last = [
        at
        for at, place in enumerate(places[:-1])
        if place.representation != RAW
        and places[at + 1].document == place.document
        and places[at + 1].piece != place.piece
    ]
    for at in last:
        logit = model.lm_head.weight[:320] @ hidden[at]
        nats.append((logit.logsumexp(0) - logit[places[at + 1].id]).item())
    column = columns(config, Objective()).index("symbol_bytes")
    assert float(found.counts[1, column]) == len(nats)
    assert float(found.nats[1, column]) == pytest.approx(sum(nats), rel=1e-4, abs=1e-5)
    raw = float(found.nats[0].sum())
    assert float(found.total.detach()) == pytest.approx(raw + 0.15 * sum(nats), rel=1e-4, abs=1e-5)


@settings(max_examples=40)
@given(documents=rows, seed=st.integers(0, 99), outputs=st.booleans(), reach=st.sampled_from(["text", "symbol"]))
def test_heads_that_read_ngrams_are_those_of_the_loops(documents, seed, outputs, reach):
    """Each from the state without its own n-gram and the n-gram before its byte, at raw and compressed positions."""
    torch.manual_seed(seed)
    ngrams = {"ngrams": (3,), "ngram_outputs": True} if outputs else {}
    config = ModelConfig(8, 1, 1, ffn=8, ngram_rows=50, byte_heads=4, byte_head_ngrams=(2, 4), inputs="last", **ngrams)
    model = Transformer(config, 320)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    places = places_of(documents)
    shown = shown_of(places)
    hidden = torch.randn(len(places), 8, requires_grad=True)
    objective = Objective(symbols=0, bytes=0.5, compressed_weight=0.3, reach=reach)
    targets = targets_of(config, shown, VOCAB, objective, 0.0)
    found = model.losses(hidden, targets, numbered(places), shown.expansion)
    wanted = enumerated(places, config, objective)
    total, nats = torch.zeros(()), torch.zeros(2, 4, dtype=torch.float64)
    spelled = [id for place in places for id in place.spelled]
    for (at, _, head, row), weight in wanted.items():
        place = places[at]
        known = [id for one in places[: at + 1] if one.document == place.document for id in one.spelled]
        ahead = spelled[sum(len(one.spelled) for one in places[: at + 1]) :][: head - 1]
        state, rows_VD = hidden[at], model.lm_head.weight
        if head > 1:
            state = state - told(model.ngram_bias.weight, (3,), known) if outputs else state
            state = state + told(model.head_ngram_bias.weight, (2, 4), known + ahead)
            rows_VD = model.byte_heads.weight[head - 2]
        logit = rows_VD @ state
        cost = logit.logsumexp(0) - logit[row]
        total = total + weight * cost
        nats[place.representation, head - 1] += cost.item()
    torch.testing.assert_close(found.nats[:, :4], nats, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.total, total, rtol=1e-4, atol=1e-5)
    if total.requires_grad:
        parts = [hidden, model.byte_heads.weight, model.head_ngram_bias.weight]
        parts += [model.ngram_bias.weight] if outputs else []
        gradients = (torch.autograd.grad(one, parts, allow_unused=True) for one in (found.total, total))
        for one, other, part in zip(*gradients, parts, strict=True):
            mine, theirs = (torch.zeros_like(part) if found is None else found for found in (one, other))
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
