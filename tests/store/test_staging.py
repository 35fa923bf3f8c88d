import json
from pathlib import Path

import pytest

from byteproxy.corpus.fields import Fields
from byteproxy.corpus.jsonl import JsonlUnit
from byteproxy.corpus.records import Rules
from byteproxy.store import staging
from byteproxy.store.staging import Parts, Staging


def test_objects_of_one_line_stay_in_one_part_so_that_none_is_lost_or_read_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "PART_RECORDS", 3)
    path = tmp_path / "f.jsonl"
    lines = [[f"{line} {place}" for place in range(line % 5 + 1)] for line in range(20)]
    path.write_text("\n".join("".join(json.dumps({"text": text}) for text in line) for line in lines))
    unit = JsonlUnit("s", str(path), "f", path.stat().st_size, 0, Fields())
    stage = Staging(tmp_path, Rules(), signed=False)
    whole = stage.stage(0, unit, lambda size, records: None)
    assert whole.records == sum(map(len, lines))
    for kept in range(whole.parts + 1):
        for part in range(kept, whole.parts):
            staging._part_path(tmp_path, 0, part).unlink()
        assert stage.stage(0, unit, lambda size, records: None) == whole
        rows = [row for batch in Parts(tmp_path, [whole]) for row in batch.select(["id", "text"]).to_pylist()]
        assert [row["text"].decode() for row in rows] == [text for line in lines for text in line]
        assert len({row["id"] for row in rows}) == whole.records
