"""Rules that need no run: tricks, and trials."""

from dataclasses import replace

import pytest
from tests.study.toys import VALUES, recipe

from byteproxy.corpus.document import Document
from byteproxy.corpus.split import SplitOptions
from byteproxy.errors import InputError
from byteproxy.store.prepare import prepare_documents
from byteproxy.store.store import Store
from byteproxy.study.fairness import check_apart, check_budget, check_trials, check_tricks, open_once, openings

PROXY = VALUES["arms"]["proxy"]
BYTES = VALUES["arms"]["bytes"]


def with_arms(folder, own, byte_arms=({},), role="proxy"):
    """A study whose proxy has something of its own, and whose byte arms have what is said."""
    arms = {f"bytes{n}": {**BYTES, "run": {**BYTES["run"], **run}} for n, run in enumerate(byte_arms)}
    arms["proxy"] = {"role": role, "run": {**PROXY["run"], **own}}
    return recipe(folder, arms=arms, claims=[])


def test_projects_are_on_two_sides_only_where_the_split_says_so(tmp_path):
    few = [Document(f"{n}.py", b"line %d\n" % n * 90, "toy", f"p{n % 2}") for n in range(60)]
    prepare_documents(few, tmp_path / "few", SplitOptions(0.1, 0.2))
    store = Store.open(tmp_path / "few")
    assert [group.divides_projects for group in store.manifest.groups] == [True]
    check_apart(store, tmp_path / "notes")
    denied = replace(store.manifest, groups=(replace(store.manifest.groups[0], validation="project", test="project"),))
    with pytest.raises(InputError, match="2 projects are in the train split and in a held-out one"):
        check_apart(Store(store.path, denied), tmp_path / "others")


TRICKS = [
    ({"model": {"ngrams": [2, 3], "ngram_rows": 64}}, "ngrams"),
    ({"model": {"ngrams": [2], "ngram_rows": 64, "ngram_outputs": True}}, "ngram"),
    ({"optim": {"optimizer": "muon"}}, "optimizer"),
    ({"model": {"byte_heads": 4}}, "byte_heads"),
    ({"model": {"qk_norm": True}}, "qk_norm"),
    ({"model": {"value_embeddings": True}}, "value_embeddings"),
    ({"model": {"soft_cap": 15.0}}, "soft_cap"),
]


@pytest.mark.parametrize(("own", "name"), TRICKS)
@pytest.mark.parametrize("role", ["proxy", "control"])
def test_bytes_get_every_trick(tmp_path, own, name, role):
    with pytest.raises(InputError, match=f"arm proxy has .*{name}.*bytes0"):
        check_tricks(with_arms(tmp_path, own, role=role))
    check_tricks(with_arms(tmp_path, own, [{}, own], role))


def test_n_grams_have_to_be_as_many(tmp_path):
    own = {"model": {"ngrams": [2, 3], "ngram_rows": 64}}
    for less in ({"ngrams": [2], "ngram_rows": 64}, {"ngrams": [2, 3], "ngram_rows": 32}):
        with pytest.raises(InputError, match="ngrams"):
            check_tricks(with_arms(tmp_path, own, [{"model": less}]))
    check_tricks(with_arms(tmp_path, own, [{"model": {"ngrams": [2, 3, 4], "ngram_rows": 128}}]))


def test_what_byte_heads_read_is_a_trick_of_its_own(tmp_path):
    own = {"model": {"byte_heads": 4, "byte_head_ngrams": [2, 3]}}
    with pytest.raises(InputError, match=r"model\.byte_head_ngrams"):
        check_tricks(with_arms(tmp_path, own, [{"model": {"byte_heads": 4}}]))
    check_tricks(with_arms(tmp_path, own, [own]))


def test_a_tokenizer_owes_nothing_and_a_proxy_needs_bytes_beside_it(tmp_path):
    symbols = {"role": "tokenizer", "run": {"views": ["v"], "model": {"qk_norm": True}}}
    check_tricks(recipe(tmp_path, arms={"symbols": symbols}, claims=[]))
    with pytest.raises(InputError, match="no arm has the role bytes"):
        check_tricks(recipe(tmp_path, arms={"proxy": PROXY}, claims=[]))


def test_the_trick_has_to_be_there_at_the_same_size(tmp_path):
    trick = {"qk_norm": True}
    arms = {
        "bytes": {**BYTES, "sizes": ["small"], "run": {**BYTES["run"], "model": trick}},
        "plain": BYTES,
        "proxy": {**PROXY, "run": {**PROXY["run"], "model": trick}},
    }
    with pytest.raises(InputError, match="at size large"):
        check_tricks(recipe(tmp_path, arms=arms, sizes={"small": {}, "large": {"model": {"layers": 2}}}, claims=[]))


def test_final_runs_need_the_whole_grid(tmp_path):
    study = recipe(tmp_path)
    trials = [
        {"arm": arm, "size": "small", "learning_rate": rate, "sequences_per_step": 1}
        for arm in ("bytes", "proxy")
        for rate in (3e-3, 1e-2)
    ]
    finals = [{"arm": arm, "size": "small"} for arm in ("bytes", "proxy")]
    check_trials(study, trials, finals)
    with pytest.raises(InputError, match=r"arm proxy .* learning rate 0.01"):
        check_trials(study, trials[:3], finals)
    check_trials(study, trials[:3], finals[:1])
    check_trials(recipe(tmp_path, trials=None), [], finals)


def test_one_percent_of_a_budget():
    check_budget("a run", 1e9, 1.0099e9)
    check_budget("a run", 1e9, 0.9901e9)
    for flops in (1.0101e9, 0.9899e9):
        with pytest.raises(InputError, match="a run has"):
            check_budget("a run", 1e9, flops)


def test_openings_are_written_before_and_counted_by_claim(tmp_path):
    assert openings(tmp_path) == []
    open_once(tmp_path, "one", ["a"], "hash", False)
    open_once(tmp_path, "one", ["a"], "hash", False)
    open_once(tmp_path, "two", ["b"], "other", False)
    assert [(line["claim"], line["runs"]) for line in openings(tmp_path)] == [("one", ["a"]), ("two", ["b"])]
    with pytest.raises(InputError, match="'one'"):
        open_once(tmp_path, "one", ["a", "c"], "changed", False)
    assert len(openings(tmp_path)) == 2
    open_once(tmp_path, "one", ["a", "c"], "changed", True)
    assert openings(tmp_path)[-1]["reopened"]
    (tmp_path / "opened.jsonl").write_text("not JSON\n")
    with pytest.raises(InputError, match="damaged"):
        openings(tmp_path)
