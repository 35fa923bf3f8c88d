"""What the runs of a study are."""

from tests.study.toys import VALUES, prepare, recipe

from byteproxy.study.queue import Queue


def test_excerpts_are_of_each_arms_own_largest_budget(tmp_path):
    arms = {**VALUES["arms"], "brief": {**VALUES["arms"]["bytes"], "flops": [1.6e8]}}
    asked = recipe(tmp_path, arms=arms, flops=[1.6e8, 3.2e8], trials=None)
    queue = Queue(asked, prepare(asked, tmp_path / "out", None), tmp_path / "out")
    looked_at = {(key.arm, key.flops, key.seed) for key in queue.keys if queue.job(key).viewed}
    first = asked.seeds[0]
    assert looked_at == {("bytes", 3.2e8, first), ("proxy", 3.2e8, first), ("brief", 1.6e8, first)}
