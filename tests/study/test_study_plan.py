from tests.study.toys import prepare, recipe

from byteproxy.progress import quietly
from byteproxy.study import study_plan
from byteproxy.study.queue import Queue


def test_the_pace_of_large_steps_is_taken_from_small_ones(tmp_path, monkeypatch):
    measured = []

    def rate(config, store):
        measured.append((config.shape.sequences_per_step, config.shape.sequence_length))
        return 1e9

    monkeypatch.setattr(study_plan, "training_rate", rate)
    for rows, wanted in ((128, 64), (8, 8)):
        study = recipe(tmp_path, run__shape__sequences_per_step=rows, flops=[8e10], trials=None)
        planned = study_plan.plan_study(Queue(study, prepare(study, tmp_path, quietly), tmp_path / str(rows)))
        assert measured == [(wanted, 64)] * 2
        assert [run["minutes"] for run in planned["runs"]] == [8e10 / 1e9 / 60] * 4
        measured.clear()
