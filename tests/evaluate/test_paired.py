import numpy as np
import pytest

from byteproxy.evaluate import paired
from byteproxy.evaluate.paired import grouped, paired_difference
from byteproxy.generate.score import Scored


def scored(bits, sizes):
    return Scored(np.array(bits, float), np.array(sizes))


def test_difference_and_interval():
    generator = np.random.default_rng(0)
    sizes = generator.integers(100, 1000, 200)
    base = sizes * generator.uniform(1, 3, 200)
    shifted = base + 0.1 * sizes + generator.normal(0, 20, 200)
    found = paired_difference(scored(shifted, sizes), scored(base, sizes))
    assert found.bpb == pytest.approx(0.1, abs=0.01)
    assert found.low < found.bpb < found.high
    assert found.low > 0
    # Against the textbook error of a ratio of sums.
    extra = (shifted - base) - found.bpb * sizes
    error = np.sqrt((extra**2).sum()) / sizes.sum()
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.15)


def test_only_the_same_documents_can_be_compared():
    with pytest.raises(ValueError, match="same documents"):
        paired_difference(scored([1, 2], [3, 4]), scored([1, 2], [4, 3]))


PROJECTS = ["b", "a", "b", "c", "a", "b", "d"]


def seven():
    generator = np.random.default_rng(3)
    sizes = generator.integers(10, 100, 7)
    return scored(sizes * generator.uniform(1, 3, 7), sizes), scored(sizes * generator.uniform(1, 3, 7), sizes)


def test_groups_are_sums():
    one, _ = seven()
    names, sums = grouped(one, PROJECTS)
    assert names == ["a", "b", "c", "d"]
    for name, bits, size in zip(names, sums.bits, sums.bytes, strict=True):
        own = [at for at, project in enumerate(PROJECTS) if project == name]
        assert size == sum(one.bytes[at] for at in own)
        assert bits == pytest.approx(sum(one.bits[at] for at in own))
    assert sums.bpb == pytest.approx(one.bpb)


def test_projects_are_resampled_whole():
    """As a slow loop that draws projects and puts all documents of each together."""
    one, other = seven()
    names, first = grouped(one, PROJECTS)
    found = paired_difference(first, grouped(other, PROJECTS)[1], draws=300, seed=5)
    rng = np.random.default_rng(5)
    differences = []
    for draw in rng.integers(0, len(names), (300, len(names))):
        bits = size = 0.0
        for number in draw:
            for at, project in enumerate(PROJECTS):
                if project == names[number]:
                    bits += one.bits[at] - other.bits[at]
                    size += one.bytes[at]
        differences.append(bits / size)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(differences, (0.025, 0.975))))
    assert found.bpb == pytest.approx(one.bpb - other.bpb)


def test_documents_of_one_project_widen_the_interval():
    """A hundred copies of the same ten documents tell no more than these."""
    generator = np.random.default_rng(1)
    sizes = np.full(1000, 100)
    extra = np.repeat(generator.normal(0, 10, 10), 100)
    one, other = scored(100.0 + extra, sizes), scored(np.full(1000, 100.0), sizes)
    projects = [f"p{number // 100}" for number in range(1000)]
    documents = paired_difference(one, other)
    whole = paired_difference(grouped(one, projects)[1], grouped(other, projects)[1])
    assert whole.high - whole.low > 5 * (documents.high - documents.low)


def test_draws_in_parts_are_the_same_draws(monkeypatch):
    one, other = seven()
    whole = paired_difference(one, other)
    monkeypatch.setattr(paired, "_CHOSEN", 50)
    assert paired_difference(one, other) == whole


def test_one_document_has_no_interval():
    found = paired_difference(scored([8.0], [4]), scored([4.0], [4]))
    assert found.bpb == 1
    assert np.isnan(found.low)
    assert np.isnan(found.high)
