#!/usr/bin/env bash
# Set up and run the tests, a process a core and four at most, each of one thread; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"   # threads of processes that share cores wait for one another
exec .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
