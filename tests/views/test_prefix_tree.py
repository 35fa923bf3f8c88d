"""The tree of a vocabulary's prefixes says what plain loops over the vocabulary say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from byteproxy.views.prefix_tree import NO_NODE, ROOT, prefix_tree

# Few bytes, so that tokens begin alike, are prefixes of one another and are there twice; the empty one is no text.
STRINGS = st.lists(st.binary(max_size=1) | st.text("ab\x00", max_size=5).map(str.encode), max_size=30)


@given(strings=STRINGS)
def test_a_prefix_is_a_range_of_the_sorted_tokens(strings):
    tree = prefix_tree(strings)
    prefixes = {string[:end] for string in strings for end in range(len(string) + 1)} | {b""}
    assert tree.nodes == len(prefixes) == tree.depths[-1]
    for prefix in [*prefixes, b"no", b"a\xff", b"\x00\x00\x00\x00\x00\x00"]:
        wanted = [token for token, string in enumerate(strings) if string and string.startswith(prefix)]
        assert tree.tokens(prefix).tolist() == sorted(wanted, key=lambda token: (strings[token], token))
        assert (tree.find(prefix) != NO_NODE) == (prefix in prefixes)


@given(strings=STRINGS)
def test_nodes_know_their_children_and_tokens_their_prefixes(strings):
    tree = prefix_tree(strings)
    spelled = [b""]
    for node in range(1, tree.nodes):
        spelled.append(spelled[tree.parent[node]] + bytes([tree.byte[node]]))
    assert spelled == sorted(spelled, key=lambda prefix: (len(prefix), prefix))
    for node, prefix in enumerate(spelled):
        children = range(tree.child[node], tree.child[node] + tree.children[node])
        wanted = {string[: len(prefix) + 1] for string in strings if string[: len(prefix)] == prefix != string}
        assert {spelled[child] for child in children} == wanted
        assert tree.depths[len(prefix)] <= node < tree.depths[len(prefix) + 1]
    for token, string in enumerate(strings):
        path = tree.path[tree.path_start[token] :][: len(string) + 1]
        assert [spelled[node] for node in path] == [string[:end] for end in range(len(string) + 1)]
        assert tree.node[token] == (path[-1] if string else NO_NODE)


@given(strings=STRINGS, nodes=st.lists(st.tuples(st.integers(-1, 40), st.integers(0, 255)), max_size=20))
def test_a_step_from_no_node_or_by_a_byte_that_never_follows_leads_nowhere(strings, nodes):
    tree = prefix_tree(strings)
    known = [(node, byte) for node, byte in nodes if node < tree.nodes]
    found = tree.step(*np.array(known, np.int64).reshape(-1, 2).T)
    for (node, byte), after in zip(known, found.tolist(), strict=True):
        there = [child for child in range(1, tree.nodes) if tree.parent[child] == node and tree.byte[child] == byte]
        assert after == (there[0] if there and node >= ROOT else NO_NODE)
