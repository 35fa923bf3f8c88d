"""`make bench`: every benchmark of this folder, one table; `--only NAME --json` ends with one JSON object.

A benchmark is a module with `measure(say) -> dict`: figures by name, ratios taken in one run with their spread. Other
scripts stand by themselves.
"""

import argparse
import importlib
import json
import platform
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if "\ndef measure(" in path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=NAMES, help="one benchmark instead of all")
    parser.add_argument("--json", action="store_true", help="end with the figures as one JSON object on one line")
    asked = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent)]
    results = {}
    for name in [asked.only] if asked.only else NAMES:
        measure = importlib.import_module(name).measure
        results[name] = measure(lambda line: print(line, file=sys.stderr, flush=True))
    console = Console(file=sys.stderr if asked.json else sys.stdout)
    for name, figures in results.items():
        table = Table("figure", "value", title=f"{name} ({torch.get_num_threads()} threads, {platform.machine()})")
        for key, value in figures.items():
            table.add_row(key, json.dumps(value))
        console.print(table)
    if asked.json:
        print(json.dumps(results[asked.only] if asked.only else results))


if __name__ == "__main__":
    main()
