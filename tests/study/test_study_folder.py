"""The folder of a study: one study at a time, and nothing but a study."""

import pytest
from tests.study.toys import prepare, recipe

from byteproxy.errors import InputError
from byteproxy.study.study import report_study, run_study
from byteproxy.study.study_folder import claimed


def test_two_studies_in_one_folder_exclude_each_other(tmp_path):
    one = recipe(tmp_path)
    with claimed(tmp_path / "run", one), pytest.raises(InputError, match="in use"):
        run_study(one, "toy", tmp_path / "run", prepare)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    one = recipe(tmp_path.parent)
    with pytest.raises(InputError, match="neither empty nor a run"):
        run_study(one, "toy", tmp_path, prepare)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="holds no study"):
        report_study(one, "toy", tmp_path)
