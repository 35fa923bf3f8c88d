"""What a restructuring must not change, as one JSON file: figures of fixed seeds, before and after.

    python benchmarks/unchanged --out before.json
    python benchmarks/unchanged --compare before.json        # makes a new record, and shows what differs

`record` says what is in it. Another source tree is measured with PYTHONPATH=TREE/src. One thread, and torch.compile in
one run only. Three to four minutes, and one more the first time, for compiling. Two records of one tree on one machine
are equal, but for what `settings.VARIES` names.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from comparison import compare, errors
from record import record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the record goes")
    parser.add_argument("--compare", type=Path, metavar="BEFORE", help="a record to compare with")
    parser.add_argument("--record", type=Path, metavar="AFTER", help="with --compare: a record that is there already")
    parser.add_argument("--folder", type=Path, help="an empty folder that keeps what the commands wrote")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="the most that a figure may move (default: 1e-4)")
    asked = parser.parse_args()
    if asked.record is not None:
        found = json.loads(asked.record.read_text())
    else:
        with tempfile.TemporaryDirectory() as temporary:
            folder = asked.folder or Path(temporary)
            folder.mkdir(exist_ok=True)
            found = record(folder.resolve(), lambda line: print(line, file=sys.stderr, flush=True))
    if asked.out is not None:
        asked.out.write_text(json.dumps(found, indent=None, separators=(",", ":")))
    for line in errors(found):
        print(f"failed: {line}", file=sys.stderr)
    if asked.compare is None:
        if asked.out is None:
            print(json.dumps(found))
        return
    lines, worst = compare(json.loads(asked.compare.read_text()), found)
    width = max(len(name) for name, *_ in lines)
    for name, values, how in lines:
        print(f"{name:<{width}}  {values:>6}  {how}")
    print(f"largest relative difference: {worst:.1e} (at most {asked.tolerance:.0e} is rounding)")
    sys.exit(int(worst > asked.tolerance))


if __name__ == "__main__":
    main()
