#!/usr/bin/env bash
# The grid of size and symbols per parameter on one GPU, a piece of it at each call:
#   bash benchmarks/grid_gpu.sh [MINUTES] [JOBS] [DIR]
# Several small runs share the card. Each call goes on where the last one stopped, and leaves results.json, runs.csv and
# report.html of what is done in DIR.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
exec byteproxy study study_grid --minutes "${1:-8}" --jobs "${2:-6}" --out "${3:-runs/studies/study_grid}"
